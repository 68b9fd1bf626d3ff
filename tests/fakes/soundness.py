"""What must be true of a host when no command is at work: the yardstick of every crash test."""

from __future__ import annotations

from collections.abc import Iterator

from fakes.world import World
from moltfleet.model.domain import Domain
from moltfleet.model.errors import NotFound, ToolFailed
from moltfleet.model.records import BuildRecord, CloneRecord, GoldenRecord, Phase
from moltfleet.operations import repair
from moltfleet.operations.fleet import Fleet

# Kept for the next build; explained by their name, and by the marker beside them.
CACHES = ("image.", "stage.")


def repair_all(fleet: Fleet) -> None:
    """Do what the next changing commands do: sweep, then repair each clone under its lock."""
    repair.sweep(fleet)
    for domain in fleet.hypervisor.domains():
        if not domain.is_clone:
            continue
        try:
            with fleet.locks.hold(domain.name, verb="repair"):
                repair.repair_clone(fleet, domain.name)
        except NotFound:
            continue


def unsound(world: World) -> list[str]:
    """Everything that is wrong; empty when the fleet is sound."""
    wrong = list(world.hypervisor.violations)
    for domain in world.hypervisor.domains():
        wrong += _unfinished(domain)
        wrong += _broken_disks(world, domain)
        if isinstance(domain.record, CloneRecord):
            wrong += _broken_clone(world, domain.name, domain.record)
        elif isinstance(domain.record, GoldenRecord):
            wrong += [f"{domain.name}: {v} is gone" for v in domain.record.volumes() - world.storage.names()]
    return [*wrong, *_unexplained(world)]


def _unfinished(domain: Domain) -> Iterator[str]:
    record = domain.record
    if isinstance(record, BuildRecord):
        yield f"{domain.name}: the build's scratch domain is still there"
    elif isinstance(record, GoldenRecord) and (record.deleting or record.going):
        yield f"{domain.name}: still being deleted"
    elif isinstance(record, CloneRecord):
        if record.phase is Phase.CREATING or record.probe:
            yield f"{domain.name}: still being created"
        if record.pending is not None:
            yield f"{domain.name}: unfinished {record.pending.verb}"


def _broken_disks(world: World, domain: Domain) -> Iterator[str]:
    running = world.hypervisor.machines[domain.name].running
    try:
        chain = world.storage.chain(domain.inactive_disk or "")
    except ToolFailed as error:
        yield f"{domain.name}: its definition names a broken chain: {error.brief}"
        return
    if running and running.chain != chain:
        yield f"{domain.name}: runs on {running.chain}, is defined on {chain}"
    if any(world.storage.children(chain[0])) and domain.record is not None and not domain.is_golden:
        yield f"{domain.name}: its top layer {chain[0]} is frozen under another"


def _broken_clone(world: World, name: str, clone: CloneRecord) -> Iterator[str]:
    for volume in clone.trash:
        # What a layer that can be gone back to stands on has to stay.
        if not any(world.storage.children(world.storage.path_of(volume))):
            yield f"{name}: trash is left: {volume}"
    if world.hypervisor.machines[name].disk != world.storage.path_of(clone.top):
        yield f"{name}: is defined on another disk than its record's {clone.top}"
    yield from (f"{name}: {volume} is gone" for volume in clone.volumes() - world.storage.names())
    own = {world.storage.path_of(volume) for volume in clone.volumes()}
    goldens = {world.storage.path_of(volume) for volume in (clone.golden_volume, *clone.bases)}
    for top in [clone.top, *([clone.shed.volume] if clone.shed else []), *(layer.volume for layer in clone.kept)]:
        if top not in world.storage.names():
            continue
        chain = world.storage.chain(world.storage.path_of(top))
        below = [path for path in chain if path not in own]
        is_alone = not clone.linked or chain[-1] in {world.storage.path_of(volume) for volume in clone.alone}
        if len(below) != int(not is_alone) or not goldens.issuperset(below):
            yield f"{name}: {top} stands on {chain}, not on layers of its own and its golden"
    for stamp in clone.frozen():
        seen = world.storage.find(stamp.volume)
        if seen and (seen.mtime, seen.length.bytes) != (stamp.mtime, stamp.length):
            yield f"{name}: frozen layer {stamp.volume} was written to"


def _theirs(world: World, domain: Domain) -> set[str]:
    """The volumes of our pool that somebody else's domain stands on; most have their disks elsewhere."""
    try:
        return {path.rpartition("/")[2] for path in world.storage.chain(domain.inactive_disk or "")}
    except ToolFailed:
        return set()


def _unexplained(world: World) -> Iterator[str]:
    explained: set[str] = set()
    for domain in world.hypervisor.domains():
        explained |= domain.record.volumes() if domain.record else _theirs(world, domain)
    for volume in sorted(world.storage.names() - explained):
        if not volume.startswith(CACHES):
            yield f"{volume}: no record explains it"
