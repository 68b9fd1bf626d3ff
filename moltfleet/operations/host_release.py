"""Take the containment of this host away again, exactly: what was there before is there afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.containment import HostPlan, Manifest, Phase
from moltfleet.operations import host_files as files
from moltfleet.operations.host_contain import EARLYOOM, INSTALL_TIMEOUT_S, apt, released
from moltfleet.operations.host_manifest import (
    MANIFEST_PATH,
    put_back,
    read_manifest,
    require_root,
    require_unedited,
    write_manifest,
)

if TYPE_CHECKING:
    from moltfleet.operations.host import Host


def plan_release(host: Host, *, discard_edits: bool = False) -> HostPlan:
    """Compute a removal without changing anything; empty when there is nothing of ours.

    Raises: WrongState for files that were edited since, unless ``discard_edits``.
    """
    manifest = read_manifest(host)
    return HostPlan() if manifest is None else _plan(host, manifest, discard_edits=discard_edits)


def release(host: Host, *, discard_edits: bool = False) -> HostPlan:
    """Do it; returns what was done. Raises: as :func:`plan_release`, HostUnavailable unless root, ToolFailed."""
    require_root(host)
    with host.machine.hold():
        manifest = read_manifest(host)
        if manifest is None:
            return HostPlan()
        plan = _plan(host, manifest, discard_edits=discard_edits)
        write_manifest(host, replace(manifest, phase=Phase.REMOVING))
        _stop_egress(host)
        for entry in manifest.entries:
            put_back(host, entry)
        for command in (*plan.commands, *plan.packages):
            host.machine.run(command, timeout_s=INSTALL_TIMEOUT_S)
        # Innermost first; one that somebody put something into stays.
        for directory in reversed(manifest.directories):
            host.machine.remove_directory(directory)
        host.machine.remove(MANIFEST_PATH)
    return plan


def _plan(host: Host, manifest: Manifest, *, discard_edits: bool) -> HostPlan:
    if not discard_edits:
        require_unedited(host, manifest)
    return HostPlan(
        acts=tuple(released(entry) for entry in manifest.entries if host.machine.exists(entry.path)),
        commands=(("systemctl", "daemon-reload"), *_earlyoom_commands(host, manifest)),
        packages=tuple(apt("purge", package) for package in manifest.packages),
    )


def _stop_egress(host: Host) -> None:
    """Unload the table and take the unit's links away; a removal that was interrupted has the unit no longer."""
    if host.machine.exists(files.EGRESS_UNIT_PATH):
        host.machine.run(["systemctl", "disable", "--now", files.EGRESS_UNIT])
    host.machine.run(["nft", "delete", "table", "inet", files.EGRESS_TABLE], check=False)


def _earlyoom_commands(host: Host, manifest: Manifest) -> tuple[tuple[str, ...], ...]:
    """Put earlyoom back to what it was; nothing where its package goes."""
    if manifest.packages or host.machine.find_program("earlyoom") is None:
        return ()
    enabled = () if manifest.was_enabled else (("systemctl", "disable", EARLYOOM),)
    verb = "restart" if manifest.was_active else "stop"
    return (*enabled, ("systemctl", verb, EARLYOOM))
