"""The answer of a plan: figures, each with its origin, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from moltfleet.model.admission import Admission
from moltfleet.model.capacity import Capacity, vcpu_ratio
from moltfleet.model.fit import Fit
from moltfleet.model.mix import Mix
from moltfleet.model.size import Size


class Workload(StrEnum):
    """What clones do, which decides how many vCPUs one needs."""

    LIGHT = "light"
    STANDARD = "standard"
    HEAVY = "heavy"
    BROWSER = "browser"


# Command-line agents; code generation; builds and Docker (six to eight); browser automation (four or more).
VCPUS: Mapping[Workload, int] = {Workload.LIGHT: 2, Workload.STANDARD: 4, Workload.HEAVY: 8, Workload.BROWSER: 4}


@dataclass(frozen=True, slots=True)
class HostFigures:
    """The host that is planned for. ``cpus`` is None when nobody said."""

    memory: Size
    memory_origin: str
    reserve: Size
    reserve_origin: str
    cpus: int | None
    cpus_origin: str


@dataclass(frozen=True, slots=True)
class CloneFigures:
    """The clone that is planned for."""

    memory: Size
    memory_origin: str
    vcpus: int
    vcpus_origin: str


@dataclass(frozen=True, slots=True)
class DiskFigures:
    """What clones of a golden take in the pool. ``golden_size`` is there once for all of them.

    ``pool_free`` is None when there is no pool to ask.
    """

    golden: str
    golden_size: Size
    growth: Size
    growth_origin: str
    ram_image: Size
    ram_origin: str
    pool_free: Size | None

    @property
    def per_clone(self) -> Size:
        """What one linked clone with a warm clean point takes."""
        return self.growth + self.ram_image

    @property
    def clones(self) -> int | None:
        """How many more of them the pool has room for."""
        return None if self.pool_free is None else self.pool_free.bytes // max(1, self.per_clone.bytes)


@dataclass(frozen=True, slots=True)
class Now:
    """What the host would do at this moment. ``clones`` is how many could be started one after the other."""

    admission: Admission
    clones: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan. ``capacity`` is of ``host`` and ``clone``; ``matrix`` has all combinations when there are several."""

    host: HostFigures
    clone: CloneFigures
    capacity: Capacity
    matrix: tuple[Capacity, ...] = ()
    mix: Mix | None = None
    fit: Fit | None = None
    disk: DiskFigures | None = None
    now: Now | None = None
    notes: tuple[str, ...] = ()

    @property
    def vcpu_ratio(self) -> float | None:
        """How many vCPUs share a CPU when all clones that are possible run; None without the host's CPUs."""
        return vcpu_ratio(self.capacity.max_clones, vcpus=self.clone.vcpus, cpus=self.host.cpus)
