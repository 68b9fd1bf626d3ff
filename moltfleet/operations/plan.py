"""Answer how many clones fit: on a host that is only thought of, or on this one, with what it would do now.

Changes nothing; asks libvirt only about a host or a golden that is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moltfleet.model import admission
from moltfleet.model.capacity import LEAST_CLONE, Capacity, calculate
from moltfleet.model.errors import HostUnavailable, InvalidInput
from moltfleet.model.fit import fit
from moltfleet.model.load import Candidate, HostLoad
from moltfleet.model.plan import VCPUS, CloneFigures, DiskFigures, HostFigures, Now, Plan, Workload
from moltfleet.model.plan_notes import notes
from moltfleet.model.records import CloneRecord, GoldenRecord
from moltfleet.model.size import Size
from moltfleet.operations import measuring
from moltfleet.operations.clones import get_golden

if TYPE_CHECKING:
    from moltfleet.config import Config
    from moltfleet.model.mix import Mix
    from moltfleet.operations.fleet import Fleet

# Below it nothing runs beside a hypervisor: the figure is a typing error.
_LEAST_HOST = Size.of_gib(1)
# The sizes that a matrix shows when none is asked for.
_USUAL_CLONES = tuple(Size.of_gib(gib) for gib in (8, 12, 16, 24))


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is asked. None and empty mean: as it is here, as the golden or the config says.

    ``hosts`` are hosts that are only thought of, with ``hosts_origin`` the option that named them.
    """

    hosts: tuple[Size, ...] = ()
    hosts_origin: str = "--host-memory"
    cpus: int | None = None
    memories: tuple[Size, ...] = ()
    vcpus: int | None = None
    workload: Workload | None = None
    mix: Mix | None = None
    golden: str | None = None
    fit: int | None = None


def plan(config: Config, request: PlanRequest, connect: Callable[[], Fleet]) -> Plan:
    """Answer the question; ``connect`` is called only when the answer needs libvirt.

    Raises: InvalidInput, NotFound (golden), and what libvirt raises when it is needed.
    """
    _check(request)
    fleet = _connected(connect, request) if not request.hosts or request.golden else None
    golden = get_golden(fleet, request.golden)[1] if fleet and request.golden else None
    load = measuring.host_load(fleet) if fleet and not request.hosts else None
    host = _host(config, request, fleet, load)
    clone = _clone(config, request, golden)
    capacity = calculate(host.memory, reserve=host.reserve, clone=clone.memory)
    found = Plan(
        host=host,
        clone=clone,
        capacity=capacity,
        matrix=_matrix(request, host),
        mix=request.mix,
        fit=fit(capacity, request.fit) if request.fit else None,
        disk=_disk(fleet, request.golden, golden, clone) if fleet and golden and request.golden else None,
        now=_now(fleet, clone, golden) if fleet and load else None,
    )
    facts = fleet.hypervisor.host() if fleet and load else None
    return replace(found, notes=notes(found, facts, request.workload))


def _connected(connect: Callable[[], Fleet], request: PlanRequest) -> Fleet:
    fleet = connect()
    try:
        fleet.hypervisor.host()
    except HostUnavailable as error:
        hint = " ".join(part for part in (error.hint, "A plan for --host-memory SIZE needs no libvirt.") if part)
        raise HostUnavailable(error.brief, details=error.details, hint=hint) from error
    return fleet


def _check(request: PlanRequest) -> None:
    for memory in request.hosts:
        if memory < _LEAST_HOST:
            raise InvalidInput(
                f"Host memory of {memory} is too little to run guests beside anything", hint=_unit_hint(memory)
            )
    for memory in request.memories:
        if memory < LEAST_CLONE:
            raise InvalidInput(f"Memory of {memory} is too little for a guest", hint=_unit_hint(memory))
    if request.vcpus and request.workload:
        raise InvalidInput("The workload decides the vCPUs, and so do --vcpus", hint="Give one of the two.")


def _unit_hint(memory: Size) -> str:
    return f"A bare number is MiB: {memory.mib}G means GiB." if memory.mib else "Example: 12G, or 12288 for MiB."


def _host(config: Config, request: PlanRequest, fleet: Fleet | None, load: HostLoad | None) -> HostFigures:
    if load is not None:
        memory, memory_origin = load.total, load.total_origin
    else:
        memory, memory_origin = request.hosts[0], request.hosts_origin
    if request.cpus is not None:
        cpus, cpus_origin = request.cpus, "--host-cpus"
    elif fleet is not None and load is not None:
        facts = fleet.hypervisor.host()
        cpus, cpus_origin = facts.cpus, "this machine" if facts.is_local else "libvirt node information"
    else:
        cpus, cpus_origin = None, "unknown without --host-cpus"
    return HostFigures(memory, memory_origin, config.reserve, measuring.origin_of(config, "reserve"), cpus, cpus_origin)


def _clone(config: Config, request: PlanRequest, golden: GoldenRecord | None) -> CloneFigures:
    from_golden = f"golden {request.golden!r}"
    if request.memories:
        memory, memory_origin = request.memories[0], "--memory"
    elif golden and golden.memory:
        memory, memory_origin = Size(golden.memory), from_golden
    else:
        memory, memory_origin = config.defaults.memory, _default_origin(config, "memory")
    if request.vcpus:
        vcpus, vcpus_origin = request.vcpus, "--vcpus"
    elif request.workload:
        vcpus, vcpus_origin = VCPUS[request.workload], f"--workload {request.workload}"
    elif golden and golden.vcpus:
        vcpus, vcpus_origin = golden.vcpus, from_golden
    else:
        vcpus, vcpus_origin = config.defaults.vcpus, _default_origin(config, "vcpus")
    return CloneFigures(memory, memory_origin, vcpus, vcpus_origin)


def _default_origin(config: Config, key: str) -> str:
    return f"defaults.{key} in the config" if key in config.defaults.model_fields_set else "default"


def _matrix(request: PlanRequest, host: HostFigures) -> tuple[Capacity, ...]:
    """Every host with every clone size; nothing when there is one of each."""
    hosts = request.hosts or (host.memory,)
    if len(hosts) == 1 and len(request.memories) <= 1:
        return ()
    clones = request.memories or _USUAL_CLONES
    return tuple(calculate(one, reserve=host.reserve, clone=clone) for one in hosts for clone in clones)


def _disk(fleet: Fleet, name: str, golden: GoldenRecord, clone: CloneFigures) -> DiskFigures:
    """Read the real allocations of the golden and of the clones on it."""
    free = fleet.storage.find_free_space()
    sizes = {} if free is None else {volume.name: volume.allocation for volume in fleet.storage.volumes()}
    records = [
        (domain.name, domain.record)
        for domain in fleet.hypervisor.domains()
        if isinstance(domain.record, CloneRecord) and domain.record.golden == name
    ]
    growth, growth_origin = _growth(fleet, records, sizes)
    ram_image, ram_origin = _ram_image(records, sizes, golden, clone)
    golden_size = Size(sum(sizes.get(volume, Size(0)).bytes for volume in golden.volumes()))
    return DiskFigures(name, golden_size, growth, growth_origin, ram_image, ram_origin, free)


def _growth(fleet: Fleet, records: list[tuple[str, CloneRecord]], sizes: dict[str, Size]) -> tuple[Size, str]:
    """Return the most that a clone has written since its clean point, at least what the config expects."""
    written = [(sizes.get(record.top, Size(0)), clone) for clone, record in records if record.clean]
    most = max(written, default=(Size(0), ""))
    if most[0] > fleet.config.disk_growth:
        return most[0], f"the most a clone of it has written: {most[1]!r}"
    return fleet.config.disk_growth, f"disk_growth, {measuring.origin_of(fleet.config, 'disk_growth')}"


def _ram_image(
    records: list[tuple[str, CloneRecord]], sizes: dict[str, Size], golden: GoldenRecord, clone: CloneFigures
) -> tuple[Size, str]:
    saved = [
        (sizes[record.clean.ram], name)
        for name, record in records
        if record.clean and record.clean.ram and record.clean.ram in sizes
    ]
    if saved:
        largest, name = max(saved)
        return largest, f"the largest of its clones: {name!r}"
    estimate = measuring.ram_image(golden, clone.memory)
    return estimate, "all of its memory" if estimate == clone.memory else "twice what the golden used when idle"


def _now(fleet: Fleet, clone: CloneFigures, golden: GoldenRecord | None) -> Now:
    situation = measuring.measure(fleet, reservations=fleet.reservations.current())
    if golden:
        candidate = measuring.new_clone(fleet, golden, name="", memory=clone.memory, vcpus=clone.vcpus)
    else:
        emulated = measuring.is_emulated(fleet)
        candidate = Candidate("", clone.memory, clone.vcpus, emulated, disk_growth=fleet.config.disk_growth)
    return Now(admission.decide(situation, candidate), admission.how_many(situation, candidate))
