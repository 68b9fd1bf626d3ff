"""Move a clone to another generation of its golden: a first boot there, with the identity that it has (DESIGN §5).

Until the guest is ready on the new generation everything that it had is in its place, and an interruption or a failure
goes back to it. The caller holds the clone's lock.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import MoltfleetError, WrongState
from moltfleet.model.names import not_found
from moltfleet.model.records import CloneRecord, Layer, Pending, Phase, Verb
from moltfleet.model.requests import NEWEST
from moltfleet.operations import first_boot, layers, login_keeping, molting
from moltfleet.operations.clones import find_endpoint, get_golden
from moltfleet.operations.deadlines import timestamp
from moltfleet.operations.ready import Guest, ready

if TYPE_CHECKING:
    from moltfleet.model.records import Generation
    from moltfleet.operations.fleet import Fleet

_LOCK_WAIT_S = 60.0


def find_target(fleet: Fleet, clone: CloneRecord, wanted: int | None) -> Generation | None:
    """The generation that a clone would move to; None when it is on that one, or is not asked to move.

    Raises: NotFound, without the golden or without that generation of it.
    """
    if wanted is None:
        return None
    _, golden = get_golden(fleet, clone.golden)
    numbers = {generation.number: generation for generation in golden.generations}
    number = golden.latest.number if wanted == NEWEST else wanted
    if number not in numbers:
        raise not_found(f"generation of golden {clone.golden!r}", f"g{number}", [f"g{n}" for n in numbers])
    return None if numbers[number].volume == clone.golden_volume else numbers[number]


def lacks_clean_point(clone: CloneRecord) -> bool:
    """Whether a move of the clone was cut off when it was ready there, and only its clean point is missing."""
    return clone.phase is Phase.DEFINED and bool(clone.bases)


def describe(clone: CloneRecord, generation: Generation) -> str:
    """Say from where to where."""
    return f"from g{clone.generation} to g{generation.number} of {clone.golden}"


def move(
    fleet: Fleet,
    name: str,
    clone: CloneRecord,
    generation: Generation,
    *,
    label: str | None,
    watch: molting.Stopwatch,
) -> CloneRecord:
    """Boot the clone on ``generation`` and take its clean point there; the layer that it had is shed, or kept.

    Raises: what booting fails with, the clone left off on what it had; what a clean point fails with, the clone moved
    and to be finished by its next start.
    """
    _require_seed(fleet, name, clone)
    clone = _journal(fleet, name, clone, generation, label)
    try:
        with fleet.progress.step(f"Moving {name} to generation {generation.number}"):
            login_keeping.pull_back(fleet, name, clone, watch.logins)
            _boot(fleet, name, clone, watch)
    except MoltfleetError:
        take_back(fleet, name, clone)
        raise
    clone = _commit(fleet, name, clone)
    clone = first_boot.take_clean_point(fleet, name, clone)
    clone = login_keeping.put_back(fleet, name, clone, watch.logins)
    watch.lap("ready")
    return clone


def _require_seed(fleet: Fleet, name: str, clone: CloneRecord) -> None:
    """Make sure that cloud-init can be told who the clone is; an adopted one has nothing to say it with."""
    if not clone.seed or fleet.storage.find(clone.seed) is None:
        raise WrongState(
            f"Clone {name!r} has no seed, which would give it its identity on another disk",
            hint=f"Make a new one: moltfleet create {clone.golden}",
        )


def _journal(fleet: Fleet, name: str, clone: CloneRecord, generation: Generation, label: str | None) -> CloneRecord:
    # Generations are deleted under this lock; from the entry on this one is in use.
    with fleet.locks.hold("fleet", verb="molt", wait_s=_LOCK_WAIT_S):
        _, golden = get_golden(fleet, clone.golden)
        if generation not in golden.generations:
            raise WrongState(f"Generation {generation.number} of golden {clone.golden!r} is gone", hint="Try again.")
        target, following = layers.new_overlay_name(fleet, name, clone)
        pending = Pending(
            verb=Verb.MOVE,
            target=target,
            source=clone.top,
            started_at=timestamp(fleet.clock),
            keep=label,
            generation=generation.number,
            golden_volume=generation.volume,
        )
        bases = tuple(dict.fromkeys((*clone.bases, clone.golden_volume, generation.volume)))
        clone = replace(clone, pending=pending, next_number=following, bases=bases)
        fleet.hypervisor.write_record(name, clone)
    record(Effect.MOLT_JOURNALLED, name)
    return clone


def _boot(fleet: Fleet, name: str, clone: CloneRecord, watch: molting.Stopwatch) -> None:
    """Make the new layer on the generation, boot it, and let cloud-init settle the identity from the clone's seed."""
    pending = _pending(clone)
    _make_layer(fleet, clone, pending)
    record(Effect.MOLT_OVERLAID, name)
    fleet.hypervisor.set_disk(name, pending.target)
    record(Effect.MOLT_REDEFINED, name)
    watch.lap("overlay")
    fleet.hypervisor.destroy(name)
    record(Effect.MOLT_DESTROYED, name)
    watch.lap("destroy")
    fleet.hypervisor.start(name)
    record(Effect.MOLT_STARTED, name)
    moved = replace(clone, golden_volume=pending.golden_volume, bases=())
    layers.check_live_chain(fleet, name, moved, pending.target)
    watch.lap("restore")
    with ready(fleet, Guest(name, lambda: find_endpoint(fleet, name, clone)), title=f"Booting {name}") as session:
        first_boot.switch_off_cloud_init(fleet, name, session)
        first_boot.check_tools(fleet, name, session)
    record(Effect.MOLT_READIED, name)


def _make_layer(fleet: Fleet, clone: CloneRecord, pending: Pending) -> None:
    """Make it as large as the clone's disk is now: an overlay, or a copy for a clone that stands alone."""
    golden = fleet.storage.get(pending.golden_volume)
    capacity = max(golden.capacity, fleet.storage.get(clone.top).capacity)
    if clone.linked:
        fleet.storage.create_overlay(pending.target, backing=golden.name, capacity=capacity)
        return
    total = golden.allocation.bytes
    with fleet.progress.step(f"Copying {golden.name}") as step:
        fleet.storage.copy_flat(
            golden.name, pending.target, capacity=capacity, on_bytes=lambda done: step.advance(done, total)
        )


def _commit(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """The clone is one of the new generation that has no clean point yet; the layer that it had is shed or kept.

    What that one stands on goes with it; the RAM of the clean point before goes at once.
    """
    pending = _pending(clone)
    old = Layer(volume=pending.source, replaced_at=timestamp(fleet.clock), label=pending.keep)
    frozen = tuple(stamp.volume for stamp in clone.clean.stamps) if clone.clean else ()
    ram = (clone.clean.ram,) if clone.clean and clone.clean.ram else ()
    shed_before = (clone.shed.volume,) if clone.shed and not pending.keep else ()
    clone = replace(
        clone,
        generation=pending.generation,
        golden_volume=pending.golden_volume,
        phase=Phase.DEFINED,
        top=pending.target,
        clean=None,
        shed=clone.shed if pending.keep else old,
        kept=(*clone.kept, old) if pending.keep else clone.kept,
        trash=tuple(dict.fromkeys((*clone.trash, *ram, *frozen, *shed_before))),
        pending=None,
        wants_ram=clone.wants_ram or bool(ram),
        stopped=False,
    )
    fleet.hypervisor.write_record(name, clone)
    record(Effect.MOLT_RECORDED, name)
    return molting.empty_trash(fleet, name, clone)


def take_back(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Stay on the generation that the clone had, on the layer that it had; one that was cut off is left off."""
    pending = _pending(clone)
    is_on_it = fleet.hypervisor.get(name).active_disk == fleet.storage.path_of(pending.source)
    if not is_on_it:
        fleet.hypervisor.destroy(name)
    clone = molting.roll_back(fleet, name, clone)
    if not is_on_it:
        fleet.progress.warn(
            f"Clone {name!r} is left off, on the layer that it had", hint=f"Start it: moltfleet start {name}"
        )
    return clone


def _pending(clone: CloneRecord) -> Pending:
    if clone.pending is None or clone.pending.verb is not Verb.MOVE:
        raise ValueError("no journal entry")
    return clone.pending
