"""What the report tells: one host at one moment, its goldens and clones, what stands out, and what would still fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from moltfleet.model.capacity import Capacity
from moltfleet.model.domain import HostFacts
from moltfleet.model.load import DomainUse, Situation
from moltfleet.model.results import CloneView
from moltfleet.model.size import Size

if TYPE_CHECKING:
    from moltfleet.model.outlook import Outlook

NOTHING = Size(0)


class Level(StrEnum):
    """How much a finding matters, the worst first."""

    CRITICAL = "critical"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that stands out. ``names`` are the domains it is about; they may be foreign and anything."""

    level: Level
    text: str
    names: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What a clone takes in the pool, by what it is for.

    ``clean`` is its frozen layers and its seed; ``written`` the writable layer, which is all that was written since the
    clean point; ``leftover`` waits to be deleted.
    """

    clean: Size = NOTHING
    ram_image: Size = NOTHING
    written: Size = NOTHING
    shed: Size = NOTHING
    kept: Size = NOTHING
    leftover: Size = NOTHING


@dataclass(frozen=True, slots=True)
class CloneUse:
    """A clone with what it was promised and what it takes.

    ``promised`` is its memory with QEMU's own, zero while it is off; ``resident`` is QEMU's RSS, None when libvirt does
    not tell it; ``peak`` its most since QEMU was started, None when that cannot be seen. ``disk_capacity`` is the disk
    that its guest sees.
    """

    view: CloneView
    promised: Size
    resident: Size | None
    disk: DiskUse
    disk_capacity: Size
    peak: Size | None = None

    @property
    def is_active(self) -> bool:
        """Whether a QEMU process stands behind it."""
        return self.promised.bytes > 0


@dataclass(frozen=True, slots=True)
class GenerationUse:
    """A generation of a golden, and how many clones stand on it."""

    number: int
    built_at: str
    allocation: Size
    clones: int


@dataclass(frozen=True, slots=True)
class GoldenUse:
    """A golden with its generations, oldest first; ``running`` of its clones are active."""

    name: str
    profile: str
    source: str
    generations: tuple[GenerationUse, ...]
    running: int

    @property
    def allocation(self) -> Size:
        """What all its generations take in the pool."""
        return total(generation.allocation for generation in self.generations)

    @property
    def clones(self) -> int:
        """How many clones stand on any of them."""
        return sum(generation.clones for generation in self.generations)


@dataclass(frozen=True, slots=True)
class PoolPart:
    """What one kind of volume takes in the pool. ``kind`` says it in a few words."""

    kind: str
    size: Size
    volumes: int


@dataclass(frozen=True, slots=True)
class HeadroomRow:
    """Clones of one size. ``more`` could be started here now; ``hosts`` are this host when empty, then others."""

    memory: Size
    vcpus: int
    is_default: bool
    more: int
    hosts: tuple[Capacity, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """Clones of one golden and size that take less than they were promised.

    ``highest`` is the most that any of them takes; ``basis`` says what that is known from: "now" is one look, "since
    start" the most that any of them has ever taken since its QEMU was started. With
    ``suggested`` memory each, ``more_then`` more of that size would fit, instead of ``more_now`` of the present one.
    """

    golden: str
    memory: Size
    clones: tuple[str, ...]
    highest: Size
    basis: str
    suggested: Size
    more_now: int
    more_then: int


@dataclass(frozen=True, slots=True)
class MemoryBalance:
    """Where the host's memory is promised to, and where it is. What is None was not measured.

    ``starting`` is reserved for starts under way; ``rest_used`` is what all else takes, with those domains that libvirt
    tells nothing about.
    """

    total: Size
    reserve: Size
    clones_promised: Size
    others_promised: Size
    starting: Size
    clones_used: Size | None
    others_used: Size | None
    rest_used: Size | None
    available: Size | None

    @property
    def limit(self) -> Size:
        """What may be promised: the host without its reserve."""
        return self.total - self.reserve

    @property
    def committed(self) -> Size:
        """All that is promised, and reserved for starts under way."""
        return total((self.clones_promised, self.others_promised, self.starting))

    @property
    def free(self) -> Size:
        """What may still be promised."""
        return self.limit - self.committed

    @property
    def excess(self) -> Size:
        """What is promised beyond the limit."""
        return self.committed - self.limit

    @property
    def used(self) -> Size | None:
        """All that is not available."""
        return None if self.available is None else self.total - self.available


@dataclass(frozen=True, slots=True)
class Report:
    """Everything. ``taken_at`` is ISO 8601 in UTC; ``others`` are active domains that are no clones of ours.

    ``largest`` is the largest clone memory that would be admitted now. ``outlook`` is None when nobody was asked.
    """

    taken_at: str
    version: str
    host: HostFacts
    situation: Situation
    clones: tuple[CloneUse, ...]
    others: tuple[DomainUse, ...]
    goldens: tuple[GoldenUse, ...]
    pool: tuple[PoolPart, ...]
    headroom: tuple[HeadroomRow, ...]
    largest: Size
    advice: tuple[Advice, ...]
    findings: tuple[Finding, ...] = ()
    outlook: Outlook | None = None

    @property
    def active(self) -> tuple[CloneUse, ...]:
        """The clones behind which a QEMU process stands."""
        return tuple(clone for clone in self.clones if clone.is_active)

    @property
    def default(self) -> HeadroomRow:
        """The headroom for clones of the default size."""
        return next(row for row in self.headroom if row.is_default)

    @property
    def vcpus(self) -> int:
        """Virtual CPUs of all active domains."""
        return sum(domain.vcpus for domain in self.situation.domains)

    @property
    def memory(self) -> MemoryBalance:
        """The memory, added up."""
        host = self.situation.host
        clones_used = _known(clone.resident for clone in self.active)
        others_used = _known(domain.resident for domain in self.others)
        rest_used = None
        if host.available is not None:
            # Never negative: pages that processes share stand in the RSS of each.
            rest_used = host.total - host.available - (clones_used or NOTHING) - (others_used or NOTHING)
        return MemoryBalance(
            total=host.total,
            reserve=self.situation.reserve,
            clones_promised=total(clone.promised for clone in self.clones),
            others_promised=total(domain.promised for domain in self.others),
            starting=self.situation.reserved,
            clones_used=clones_used,
            others_used=others_used,
            rest_used=rest_used,
            available=host.available,
        )


def total(sizes: Iterable[Size]) -> Size:
    """Add sizes up."""
    return Size(sum(size.bytes for size in sizes))


def _known(sizes: Iterable[Size | None]) -> Size | None:
    """Add sizes up; None when none of several is known."""
    seen = list(sizes)
    known = [size for size in seen if size is not None]
    return None if seen and not known else total(known)
