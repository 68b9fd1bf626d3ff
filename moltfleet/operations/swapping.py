"""How an undo is done once it is decided: the clone boots from its shed layer. The caller holds the clone's lock."""

from __future__ import annotations

from dataclasses import replace

from moltfleet.model.effects import Effect, record
from moltfleet.model.records import CloneRecord, Layer, Pending, Verb
from moltfleet.operations import layers
from moltfleet.operations.clones import find_endpoint
from moltfleet.operations.deadlines import timestamp
from moltfleet.operations.fleet import Fleet
from moltfleet.operations.ready import Guest, ready


def journal(fleet: Fleet, name: str, clone: CloneRecord, shed: Layer) -> CloneRecord:
    """Write down that the clone goes back to ``shed``."""
    pending = Pending(verb=Verb.UNDO, target=shed.volume, source=clone.top, started_at=timestamp(fleet.clock))
    clone = replace(clone, pending=pending)
    fleet.hypervisor.write_record(name, clone)
    record(Effect.UNDO_JOURNALLED, name)
    return clone


def perform(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Do, or do again, everything after the journal entry: each step may already have happened."""
    if clone.pending is None:
        raise ValueError("no journal entry")
    pending = clone.pending
    fleet.hypervisor.destroy(name)
    record(Effect.UNDO_DESTROYED, name)
    fleet.hypervisor.set_disk(name, pending.target)
    record(Effect.UNDO_REDEFINED, name)
    fleet.hypervisor.start(name)
    record(Effect.UNDO_STARTED, name)
    layers.check_live_chain(fleet, name, clone, pending.target)
    with ready(fleet, Guest(name, lambda: find_endpoint(fleet, name, clone)), title=f"Booting {name}"):
        pass
    shed = Layer(volume=pending.source, replaced_at=timestamp(fleet.clock))
    clone = replace(clone, top=pending.target, shed=shed, pending=None)
    fleet.hypervisor.write_record(name, clone)
    record(Effect.UNDO_RECORDED, name)
    return clone
