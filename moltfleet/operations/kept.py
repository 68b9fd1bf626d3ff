"""Layers that a molt kept under a name: listed, gone back to, deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import MoltfleetError, WrongState
from moltfleet.model.names import not_found
from moltfleet.model.requests import AdmissionRequest
from moltfleet.model.results import KeptView, MoltResult, MoltSeconds
from moltfleet.model.size import Size
from moltfleet.operations import admission, login_keeping, molting, repair, swapping
from moltfleet.operations.clones import clone_names, get_clone
from moltfleet.operations.guest_scripts import describe_failure

if TYPE_CHECKING:
    from moltfleet.model.records import CloneRecord, Layer
    from moltfleet.operations.fleet import Fleet

_AS_USUAL = AdmissionRequest()


def list_kept(fleet: Fleet, patterns: Sequence[str]) -> tuple[KeptView, ...]:
    """All kept layers of the named clones (none named: all), with what each takes on the disk."""
    allocations = {volume.name: volume.allocation for volume in fleet.storage.volumes()}
    views = []
    for name in clone_names(fleet, patterns):
        _, clone = get_clone(fleet, name)
        views += [
            KeptView(name, layer.label or "", layer.replaced_at, allocations.get(layer.volume, Size(0)))
            for layer in clone.kept
        ]
    return tuple(views)


def plan_restore(fleet: Fleet, name: str, label: str) -> tuple[str, ...]:
    """Say what going back would do. Raises: NotFound."""
    _, clone = get_clone(fleet, name)
    layer = _find(name, clone, label)
    return (f"{name}: would boot from {layer.volume}, kept as {label!r}; {clone.top} would stay for undo",)


def restore(fleet: Fleet, name: str, label: str, terms: AdmissionRequest = _AS_USUAL) -> MoltResult:
    """Boot a clone from a kept layer, which is its own from then on. Failure stands in the result."""
    started = fleet.clock.monotonic()
    try:
        with fleet.locks.hold(name, verb="restore a kept layer of"), admission.room(fleet, name, terms):
            repair.repair_clone(fleet, name)
            _, clone = get_clone(fleet, name)
            layer = _find(name, clone, label)
            if fleet.storage.find(layer.volume) is None:
                raise WrongState(f"Kept layer {layer.volume!r} of clone {name!r} is gone")
            clone = swapping.journal(fleet, name, clone, layer)
            account = login_keeping.Account()
            swapping.perform(fleet, name, clone, account)
    except MoltfleetError as error:
        seconds = MoltSeconds(total=fleet.clock.monotonic() - started)
        return MoltResult(name, "failed", "cold", describe_failure(error), seconds=seconds, error=error)
    seconds = MoltSeconds(fleet.clock.monotonic() - started)
    return MoltResult(name, "restored", "cold", kept=label, seconds=seconds, logins=account.result())


def plan_delete(fleet: Fleet, name: str, label: str) -> tuple[str, ...]:
    """Say what deleting would do. Raises: NotFound."""
    _, clone = get_clone(fleet, name)
    layer = _find(name, clone, label)
    return (f"{name}: would delete {layer.volume}, kept as {label!r} since {layer.replaced_at}",)


def delete(fleet: Fleet, name: str, label: str) -> None:
    """Delete a kept layer for good. Raises: NotFound, Busy."""
    with fleet.locks.hold(name, verb="delete a kept layer of"):
        repair.repair_clone(fleet, name)
        _, clone = get_clone(fleet, name)
        layer = _find(name, clone, label)
        kept = tuple(other for other in clone.kept if other != layer)
        clone = replace(clone, kept=kept, trash=(*clone.trash, layer.volume))
        fleet.hypervisor.write_record(name, clone)
        record(Effect.KEPT_FORGOTTEN, name)
        molting.empty_trash(fleet, name, clone)


def _find(name: str, clone: CloneRecord, label: str) -> Layer:
    for layer in clone.kept:
        if layer.label == label:
            return layer
    raise not_found(f"kept layer of clone {name!r}", label, [layer.label or "" for layer in clone.kept])
