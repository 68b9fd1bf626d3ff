"""Freeze the layer that a clone is on as a snapshot, and let it go on above; finished or taken back when interrupted.

The caller holds the clone's lock. Of a running guest it is done by its agent, which makes the file systems whole first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import MoltfleetError
from moltfleet.model.records import Pending, Snapshot, Verb
from moltfleet.operations import layers, login_keeping, molting
from moltfleet.operations.clones import get_clone
from moltfleet.operations.deadlines import timestamp
from moltfleet.operations.power import power_off

if TYPE_CHECKING:
    from moltfleet.model.domain import Domain
    from moltfleet.model.records import CloneRecord
    from moltfleet.operations.fleet import Fleet


def freeze(fleet: Fleet, name: str, clone: CloneRecord, label: str, *, live: bool) -> CloneRecord:
    """Make what the clone is a snapshot called ``label``; a guest that is not frozen ``live`` is powered off first.

    Raises: what it fails with, the clone on the layer that it had.
    """
    clone = _journal(fleet, name, clone, label)
    try:
        return _freeze(fleet, name, clone, live=live)
    except MoltfleetError:
        domain, clone = get_clone(fleet, name)
        if clone.pending is not None:
            settle(fleet, domain, clone)
        raise


def _freeze(fleet: Fleet, name: str, clone: CloneRecord, *, live: bool) -> CloneRecord:
    pending = _pending(clone)
    if not live and fleet.hypervisor.get(name).is_active:
        power_off(fleet, name)
        record(Effect.CLEAN_SHUT_DOWN, name)
    fleet.storage.create_overlay(pending.target, backing=pending.source)
    record(Effect.CLEAN_OVERLAID, name)
    if live:
        fleet.hypervisor.freeze_disk(name, pending.target)
        record(Effect.CLEAN_FROZEN, name)
    return _commit(fleet, name, clone)


def settle(fleet: Fleet, domain: Domain, clone: CloneRecord) -> CloneRecord:
    """Finish a snapshot whose layer is frozen; take one back that is not, leaving the clone on its old layer."""
    pending = _pending(clone)
    disk = domain.active_disk if domain.is_active else domain.inactive_disk
    if disk == fleet.storage.path_of(pending.target):
        return _commit(fleet, domain.name, clone)
    return molting.roll_back(fleet, domain.name, clone)


def _journal(fleet: Fleet, name: str, clone: CloneRecord, label: str) -> CloneRecord:
    target, following = layers.new_overlay_name(fleet, name, clone)
    now = timestamp(fleet.clock)
    pending = Pending(verb=Verb.SNAPSHOT, target=target, source=clone.top, started_at=now, keep=label)
    clone = replace(clone, pending=pending, next_number=following)
    fleet.hypervisor.write_record(name, clone)
    record(Effect.CLEAN_JOURNALLED, name)
    if clone.logins is not None and clone.top in clone.logins.layers:
        # They stand below the new layer as well, and no clean point may be made of it.
        clone = login_keeping.note_layer(fleet, name, clone)
    return clone


def _commit(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Point the definition at the new layer, without any chain in it; then the snapshot exists."""
    pending = _pending(clone)
    fleet.hypervisor.set_disk(name, pending.target)
    record(Effect.CLEAN_REDEFINED, name)
    snapshot = Snapshot(pending.keep or "", pending.started_at, layers.stamp(fleet, pending.source))
    clone = replace(clone, top=pending.target, snapshots=(*clone.snapshots, snapshot), pending=None)
    fleet.hypervisor.write_record(name, clone)
    record(Effect.CLEAN_RECORDED, name)
    if fleet.hypervisor.get(name).is_active:
        layers.check_live_chain(fleet, name, clone, clone.top)
    return clone


def _pending(clone: CloneRecord) -> Pending:
    if clone.pending is None or clone.pending.verb is not Verb.SNAPSHOT:
        raise ValueError("no journal entry")
    return clone.pending
