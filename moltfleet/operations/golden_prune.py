"""Delete generations of goldens that nobody needs any more: never the newest, and none that anything stands on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import MoltfleetError
from moltfleet.model.lineage import Spare
from moltfleet.model.names import match_names
from moltfleet.model.records import CloneRecord, Generation, GoldenRecord
from moltfleet.model.size import Size
from moltfleet.operations import removing, repair
from moltfleet.operations.clones import get_golden

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moltfleet.operations.fleet import Fleet

_LOCK_WAIT_S = 60.0


def find_spares(fleet: Fleet, patterns: Sequence[str]) -> tuple[Spare, ...]:
    """The generations that would go, of the named goldens (none named: all); changes nothing. Raises: NotFound."""
    return tuple(spare for name in _names(fleet, patterns) for spare in _spares(fleet, name))


def plan_prune(fleet: Fleet, patterns: Sequence[str]) -> tuple[str, ...]:
    """Say what would go, and what that gives back."""
    spares = find_spares(fleet, patterns)
    lines = tuple(
        f"{spare.golden}: would delete generation {spare.number} of {spare.built_at}, {spare.allocation}"
        for spare in spares
    )
    won = Size(sum(spare.allocation.bytes for spare in spares))
    return (*lines, f"{won} in all") if lines else ("Every generation is the newest of its golden, or in use.",)


def prune(fleet: Fleet, patterns: Sequence[str]) -> tuple[Spare, ...]:
    """Delete them; returns those that are gone. A golden that cannot be pruned now leaves the others, and is said.

    Raises: NotFound; Busy and the like when only one golden was meant.
    """
    repair.sweep(fleet)
    names = _names(fleet, patterns)
    gone: list[Spare] = []
    for name in names:
        try:
            gone += _prune_one(fleet, name)
        except MoltfleetError as error:
            if len(names) == 1:
                raise
            fleet.progress.warn(f"Golden {name!r} is left alone: {error.brief}", hint=error.hint)
    return tuple(gone)


def _names(fleet: Fleet, patterns: Sequence[str]) -> tuple[str, ...]:
    goldens = [
        d.name for d in fleet.hypervisor.domains() if isinstance(d.record, GoldenRecord) and not d.record.deleting
    ]
    return match_names(patterns, goldens, what="golden") if patterns else tuple(sorted(goldens))


def _prune_one(fleet: Fleet, name: str) -> tuple[Spare, ...]:
    # Clones are put onto generations under the lock of the fleet.
    with (
        fleet.locks.hold(name, verb="prune"),
        fleet.locks.hold("fleet", verb="prune", wait_s=_LOCK_WAIT_S),
        fleet.progress.step(f"Pruning {name}"),
    ):
        _, golden = get_golden(fleet, name)
        spares = {spare.number: spare for spare in _spares(fleet, name)}
        if not spares:
            return ()
        stay = tuple(generation for generation in golden.generations if generation.number not in spares)
        going = tuple(generation for generation in golden.generations if generation.number in spares)
        golden = replace(golden, generations=stay, going=(*golden.going, *going))
        fleet.hypervisor.write_record(name, golden)
        record(Effect.DELETE_JOURNALLED, name)
        left = {generation.number for generation in removing.remove_generations(fleet, name, golden).generations}
        return tuple(spare for number, spare in spares.items() if number not in left)


def _spares(fleet: Fleet, name: str) -> tuple[Spare, ...]:
    _, golden = get_golden(fleet, name)
    fleet.storage.refresh()
    volumes = {volume.name: volume for volume in fleet.storage.volumes()}
    used = _used(fleet, [volume.backing for volume in volumes.values()])
    return tuple(
        Spare(name, generation.number, generation.built_at, _allocation(fleet, generation))
        for generation in golden.generations[:-1]
        if fleet.storage.path_of(generation.volume) not in used
    )


def _used(fleet: Fleet, backings: Sequence[str | None]) -> frozenset[str]:
    """Paths that a volume stands on, a definition names, or a clone's record counts on (DESIGN D4)."""
    used = {backing for backing in backings if backing}
    for domain in fleet.hypervisor.domains():
        if domain.inactive_disk:
            used.add(domain.inactive_disk)
        if isinstance(domain.record, CloneRecord):
            used.add(fleet.storage.path_of(domain.record.golden_volume))
    return frozenset(used)


def _allocation(fleet: Fleet, generation: Generation) -> Size:
    found = (fleet.storage.find(volume) for volume in (generation.volume, generation.manifest) if volume)
    return Size(sum(volume.allocation.bytes for volume in found if volume is not None))
