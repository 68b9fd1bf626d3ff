"""What other people's hands did to a clone's disks: snapshots, and layers on top of its own (DESIGN D14)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.errors import WrongState
from moltfleet.model.names import printable
from moltfleet.operations.clones import get_clone

if TYPE_CHECKING:
    from moltfleet.model.domain import Domain
    from moltfleet.model.records import CloneRecord
    from moltfleet.operations.fleet import Fleet

_WAY_OUT = "Delete them with virsh, or: moltfleet molt --discard-snapshots."


def check_untouched(fleet: Fleet, name: str, *, way_out: str = _WAY_OUT) -> None:
    """Make sure that there is nothing of somebody's that a change of layers would break. Raises: WrongState.

    Whether the domain was started or stopped by hand does not matter.
    """
    snapshots = fleet.hypervisor.snapshot_names(name)
    if snapshots:
        raise WrongState(
            f"Clone {name!r} has {len(snapshots)} snapshot(s) of somebody's, which this would break", hint=way_out
        )
    domain, clone = get_clone(fleet, name)
    others = _other_tops(fleet, domain, clone)
    # An unfinished act of ours moves the disk as well.
    if others and clone.pending is None:
        raise WrongState(
            f"Clone {name!r} is on layer {_file_name(others[0])!r} of somebody's, not on its own {clone.top!r}",
            hint=way_out,
        )


def check_startable(fleet: Fleet, domain: Domain, clone: CloneRecord) -> None:
    """Make sure that a stopped clone can be started on its own top layer. Raises: WrongState.

    Writing to it would spoil a layer that stands on it, and on a changed frozen layer it fits no more.
    """
    disk = domain.inactive_disk
    if disk is None or disk == fleet.storage.path_of(clone.top):
        return
    if _standing_on(fleet, disk, clone):
        raise WrongState(
            f"Clone {domain.name!r} is defined on layer {_file_name(disk)!r} of somebody's, above its own",
            hint=f"Drop it: moltfleet molt {domain.name} --discard-snapshots. Or merge it while it runs: "
            f"virsh start {domain.name}; virsh blockcommit {domain.name} vda --active --pivot --shallow",
        )
    if clone.clean and disk in {fleet.storage.path_of(noted.volume) for noted in clone.clean.stamps}:
        raise WrongState(
            f"Clone {domain.name!r} was put on its frozen layer {_file_name(disk)!r} by somebody",
            hint=f"Its clean point is void. 'virsh start {domain.name}' still runs it: save its work, create it anew.",
        )


def discard(fleet: Fleet, name: str) -> CloneRecord:
    """Drop snapshots, and add the layers on top of the clone's own to what is to go.

    The caller writes the record that is returned. Files beside our pool, or not on our layers, are left alone.
    """
    if fleet.hypervisor.snapshot_names(name):
        fleet.hypervisor.discard_snapshots(name)
    domain, clone = get_clone(fleet, name)
    theirs = {layer for path in _other_tops(fleet, domain, clone) for layer in _standing_on(fleet, path, clone)}
    return replace(clone, trash=(*clone.trash, *sorted(theirs - set(clone.trash))))


def _other_tops(fleet: Fleet, domain: Domain, clone: CloneRecord) -> list[str]:
    """Paths of first disks, running or defined, that are not the recorded top layer."""
    top = fleet.storage.path_of(clone.top)
    return [disk for disk in (domain.active_disk, domain.inactive_disk) if disk not in (None, top)]


def _standing_on(fleet: Fleet, path: str, clone: CloneRecord) -> tuple[str, ...]:
    """The volumes from ``path`` down to the clone's top layer, which is left out; none when it is not below."""
    fleet.storage.refresh()
    by_path = {volume.path: volume for volume in fleet.storage.volumes()}

    def descend() -> Iterator[str]:
        step = by_path.get(path)
        while step is not None and step.name != clone.top:
            yield step.name
            step = by_path.get(step.backing or "")
        if step is None:
            yield ""

    names = tuple(descend())
    return () if "" in names or clone.volumes().intersection(names) - set(clone.trash) else names


def _file_name(path: str) -> str:
    return printable(path.rpartition("/")[2])
