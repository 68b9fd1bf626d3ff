"""Run a golden's build guest: cloud-init, our tools, extra packages, the user's scripts, checks, and the seal."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moltfleet import __version__
from moltfleet.model.domain import Endpoint
from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import GuestFailed, GuestUnreachable
from moltfleet.model.guesttools import Lack
from moltfleet.model.identity import IdentityFacts, parse_facts
from moltfleet.model.names import printable, printable_lines
from moltfleet.operations import golden_secrets, stages, tools_archive, tools_session
from moltfleet.operations.deadlines import timeouts
from moltfleet.operations.power import power_off
from moltfleet.operations.ready import Guest, ready
from moltfleet.operations.tools import bring_up_to_date

if TYPE_CHECKING:
    from moltfleet.model.ports import GuestSession
    from moltfleet.model.recipe import Profile, Renewal, Script
    from moltfleet.model.records import BuildRecord
    from moltfleet.model.requests import BuildRequest
    from moltfleet.operations.fleet import Fleet
    from moltfleet.operations.stages import Stage

# Memory right after a boot is not the idle figure.
_SETTLE_S = 2
_LIBRARY = "/usr/local/lib/moltfleet"
_LARGEST_REPORT = 1 << 20
_EXCERPT_LINES = 20
# The profile that leaves an image as it is.
_BARE = "none"
_GUEST_CONF = "/etc/moltfleet/guest.conf"
# $1 is what the idle guest uses, in MiB. What a person has set stays.
_KEEP_BASE = f"""\
grep -qs '^[[:space:]]*BASE_MB[[:space:]]*=' {_GUEST_CONF} && exit 0
[ -z "$(tail -c 1 {_GUEST_CONF} 2>/dev/null)" ] || echo >>{_GUEST_CONF}
mkdir -p {_GUEST_CONF.rpartition("/")[0]} && printf 'BASE_MB=%s\\n' "$1" >>{_GUEST_CONF}
"""


@dataclass(frozen=True, slots=True)
class BuildFacts:
    """What a finished build tells of itself. ``allocation`` is bytes, an estimate for the copy; ``idle_kib`` KiB.

    ``tools`` is the version of the guest tools, empty when there are none.
    """

    identity: IdentityFacts
    packages: dict[str, str]
    npm_packages: dict[str, str]
    cloud_init: str
    kernel: str
    idle_kib: int
    allocation: int
    tools: str = ""


def wants_tools(request: BuildRequest, profile: Profile) -> bool:
    """Whether the guest tools are to go in: as asked for, else with every profile that puts anything in."""
    return profile.name != _BARE if request.tools is None else request.tools


def run(
    fleet: Fleet,
    request: BuildRequest,
    profile: Profile,
    stage: Stage,
    build: BuildRecord,
    *,
    renewal: Renewal | None = None,
) -> BuildFacts:
    """Boot the scratch domain, make of it what was asked for, seal it; it is shut off when this returns.

    ``renewal`` is what a guest that was a golden before is to have newer first.
    Raises: GuestFailed, which names the script, package step, command or service at fault.
    """
    stages.prepare(fleet, stage, mac=build.attachment.mac)
    fleet.hypervisor.start(stage.scratch)
    record(Effect.BUILD_STARTED, stage.scratch)
    is_running = True
    if not stage.is_reused:
        with _ready(fleet, stage, build, "Building the first stage"):
            pass
        is_running = stages.freeze(fleet, stage)
        # The stage is whole now, and stays whatever becomes of this build.
        kept = tuple(volume for volume in build.scratch if volume != stage.volume)
        fleet.hypervisor.write_record(stage.scratch, replace(build, scratch=kept))
    if not is_running:
        fleet.hypervisor.start(stage.scratch)
    if renewal is not None:
        _renew(fleet, renewal, stage, build)
    title = "Starting on the first stage" if renewal is None else "Starting what was renewed"
    with _ready(fleet, stage, build, title) as session:
        facts = _provision(fleet, request, profile, stage, session)
    record(Effect.BUILD_SEALED, stage.scratch)
    power_off(fleet, stage.scratch)
    return facts


@contextmanager
def _ready(fleet: Fleet, stage: Stage, build: BuildRecord, title: str) -> Iterator[GuestSession]:
    def find() -> Endpoint | None:
        attachment = build.attachment
        host = "127.0.0.1" if attachment.kind == "user" else attachment.address
        host = host or next(iter(fleet.hypervisor.addresses(stage.scratch)), None)
        if host is None:
            return None
        return Endpoint(stage.scratch, host, attachment.ssh_port, stage.user, build.host_keys)

    with ready(fleet, Guest(stage.scratch, find, is_seeded=True), title=title) as session:
        yield session


def _renew(fleet: Fleet, renewal: Renewal, stage: Stage, build: BuildRecord) -> None:
    """Renew packages and CLIs; new packages are booted, so that what is tried is what clones will run."""
    limit = timeouts(fleet).cloud_init
    with _ready(fleet, stage, build, f"Starting {stage.volume}") as session:
        if not _has_python(fleet, session):
            fleet.progress.warn("Guest has no python3: neither its packages nor its CLIs are renewed")
            return
        directory = _put_bootstrap(fleet, session)
        words = (" --packages" if renewal.packages else "") + (" --clis" if renewal.clis else "")
        with fleet.progress.step("Renewing packages and CLIs", timeout_s=limit):
            _must(session, f"python3 -I {directory}/renew.py{words}", "Renewing", limit)
    if renewal.packages:
        power_off(fleet, stage.scratch)
        fleet.hypervisor.start(stage.scratch)


def _has_python(fleet: Fleet, session: GuestSession) -> bool:
    return session.run("command -v python3", timeout_s=timeouts(fleet).login, limit=256).exit_code == 0


def _provision(
    fleet: Fleet, request: BuildRequest, profile: Profile, stage: Stage, session: GuestSession
) -> BuildFacts:
    limit = timeouts(fleet).cloud_init
    directory = _put_bootstrap(fleet, session)
    packages = " ".join(shlex.quote(package) for package in request.packages)
    with fleet.progress.step("Installing tools and packages", timeout_s=limit):
        _must(session, f"sh {directory}/provision.sh {__version__} {packages}", "Installing packages", limit)
    for script in request.scripts:
        with fleet.progress.step(f"Running {script.name}", timeout_s=limit):
            _run_script(session, directory, script, limit)
    # After the scripts: whatever they put in is covered, too.
    tools = _put_tools(fleet, stage, session, asked=request.tools) if wants_tools(request, profile) else ""
    record(Effect.BUILD_PROVISIONED, stage.scratch)
    report = _verify(fleet, request, profile, directory, session)
    idle_kib = value if isinstance(value := report.get("idle_kib"), int) else 0
    if tools and idle_kib:
        _must(session, f"sh -c {shlex.quote(_KEEP_BASE)} sh {idle_kib // 1024}", "Noting the idle memory", limit)
    identity = parse_facts(_must(session, f"sh {directory}/identity.sh", "Reading the identity", limit))
    with fleet.progress.step("Sealing"):
        # From where provisioning put it: the seal empties /tmp.
        _must(session, f"sh {_LIBRARY}/seal.sh && sudo -n sh {_LIBRARY}/seal.sh --check", "Sealing", limit)
        golden_secrets.check(fleet, session, allowed=request.allow_secrets, timeout_s=limit)
    allocation = sum(
        volume.allocation.bytes
        for volume in (fleet.storage.find(stage.volume), fleet.storage.find(stage.build_disk))
        if volume is not None
    )
    return BuildFacts(
        identity=identity,
        packages=_texts(report.get("packages")),
        npm_packages=_texts(report.get("npm_packages")),
        cloud_init=_text(report.get("cloud_init")),
        kernel=_text(report.get("kernel")),
        idle_kib=idle_kib,
        allocation=allocation,
        tools=tools,
    )


def _put_bootstrap(fleet: Fleet, session: GuestSession) -> str:
    answer = session.run("mktemp -d /tmp/moltfleet.XXXXXX", timeout_s=timeouts(fleet).login, limit=256)
    directory = answer.text.strip()
    # The path comes out of a guest and goes into commands: nothing but what mktemp makes.
    suffix = directory.removeprefix("/tmp/moltfleet.")
    if answer.exit_code != 0 or not suffix.isalnum() or suffix == directory:
        raise GuestFailed("No temporary directory could be made in the guest")
    for name in fleet.bootstrap.names():
        session.write(f"{directory}/{name}", fleet.bootstrap.read(name), mode=0o755)
    return directory


def _put_tools(fleet: Fleet, stage: Stage, session: GuestSession, *, asked: bool | None) -> str:
    """Install the guest tools and return their version; a guest that cannot have them gets none, and that is said.

    Raises: WrongState when they were asked for and cannot be, GuestFailed.
    """
    archive = tools_archive.pack(fleet)
    found = tools_session.look(session, stage.scratch, timeout_s=timeouts(fleet).tools)
    if found.lack in (Lack.SYSTEMD, Lack.PYTHON) and not asked:
        fleet.progress.warn(f"Golden gets no guest tools: {found.lack}", hint="--no-tools says so beforehand.")
        return ""
    with fleet.progress.step("Installing the guest tools"):
        bring_up_to_date(fleet, session, stage.scratch, archive)
    return archive.version


def _run_script(session: GuestSession, directory: str, script: Script, timeout_s: float) -> None:
    path = f"{directory}/user-script"
    session.write(path, script.content, mode=0o755)
    _must(session, path, f"Script {script.name!r}", timeout_s)


def _must(session: GuestSession, command: str, what: str, timeout_s: float) -> str:
    """Run a command as root and return its output. Raises: GuestFailed with the end of what it said."""
    result = session.run(f"sudo -n {command}", timeout_s=timeout_s, limit=_LARGEST_REPORT)
    if result.exit_code == 0:
        return result.text
    said = (result.stdout + b"\n" + result.stderr).decode("utf-8", "replace")
    end = "\n".join(said.strip().splitlines()[-_EXCERPT_LINES:])
    raise GuestFailed(
        f"{what} failed in the guest with exit status {result.exit_code}",
        excerpt=printable_lines(end),
        hint="The end of its output is above.",
    )


def _verify(
    fleet: Fleet, request: BuildRequest, profile: Profile, directory: str, session: GuestSession
) -> dict[str, object]:
    """Check required commands and services, and read what the manifest records."""
    commands = (*profile.required_commands, *request.required_commands)
    services = (*profile.required_services, *request.required_services)
    if not _has_python(fleet, session):
        _verify_commands(fleet, session, commands)
        fleet.progress.warn("Guest has no python3: the manifest lists no packages, services are not checked")
        return {}
    words = " ".join(shlex.quote(word) for word in (*commands, "--", *services))
    with fleet.progress.step("Verifying"):
        answer = session.run(
            f"sudo -n python3 -I {directory}/verify.py --settle {_SETTLE_S} {words}",
            timeout_s=timeouts(fleet).tools,
            limit=_LARGEST_REPORT,
        )
    report = _document(answer.text)
    problems = [
        *(f"command {name} is missing" for name in _list(report.get("missing_commands"))),
        *(f"service {name} is not active" for name in _list(report.get("failed_services"))),
        *(f"step {name} failed" for name in _list(report.get("failed_steps"))),
    ]
    if problems or answer.exit_code != 0:
        raise GuestFailed(
            f"Golden lacks what its profile promises: {'; '.join(problems) or 'verification failed'}",
            details=printable_lines(answer.stderr.decode("utf-8", "replace")),
        )
    return report


def _verify_commands(fleet: Fleet, session: GuestSession, commands: tuple[str, ...]) -> None:
    limit = timeouts(fleet).login
    for command in commands:
        if session.run(f"command -v {shlex.quote(command)}", timeout_s=limit, limit=1024).exit_code != 0:
            raise GuestFailed(f"Golden lacks what its profile promises: command {command} is missing")


def _document(text: str) -> dict[str, object]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GuestUnreachable("Guest's verification report cannot be read") from error
    if not isinstance(document, dict):
        raise GuestUnreachable("Guest's verification report cannot be read")
    return document


def _list(value: object) -> list[str]:
    """Names in a list, or the keys of an object; anything else is none."""
    names = list(value) if isinstance(value, list | dict) else []
    return [printable(item, limit=80) for item in names[:100] if isinstance(item, str)]


def _text(value: object) -> str:
    return printable(value, limit=120) if isinstance(value, str) else ""


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {printable(str(k), limit=120): printable(str(v), limit=120) for k, v in list(value.items())[:20_000]}
