"""How a domain of ours is taken away: its volumes first, so that a record explains whatever an interruption leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import InUse, NotFound, WrongState
from moltfleet.model.records import BuildRecord, CloneRecord, GoldenRecord, Pending, Verb
from moltfleet.operations import layers
from moltfleet.operations.deadlines import timestamp

if TYPE_CHECKING:
    from moltfleet.model.records import Generation
    from moltfleet.operations.fleet import Fleet


def remove_clone(fleet: Fleet, name: str, clone: CloneRecord) -> None:
    """Delete a clone with everything that is its own; can be repeated after an interruption.

    The caller holds its lock. Raises: InUse, before anything happened, when another volume stands on one of its.
    """
    layers.check_childless(fleet, f"clone {name!r}", clone.volumes())
    if clone.pending is None or clone.pending.verb is not Verb.DELETE:
        clone = _journal(fleet, name, clone)
    fleet.hypervisor.destroy(name)
    record(Effect.DELETE_DESTROYED, name)
    left = layers.delete_layers(fleet, name, tuple(sorted(clone.volumes())))
    if left:
        # The record goes on explaining what is left.
        raise WrongState(
            f"Volumes of clone {name!r} could not be deleted: {', '.join(left)}",
            hint="Delete what uses them, then the clone again.",
        )
    record(Effect.DELETE_VOLUMES_DELETED, name)
    fleet.hypervisor.undefine(name)
    record(Effect.DELETE_UNDEFINED, name)


def _journal(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    # What an interrupted act may have made is still listed, as trash.
    unfinished = (clone.pending.target, *clone.pending.leftovers) if clone.pending else ()
    pending = Pending(verb=Verb.DELETE, target="", source="", started_at=timestamp(fleet.clock))
    clone = replace(clone, pending=pending, trash=(*clone.trash, *unfinished))
    fleet.hypervisor.write_record(name, clone)
    record(Effect.DELETE_JOURNALLED, name)
    return clone


def remove_scratch(fleet: Fleet, name: str, build: BuildRecord) -> None:
    """Take a golden build's scratch domain away with its volumes; what was published meanwhile stays.

    Its probes go first: they stand on what it made. A publication that was cut off after its record is finished.
    """
    _point_at_latest(fleet, build.golden)
    for domain in fleet.hypervisor.domains():
        clone = domain.record
        if isinstance(clone, CloneRecord) and clone.probe and clone.golden == build.golden:
            remove_clone(fleet, domain.name, clone)
    fleet.hypervisor.destroy(name)
    for volume in build.scratch:
        try:
            fleet.storage.delete(volume, owner=name)
        except InUse:
            # It was published: the golden's record names it now.
            continue
    try:
        fleet.hypervisor.undefine(name)
    except NotFound:
        return


def _point_at_latest(fleet: Fleet, name: str) -> None:
    """Let a golden's definition name the disk of its newest generation, if it does not yet."""
    domain = fleet.hypervisor.find(name)
    if domain is None or not isinstance(domain.record, GoldenRecord) or domain.record.deleting:
        return
    latest = domain.record.latest.volume
    if domain.inactive_disk != fleet.storage.path_of(latest):
        fleet.hypervisor.set_disk(name, latest)


def remove_golden(fleet: Fleet, name: str, golden: GoldenRecord) -> None:
    """Delete a golden with all its generations; can be repeated. Raises: InUse while anything stands on one."""
    layers.check_childless(fleet, f"golden {name!r}", golden.volumes())
    if not golden.deleting:
        golden = replace(golden, deleting=True)
        fleet.hypervisor.write_record(name, golden)
        record(Effect.DELETE_JOURNALLED, name)
    # The newest first: those of an adopted golden may stand on each other.
    for generation in (*reversed(golden.generations), *reversed(golden.going)):
        _delete_generation(fleet, name, generation)
    record(Effect.DELETE_VOLUMES_DELETED, name)
    fleet.hypervisor.undefine(name)
    record(Effect.DELETE_UNDEFINED, name)


def remove_generations(fleet: Fleet, name: str, golden: GoldenRecord) -> GoldenRecord:
    """Delete the generations of a golden that its record says are going; can be repeated. The caller holds its lock.

    One that somebody uses after all is the golden's own again, which is said.
    """
    stay = []
    for generation in golden.going:
        try:
            _delete_generation(fleet, name, generation)
        except InUse as error:
            fleet.progress.warn(f"Generation {generation.number} of {name!r} stays: {error.brief}")
            stay.append(generation)
    record(Effect.DELETE_VOLUMES_DELETED, name)
    generations = tuple(sorted((*golden.generations, *stay), key=lambda generation: generation.number))
    golden = replace(golden, generations=generations, going=())
    fleet.hypervisor.write_record(name, golden)
    return golden


def _delete_generation(fleet: Fleet, name: str, generation: Generation) -> None:
    fleet.storage.delete(generation.volume, owner=name)
    if generation.manifest:
        fleet.storage.delete(generation.manifest, owner=name)
