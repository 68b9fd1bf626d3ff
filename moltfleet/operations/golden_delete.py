"""Delete a golden with all its generations, unless clones stand on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moltfleet.model.errors import InUse
from moltfleet.operations import removing, repair
from moltfleet.operations.clones import clones_of, get_any_golden

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet


def plan_delete_golden(fleet: Fleet, name: str) -> tuple[str, ...]:
    """Say what would go. Raises: NotFound, InUse with the clones' names."""
    _, golden = get_any_golden(fleet, name)
    _check_unused(fleet, name)
    return (f"{name}: would delete the golden and {', '.join(sorted(golden.volumes()))}",)


def delete_golden(fleet: Fleet, name: str) -> None:
    """Delete it. Raises: NotFound, InUse with the clones' names, Busy while it is built."""
    _, golden = get_any_golden(fleet, name)
    repair.sweep(fleet)
    if golden.deleting and fleet.hypervisor.find(name) is None:
        # An earlier deletion of it has just been finished.
        return
    with fleet.locks.hold(name, verb="delete"), fleet.locks.hold("fleet", verb="delete", wait_s=60):
        _, golden = get_any_golden(fleet, name)
        _check_unused(fleet, name)
        removing.remove_golden(fleet, name, golden)


def _check_unused(fleet: Fleet, name: str) -> None:
    clones = clones_of(fleet, name)
    if clones:
        raise InUse(
            f"Golden {name!r} is in use by {len(clones)} clone(s): {', '.join(clones)}",
            hint=f"Delete them first: moltfleet cleanup {name}",
        )
