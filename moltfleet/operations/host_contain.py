"""Contain the fleet on its host: drop-ins, earlyoom and the egress table, written behind a manifest that undoes them.

Killed anywhere, the next run finishes it, and `host contain --remove` takes away what there is of it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moltfleet.model.containment import ContainedFile, Entry, FileAct, HostPlan, Manifest
from moltfleet.model.errors import HostUnavailable, NoCapacity, ToolFailed
from moltfleet.operations import host_files as files
from moltfleet.operations.host_check_memory import has_unified_cgroups, machine_used
from moltfleet.operations.host_check_services import LIBVIRT_UNITS, SSHD_UNITS
from moltfleet.operations.host_manifest import (
    begin_manifest,
    put_back,
    read_manifest,
    require_root,
    require_unedited,
    settled,
    write_manifest,
)

if TYPE_CHECKING:
    from moltfleet.model.size import Size
    from moltfleet.operations.host import Host

EARLYOOM = "earlyoom.service"
INSTALL_TIMEOUT_S = 600.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ContainRequest:
    """What a user asks for. ``docker_max`` also limits containers; ``discard_edits`` overwrites what others changed."""

    docker_max: Size | None = None
    install_earlyoom: bool = False
    discard_edits: bool = False


@dataclass(frozen=True, slots=True)
class _Run:
    """A plan with what it is carried out from."""

    plan: HostPlan
    wanted: tuple[ContainedFile, ...]
    stale: tuple[Entry, ...]
    manifest: Manifest


def plan_contain(host: Host, request: ContainRequest) -> HostPlan:
    """Compute a run without changing anything.

    Raises: HostUnavailable (no systemd, cgroup v1), NoCapacity (the reserve, or clones above the limit already),
    WrongState (files that somebody else wrote or edited), ToolFailed (no nft).
    """
    return _prepare(host, request).plan


def contain(host: Host, request: ContainRequest) -> HostPlan:
    """Do it; returns what was done. Raises: as :func:`plan_contain`, HostUnavailable unless root, ToolFailed."""
    require_root(host)
    with host.machine.hold():
        run = _prepare(host, request)
        table = next(file.content for file in run.wanted if file.path == files.EGRESS_PATH)
        host.machine.run(["nft", "--check", "--file", "-"], input=table)
        write_manifest(host, run.manifest)
        for command in run.plan.packages:
            with host.progress.step("Installing earlyoom", timeout_s=INSTALL_TIMEOUT_S):
                host.machine.run(command, timeout_s=INSTALL_TIMEOUT_S)
        for entry in run.stale:
            put_back(host, entry)
        for act in run.plan.acts:
            if act.act in ("create", "update", "merge"):
                host.machine.write(act.path, act.content, mode=act.mode)
                _LOG.info("wrote %s", act.path)
        for command in run.plan.commands:
            host.machine.run(command)
        write_manifest(host, settled(run.manifest, run.wanted))
    return run.plan


def _prepare(host: Host, request: ContainRequest) -> _Run:
    _require_fit(host)
    before = read_manifest(host)
    wanted = files.contained_files(_containment(host, request), host.templates)
    if not request.discard_edits:
        require_unedited(host, before, wanted)
    missing = _missing_packages(host, request)
    manifest = begin_manifest(host, before, wanted, EARLYOOM)
    manifest = replace(manifest, packages=tuple(dict.fromkeys((*manifest.packages, *missing))))
    stale = tuple(entry for entry in manifest.entries if entry.path not in {file.path for file in wanted})
    plan = HostPlan(
        acts=(*(_act(host, file) for file in wanted), *(released(entry) for entry in stale)),
        commands=_commands(host, will_have_earlyoom=bool(missing)),
        packages=tuple(apt("install", name) for name in missing),
        notes=_notes(host, request, missing),
    )
    return _Run(plan, wanted, stale, manifest)


def _require_fit(host: Host) -> None:
    if not host.machine.exists("/run/systemd/system"):
        raise HostUnavailable("This host is not run by systemd", hint="docs/host.md says what can be done by hand.")
    if not has_unified_cgroups(host):
        raise HostUnavailable(
            "This host has cgroup v1, on which limits of slices do not hold",
            hint="Boot with systemd.unified_cgroup_hierarchy=1 on the kernel command line.",
        )
    if host.machine.find_program("nft") is None:
        raise ToolFailed("Program 'nft' is not installed", hint="sudo apt-get install nftables")
    limit, used = host.limits().machine_max, machine_used(host)
    if used > limit:
        raise NoCapacity(
            f"The guests hold {used} now, and their limit would be {limit}: some would be ended at once",
            hint="Stop or molt clones first, or set a smaller reserve.",
        )


def _containment(host: Host, request: ContainRequest) -> files.Containment:
    return files.Containment(
        limits=host.limits(),
        egress=host.config.egress,
        sshd=tuple(unit["Id"] for unit in host.loaded_units(SSHD_UNITS)),
        libvirt=tuple(unit["Id"] for unit in host.loaded_units(LIBVIRT_UNITS)),
        programs={name: host.machine.find_program(name) or f"/usr/bin/{name}" for name in ("earlyoom", "nft")},
        avoid=files.avoided_in(host.machine.read(files.EARLYOOM_DEFAULTS)),
        docker_max=request.docker_max,
        docker_settings=host.machine.read(files.DOCKER_SETTINGS),
    )


def _act(host: Host, file: ContainedFile) -> FileAct:
    now = host.machine.read(file.path)
    mode = host.machine.mode(file.path) if file.merged and now is not None else file.mode
    if now == file.content:
        return FileAct(file.path, "keep", file.content, mode)
    return FileAct(file.path, "create" if now is None else "merge" if file.merged else "update", file.content, mode)


def released(entry: Entry) -> FileAct:
    """What becomes of a file that is not to be there any longer."""
    return FileAct(entry.path, "remove" if entry.original is None else "restore")


def _missing_packages(host: Host, request: ContainRequest) -> tuple[str, ...]:
    if not request.install_earlyoom or host.machine.find_program("earlyoom"):
        return ()
    if host.machine.find_program("apt-get") is None:
        raise ToolFailed("Program 'apt-get' is not here", hint="Install earlyoom by other means, and contain again.")
    return ("earlyoom",)


def _commands(host: Host, *, will_have_earlyoom: bool) -> tuple[tuple[str, ...], ...]:
    last_line: tuple[tuple[str, ...], ...] = ()
    if will_have_earlyoom or host.machine.find_program("earlyoom"):
        last_line = (("systemctl", "enable", EARLYOOM), ("systemctl", "restart", EARLYOOM))
    return (
        ("systemctl", "daemon-reload"),
        ("systemctl", "enable", files.EGRESS_UNIT),
        ("systemctl", "reload-or-restart", files.EGRESS_UNIT),
        *last_line,
    )


def _notes(host: Host, request: ContainRequest, missing: tuple[str, ...]) -> tuple[str, ...]:
    notes = []
    if not missing and host.machine.find_program("earlyoom") is None:
        notes.append("earlyoom is not installed, so nothing guards the reserve: --install-earlyoom installs it.")
    if request.docker_max is not None:
        notes.append("Containers move into docker.slice when Docker is restarted: sudo systemctl restart docker")
    if host.config.network != "moltfleet":
        notes.append(f"Network {host.config.network!r} is not our own, and the egress table does not cover it.")
    return tuple(notes)


def apt(verb: str, package: str) -> tuple[str, ...]:
    """The command line of apt-get, for a run that nobody answers."""
    return ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", "--no-install-recommends", verb, package)
