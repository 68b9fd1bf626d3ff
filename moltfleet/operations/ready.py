"""The ladder that a started guest climbs until it is ready: one deadline and one hint per rung (DESIGN §5)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moltfleet.model.domain import DomainState, Endpoint
from moltfleet.model.errors import (
    DeadlinePassed,
    GuestFailed,
    GuestUnreachable,
    LoginRefused,
    MoltfleetError,
    WrongState,
)
from moltfleet.model.names import printable, printable_lines
from moltfleet.operations.deadlines import Deadline, timeouts
from moltfleet.operations.parallel import pause

if TYPE_CHECKING:
    from collections.abc import Callable

    from moltfleet.model.ports import GuestSession, Step
    from moltfleet.operations.fleet import Fleet

_POLL_S = 0.25
_BANNER_S = 2.0
# Bounded in the guest as well: a hostile one could write anything there.
_LARGEST_STATUS = 64 * 1024
_LOG_LINES = 20
# The verdict of a build's steps, which cloud-init runs as a script (cloud-init/fragments/00-steps.yaml).
_VERDICT = "zz-moltfleet-verdict"
_FAILED_STEP = re.compile(r"step ([a-z0-9-]+) failed with \d+")
# Waits inside the guest for at most 3 s, then tells how far cloud-init is. `sh` only: Python takes a second to start.
_CLOUD_INIT = """\
i=0
while [ $i -lt 15 ]; do
  [ -e /run/cloud-init/result.json ] && break
  [ -e /run/cloud-init/disabled ] && break
  [ -e /etc/cloud/cloud-init.disabled ] && break
  [ -d /run/cloud-init ] || [ -d /etc/cloud ] || break
  sleep 0.2; i=$((i+1))
done
if [ -e /run/cloud-init/result.json ]; then echo done
elif [ -e /run/cloud-init/disabled ] || [ -e /etc/cloud/cloud-init.disabled ] || [ ! -d /etc/cloud ]; then echo disabled
else echo running; fi
head -c 65536 /run/cloud-init/status.json 2>/dev/null
"""


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest on its way up: the domain, and how its endpoint is found, with the keys that it must show.

    ``is_seeded`` says that this very command gave it our key: another user's clone is told it by its agent.
    """

    domain: str
    find_endpoint: Callable[[], Endpoint | None]
    is_seeded: bool = False


@contextmanager
def ready(fleet: Fleet, guest: Guest, *, title: str) -> Iterator[GuestSession]:
    """Climb every rung and hand over the login that the last one used.

    Raises: DeadlinePassed with the rung in its brief, GuestFailed when cloud-init failed, HostKeyChanged,
    LoginRefused, WrongState when the guest powered off.
    """
    limits = timeouts(fleet)
    with fleet.progress.step(title) as step:
        _await_running(fleet, guest.domain, limits.domain)
        endpoint = _await_address(fleet, guest, step, limits.address)
        await_banner(fleet, guest.domain, endpoint, step, timeout_s=limits.ssh)
        with _await_login(fleet, guest, endpoint, step, limits.login) as session:
            _await_cloud_init(fleet, guest.domain, session, step, limits.cloud_init)
            step.detail("ready")
            yield session


def _await_running(fleet: Fleet, domain: str, timeout_s: float) -> None:
    deadline = Deadline.after(fleet.clock, timeout_s)
    while fleet.hypervisor.get(domain).state not in (DomainState.RUNNING, DomainState.BLOCKED):
        if deadline.has_passed:
            state = fleet.hypervisor.get(domain).state
            raise DeadlinePassed(f"Domain {domain!r} is not running after {timeout_s:.0f} s but {state}")
        pause(fleet.clock, _POLL_S)


def _await_address(fleet: Fleet, guest: Guest, step: Step, timeout_s: float) -> Endpoint:
    step.detail(f"address (at most {timeout_s:.0f} s)")
    deadline = Deadline.after(fleet.clock, timeout_s)
    while True:
        endpoint = guest.find_endpoint()
        if endpoint is not None:
            return endpoint
        _check_still_up(fleet, guest.domain)
        if deadline.has_passed:
            raise DeadlinePassed(
                f"Guest {guest.domain!r} has no address after {timeout_s:.0f} s",
                hint="Does its network hand out addresses, and does the image configure the card by DHCP?",
            )
        pause(fleet.clock, _POLL_S)


def await_banner(fleet: Fleet, domain: str, endpoint: Endpoint, step: Step, *, timeout_s: float) -> None:
    """Wait until the SSH server of the guest sends its first line; nothing is logged in to.

    Raises: DeadlinePassed, WrongState when the guest powered off.
    """
    step.detail(f"SSH at {endpoint.host} (at most {timeout_s:.0f} s)")
    deadline = Deadline.after(fleet.clock, timeout_s)
    while True:
        started = fleet.clock.monotonic()
        if fleet.guests.banner(endpoint, timeout_s=min(_BANNER_S, max(0.1, deadline.left_s))) is not None:
            return
        if deadline.has_passed:
            raise DeadlinePassed(
                f"SSH server of {domain!r} at {endpoint.host}:{endpoint.port} did not answer within {timeout_s:.0f} s",
                hint=f"Look at its console: virsh console {domain}. A larger [timeouts] ssh helps a slow host.",
            )
        _check_still_up(fleet, domain)
        # A refused connection returns at once: do not spin. One that timed out has waited already.
        if fleet.clock.monotonic() - started < _POLL_S:
            pause(fleet.clock, 0.05)


@contextmanager
def _await_login(
    fleet: Fleet, guest: Guest, endpoint: Endpoint, step: Step, timeout_s: float
) -> Iterator[GuestSession]:
    step.detail(f"login as {endpoint.user} (at most {timeout_s:.0f} s)")
    deadline = Deadline.after(fleet.clock, timeout_s)
    while True:
        try:
            login = fleet.guests.login(endpoint, timeout_s=max(5.0, deadline.left_s))
            session = login.__enter__()
            break
        except (LoginRefused, GuestUnreachable) as error:
            # At the first boot sshd may be up before cloud-init wrote the key.
            if type(error) not in (LoginRefused, GuestUnreachable) or deadline.has_passed:
                raise
            if isinstance(error, LoginRefused) and not guest.is_seeded:
                with suppress(MoltfleetError):
                    authorize(fleet, endpoint)
            pause(fleet.clock, _POLL_S)
    try:
        yield session
    finally:
        login.__exit__(None, None, None)


def authorize(fleet: Fleet, where: Endpoint) -> None:
    """Let this user's fleet key into a clone that somebody else made; gone again after its next molt."""
    fleet.hypervisor.authorize_key(where.name, where.user, fleet.keys.fleet_public_key())
    fleet.progress.say(f"Fleet key was added to {where.name!r} by its guest agent")


def _await_cloud_init(fleet: Fleet, domain: str, session: GuestSession, step: Step, timeout_s: float) -> None:
    deadline = Deadline.after(fleet.clock, timeout_s)
    while True:
        # Its three seconds, and as long as a login may take: on a busy host a guest may not get to run for a while.
        answer = session.run(_CLOUD_INIT, timeout_s=timeouts(fleet).login, limit=_LARGEST_STATUS)
        word, _, rest = answer.text.partition("\n")
        status = parse_status(rest)
        if status.errors:
            raise _cloud_init_failed(domain, session, status.errors)
        if word in ("done", "disabled"):
            for problem in status.recoverable[:5]:
                fleet.progress.warn(f"cloud-init of {domain!r} is degraded: {problem}")
            return
        step.detail(f"cloud-init, stage {status.stage or 'init'} (at most {timeout_s:.0f} s)")
        if deadline.has_passed:
            raise DeadlinePassed(
                f"cloud-init of {domain!r} is not done after {timeout_s:.0f} s, in stage {status.stage or 'init'}",
                excerpt=_log_end(session),
                hint="A larger [timeouts] cloud_init gives it more time.",
            )
        # The script waits by itself; a guest that answers at once is not to keep the host busy.
        pause(fleet.clock, _POLL_S)


@dataclass(frozen=True, slots=True)
class CloudInitStatus:
    """What /run/cloud-init/status.json says; every text is safe to print."""

    stage: str
    errors: tuple[str, ...]
    recoverable: tuple[str, ...]


def parse_status(text: str) -> CloudInitStatus:
    """Read status.json of cloud-init 22 to 25; anything else reads as "nothing known" (the guest is hostile)."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return CloudInitStatus("", (), ())
    v1 = document.get("v1") if isinstance(document, dict) else None
    if not isinstance(v1, dict):
        return CloudInitStatus("", (), ())
    stage = v1.get("stage")
    stages = [value for value in v1.values() if isinstance(value, dict)]
    return CloudInitStatus(
        stage=printable(stage, limit=40) if isinstance(stage, str) else "",
        errors=tuple(text for value in stages for text in _texts(value.get("errors"))),
        recoverable=tuple(text for value in stages for text in _recoverable(value.get("recoverable_errors"))),
    )


def _texts(value: Any) -> list[str]:
    # Only texts: what is nested as deeply as JSON may be could not be written out again.
    return [printable(item) for item in value[:20] if isinstance(item, str)] if isinstance(value, list) else []


def _recoverable(value: Any) -> list[str]:
    # {"WARNING": ["…"], "ERROR": […]}, since cloud-init 23.4. Deprecations are the image's affair.
    if not isinstance(value, dict):
        return []
    return [text for level, items in value.items() if level != "DEPRECATED" for text in _texts(items)]


def _cloud_init_failed(domain: str, session: GuestSession, errors: tuple[str, ...]) -> GuestFailed:
    log = _log_end(session)
    return GuestFailed(
        f"cloud-init of {domain!r} failed: {_failed_steps(errors, log) or errors[0]}",
        excerpt=log,
        hint="The user-data or a package source is at fault; the end of the guest's log is above.",
    )


def _failed_steps(errors: tuple[str, ...], log: str) -> str:
    """Name the steps, when they are what cloud-init first complained of: its own words are no help then.

    The first failed one is told with its last words, as the others may have failed because of it.
    """
    lines: dict[str, str] = {}
    for line in log.splitlines() if _VERDICT in errors[0] else ():
        if match := _FAILED_STEP.match(line):
            # The verdict comes last, and knows their order.
            lines.pop(match[1], None)
            lines[match[1]] = line.rstrip(": ")
    first, *others = lines or ("",)
    return printable(lines.get(first, ""), limit=300) + (f"; also failed: {', '.join(others)}" if others else "")


def _log_end(session: GuestSession) -> str:
    try:
        answer = session.run(f"sudo -n tail -n {_LOG_LINES} /var/log/cloud-init-output.log", timeout_s=30, limit=16384)
    except (GuestUnreachable, DeadlinePassed):
        return ""
    return printable_lines(answer.text)


def _check_still_up(fleet: Fleet, domain: str) -> None:
    if not fleet.hypervisor.get(domain).is_active:
        raise WrongState(
            f"Guest {domain!r} powered off while it was waited for", hint="See 'virsh domblkerror' and its log."
        )
