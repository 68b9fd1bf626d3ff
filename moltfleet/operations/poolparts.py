"""What the volumes of the pool are for, as the records of all domains say; what none explains is told as that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from moltfleet.model.records import BuildRecord, CloneRecord, GoldenRecord, Record
from moltfleet.model.report import PoolPart, total
from moltfleet.model.volumes import Volume, marked_volume, marker_volume

if TYPE_CHECKING:
    from moltfleet.model.domain import Domain


class Kind(StrEnum):
    """What a volume is for, in the order in which it is told."""

    GOLDEN = "goldens"
    CLEAN = "clean points"
    RAM = "saved RAM"
    WRITTEN = "written since"
    SHED = "shed layers"
    KEPT = "kept layers"
    SNAPSHOT = "snapshots"
    SCRATCH = "builds under way"
    CACHE = "base images"
    LEFTOVER = "waiting to be deleted"
    UNEXPLAINED = "unexplained"


def split(domains: Sequence[Domain], volumes: Iterable[Volume]) -> tuple[PoolPart, ...]:
    """Add the volumes up by kind; kinds without a volume are left out."""
    known: dict[str, Kind] = {}
    for domain in domains:
        known |= kinds_of(domain.record)
    parts: dict[Kind, list[Volume]] = {}
    for volume in volumes:
        parts.setdefault(known.get(volume.name) or _by_name(volume.name), []).append(volume)
    return tuple(PoolPart(str(k), total(v.allocation for v in parts[k]), len(parts[k])) for k in Kind if k in parts)


def unexplained(domains: Sequence[Domain], volumes: Iterable[Volume]) -> tuple[Volume, ...]:
    """Return the volumes that no record and no name explains, by name; locks of a remote libvirt are volumes, too."""
    known = frozenset(volume for domain in domains for volume in kinds_of(domain.record))
    strange = (v for v in volumes if v.name not in known and _by_name(v.name) is Kind.UNEXPLAINED)
    return tuple(sorted((v for v in strange if not v.name.endswith(".lock")), key=lambda volume: volume.name))


def kinds_of(record: Record | None) -> dict[str, Kind]:
    """Say of every volume of a record what it is for."""
    if isinstance(record, GoldenRecord):
        return dict.fromkeys(record.volumes(), Kind.GOLDEN)
    if isinstance(record, BuildRecord):
        return dict.fromkeys(record.volumes(), Kind.SCRATCH)
    return dict(_clone(record)) if isinstance(record, CloneRecord) else {}


def _clone(record: CloneRecord) -> Iterator[tuple[str, Kind]]:
    """Pair each volume with its kind; a later pair wins, so the most telling one comes last."""
    yield from ((volume, Kind.LEFTOVER) for volume in record.volumes())
    yield record.top, Kind.WRITTEN
    yield record.seed, Kind.CLEAN
    yield from ((layer.volume, Kind.KEPT) for layer in record.kept)
    yield from ((snapshot.stamp.volume, Kind.SNAPSHOT) for snapshot in record.snapshots)
    if record.shed is not None:
        yield record.shed.volume, Kind.SHED
    if record.clean is not None:
        yield from ((stamp.volume, Kind.CLEAN) for stamp in record.clean.stamps)
        if record.clean.ram is not None:
            yield record.clean.ram, Kind.RAM


def _by_name(name: str) -> Kind:
    """Say what a volume is that stands in no record: a cache with its marker, by its name, or nobody knows."""
    is_cache = marked_volume(name) or marked_volume(marker_volume(name))
    return Kind.CACHE if is_cache else Kind.UNEXPLAINED
