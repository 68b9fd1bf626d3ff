"""What admission is decided on, measured: the host, its domains, the pool, what a clone will need. Changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.domain import Domain, VirtType
from moltfleet.model.load import Candidate, HostLoad, Reservation, Situation
from moltfleet.model.records import CloneRecord, GoldenRecord
from moltfleet.model.size import Size

if TYPE_CHECKING:
    from moltfleet.config import Config
    from moltfleet.operations.fleet import Fleet

# A guest that is ready holds more than it did when it was measured idle, at its golden's build.
_RAM_TIMES_IDLE = 2


def measure(fleet: Fleet, *, reservations: tuple[Reservation, ...] = ()) -> Situation:
    """Measure the host, all its active domains and the pool, which is not made for it."""
    free = fleet.storage.find_free_space()
    pool = f"pool {fleet.config.pool!r}"
    return Situation(
        host=host_load(fleet),
        reserve=fleet.config.reserve,
        reserve_origin=origin_of(fleet.config, "reserve"),
        domains=fleet.hypervisor.memory_use(),
        reservations=reservations,
        pool_free=free,
        pool_origin=pool if free is not None else f"{pool} is not there, or does not run",
    )


def host_load(fleet: Fleet) -> HostLoad:
    """Measure the host; ``host_memory`` in the configuration counts as its memory, and no more than that is free."""
    load = fleet.meter.measure()
    total = fleet.config.host_memory
    if total is None:
        return load
    load = replace(load, total=total, total_origin=origin_of(fleet.config, "host_memory"))
    if load.available is None or load.available <= total:
        return load
    origin = f"{load.total_origin}; {load.available_origin} is more: {load.available}"
    return replace(load, available=total, available_origin=origin)


def origin_of(config: Config, key: str) -> str:
    """Say where a setting is from."""
    return f"{key} in the config" if key in config.model_fields_set else "default"


def new_clone(  # noqa: PLR0913 - what a clone is asked for has this many independent parts
    fleet: Fleet,
    golden: GoldenRecord,
    *,
    name: str,
    memory: Size,
    vcpus: int,
    linked: bool = True,
    with_ram: bool = True,
) -> Candidate:
    """Return what a clone that is to be made will need; ``with_ram`` when its RAM will be saved."""
    growth = min(fleet.config.disk_growth, Size(golden.disk or golden.latest.capacity))
    copied = Size(0) if linked else fleet.storage.get(golden.latest.volume).allocation
    return Candidate(
        name=name,
        memory=memory,
        vcpus=vcpus,
        emulated=is_emulated(fleet),
        disk_growth=growth + copied,
        ram_image=ram_image(golden, memory) if with_ram else Size(0),
    )


def known_clone(fleet: Fleet, domain: Domain, clone: CloneRecord, *, with_ram: bool = False) -> Candidate:
    """Return what a clone needs to run; ``with_ram`` when its RAM will be saved.

    It never grows past its disk's size: what the top layer already has is taken off that.
    """
    top = fleet.storage.find(clone.top)
    growth = fleet.config.disk_growth if top is None else min(fleet.config.disk_growth, top.capacity - top.allocation)
    return Candidate(
        name=domain.name,
        memory=domain.memory,
        vcpus=domain.vcpus,
        emulated=is_emulated(fleet),
        disk_growth=growth,
        ram_image=ram_image(_golden_of(fleet, clone), domain.memory) if with_ram else Size(0),
    )


def side_by_side(fleet: Fleet, vcpus: int) -> int:
    """How many clones of that many vCPUs to boot or restore at once, when nobody says.

    A guest on its way up keeps emulated vCPUs busy, and where they are more than the host's processors each waits for
    the others: two first boots took 51 s each one after the other, and 125 s together (two processors, two vCPUs each).
    """
    if not is_emulated(fleet):
        return fleet.config.jobs
    return max(1, min(fleet.config.jobs, fleet.hypervisor.host().cpus // max(1, vcpus)))


def is_emulated(fleet: Fleet) -> bool:
    """Whether guests of this fleet run without KVM."""
    return fleet.hypervisor.host().virt_type is VirtType.QEMU


def ram_image(golden: GoldenRecord | None, memory: Size) -> Size:
    """Estimate what saving a ready guest's RAM takes: twice what its golden used when idle, else all of it."""
    idle = golden.latest.idle_memory if golden else 0
    return min(memory, Size(idle) * _RAM_TIMES_IDLE) if idle else memory


def _golden_of(fleet: Fleet, clone: CloneRecord) -> GoldenRecord | None:
    domain = fleet.hypervisor.find(clone.golden)
    record = domain.record if domain else None
    return record if isinstance(record, GoldenRecord) and record.generations else None
