"""What a host carries at one moment, as measured: its memory, its domains, what is promised, and what wants to come."""

from __future__ import annotations

from dataclasses import dataclass, replace

from moltfleet.model.domain import DomainState
from moltfleet.model.overhead import footprint
from moltfleet.model.size import Size

NOT_MEASURED = "not measured"
_NOTHING = Size(0)


@dataclass(frozen=True, slots=True)
class HostLoad:
    """The host's memory now. What is None was not measured; its origin then says why.

    ``available`` is MemAvailable; ``pressure`` is PSI memory "some avg60" in percent; ``oom_kills`` are the kernel's
    in the last ten minutes. An origin says where a figure is from, in a few words.
    """

    total: Size
    total_origin: str
    available: Size | None
    available_origin: str
    pressure: float | None = None
    pressure_origin: str = NOT_MEASURED
    oom_kills: int | None = None
    oom_origin: str = NOT_MEASURED


@dataclass(frozen=True, slots=True)
class DomainUse:
    """An active domain, whoever it belongs to and whether or not it is paused: what it was promised and what it has.

    ``memory`` is the maximum, whatever the balloon says now; ``resident`` is QEMU's RSS, None when libvirt did not say
    (a job is running).
    """

    name: str
    state: DomainState
    memory: Size
    vcpus: int
    resident: Size | None
    emulated: bool

    @property
    def promised(self) -> Size:
        """What it may come to take: memory and overhead; never less than what it takes already."""
        expected = footprint(self.memory, vcpus=self.vcpus, emulated=self.emulated)
        return max(expected, self.resident or Size(0))

    @property
    def untouched(self) -> Size:
        """What it was promised and has not touched yet: MemAvailable still counts that as free."""
        return self.promised - (self.resident or Size(0))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be kept for domain ``name`` until its guest is ready: memory, and room in the pool."""

    name: str
    amount: Size
    disk: Size = _NOTHING


@dataclass(frozen=True, slots=True)
class Reservation:
    """Memory that is kept for domain ``name``, from the check until its guest is ready; ``disk`` is room in the pool.

    ``owner`` is the user and ``pid`` the process that hold it; ``since`` is seconds since the epoch.
    """

    name: str
    amount: Size
    owner: str
    pid: int
    since: float
    disk: Size = _NOTHING


@dataclass(frozen=True, slots=True)
class Candidate:
    """A domain that is to run. One of the same ``name`` that already runs gives its memory back first (a molt).

    ``disk_growth`` is what it is expected to write before it is molted; ``ram_image`` what saving its RAM will take,
    zero when none will be saved.
    """

    name: str
    memory: Size
    vcpus: int
    emulated: bool
    disk_growth: Size = _NOTHING
    ram_image: Size = _NOTHING

    @property
    def need(self) -> Size:
        """Its memory and QEMU's own."""
        return footprint(self.memory, vcpus=self.vcpus, emulated=self.emulated)


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that admission is decided on. ``domains`` are all active ones of the host.

    ``pool_free`` is None when the pool was not asked; origins are as in :class:`HostLoad`.
    """

    host: HostLoad
    reserve: Size
    reserve_origin: str
    domains: tuple[DomainUse, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    pool_free: Size | None = None
    pool_origin: str = NOT_MEASURED

    def without(self, name: str) -> Situation:
        """Return it as it is once domain ``name`` has given back its memory, and without what is reserved for it."""
        host, given_back = self.host, sum(d.resident.bytes for d in self.domains if d.name == name and d.resident)
        if host.available is not None and given_back:
            origin = f"{host.available_origin}, with the {Size(given_back)} that {name!r} gives back"
            host = replace(host, available=Size(host.available.bytes + given_back), available_origin=origin)
        return replace(
            self,
            host=host,
            domains=tuple(domain for domain in self.domains if domain.name != name),
            reservations=tuple(kept for kept in self.reservations if kept.name != name),
        )

    @property
    def promised(self) -> Size:
        """What all active domains may come to take."""
        return Size(sum(domain.promised.bytes for domain in self.domains))

    @property
    def untouched(self) -> Size:
        """What they were promised and have not touched yet."""
        return Size(sum(domain.untouched.bytes for domain in self.domains))

    @property
    def reserved(self) -> Size:
        """What is reserved beyond the promises to active domains: one that has started is not counted twice."""
        names = {reservation.name for reservation in self.reservations}
        promised = {domain.name: domain.promised for domain in self.domains if domain.name in names}
        return Size(sum((r.amount - promised.get(r.name, Size(0))).bytes for r in self.reservations))

    @property
    def reserved_disk(self) -> Size:
        """What starts under way are expected to write."""
        return Size(sum(reservation.disk.bytes for reservation in self.reservations))
