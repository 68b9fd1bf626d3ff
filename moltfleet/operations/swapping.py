"""How a clone goes back to a shed or kept layer once it is decided: by booting it. The caller holds its lock."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import MoltfleetError, WrongState
from moltfleet.model.records import CloneRecord, Layer, Pending, Phase, Verb
from moltfleet.operations import foreign, layers, login_keeping, molting
from moltfleet.operations.clones import find_endpoint
from moltfleet.operations.deadlines import timestamp
from moltfleet.operations.ready import Guest, ready

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet


def journal(fleet: Fleet, name: str, clone: CloneRecord, shed: Layer) -> CloneRecord:
    """Write down that the clone goes back to ``shed``, or to a kept layer. Raises: WrongState (D14)."""
    if clone.phase is not Phase.READY:
        # What it goes back to would become its clean point.
        raise WrongState(
            f"Clone {name!r} has no clean point on its new generation yet",
            hint=f"Finish its move first: moltfleet start {name}",
        )
    foreign.check_untouched(fleet, name)
    pending = Pending(verb=Verb.UNDO, target=shed.volume, source=clone.top, started_at=timestamp(fleet.clock))
    clone = replace(clone, pending=pending)
    fleet.hypervisor.write_record(name, clone)
    record(Effect.UNDO_JOURNALLED, name)
    return clone


def perform(fleet: Fleet, name: str, clone: CloneRecord, account: login_keeping.Account | None = None) -> CloneRecord:
    """Do, or do again, everything after the journal entry: each step may already have happened.

    A layer that does not come up is not gone back to: the clone is left off on the one that it had. ``account`` is told
    what became of the clone's logins.
    """
    if clone.pending is None:
        raise ValueError("no journal entry")
    pending, account = clone.pending, account or login_keeping.Account()
    login_keeping.pull_back(fleet, name, clone, account)
    try:
        _boot(fleet, name, clone, pending)
    except MoltfleetError:
        _take_back(fleet, name, clone)
        raise
    clone = login_keeping.put_back(fleet, name, clone, account, looks_first=True)
    clone = _commit(clone, pending, now=timestamp(fleet.clock))
    fleet.hypervisor.write_record(name, clone)
    record(Effect.UNDO_RECORDED, name)
    return molting.empty_trash(fleet, name, clone)


def _boot(fleet: Fleet, name: str, clone: CloneRecord, pending: Pending) -> None:
    fleet.hypervisor.destroy(name)
    record(Effect.UNDO_DESTROYED, name)
    fleet.hypervisor.set_disk(name, pending.target)
    record(Effect.UNDO_REDEFINED, name)
    fleet.hypervisor.start(name)
    record(Effect.UNDO_STARTED, name)
    layers.check_live_chain(fleet, name, clone, pending.target)
    with ready(fleet, Guest(name, lambda: find_endpoint(fleet, name, clone)), title=f"Booting {name}"):
        pass


def withdraw(fleet: Fleet, name: str, clone: CloneRecord) -> None:
    """Stay on the layer that the clone had; nothing is lost, as both are on record."""
    if clone.pending is None:
        return
    fleet.hypervisor.set_disk(name, clone.pending.source)
    fleet.hypervisor.write_record(name, replace(clone, pending=None))


def _take_back(fleet: Fleet, name: str, clone: CloneRecord) -> None:
    fleet.hypervisor.destroy(name)
    withdraw(fleet, name, clone)
    fleet.progress.warn(
        f"Clone {name!r} is left off, on the layer that it had", hint=f"Start it: moltfleet start {name}"
    )


def _commit(clone: CloneRecord, pending: Pending, *, now: str) -> CloneRecord:
    """The layer that was gone back to is the top and nothing else any more; the one before it is shed."""
    old_shed = clone.shed.volume if clone.shed and clone.shed.volume != pending.target else None
    return replace(
        clone,
        top=pending.target,
        shed=Layer(volume=pending.source, replaced_at=now),
        kept=tuple(layer for layer in clone.kept if layer.volume != pending.target),
        trash=(*clone.trash, *([old_shed] if old_shed else [])),
        pending=None,
        stopped=False,
    )
