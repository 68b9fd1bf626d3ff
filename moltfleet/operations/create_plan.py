"""What clones will be made: every default filled in, everything checked that can be checked without an effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.capacity import LEAST_CLONE
from moltfleet.model.errors import AlreadyExists, InvalidInput, NoCapacity
from moltfleet.model.names import check_name, next_name, printable
from moltfleet.model.size import Size
from moltfleet.operations import admission, measuring, networks
from moltfleet.operations.clones import get_golden

if TYPE_CHECKING:
    from moltfleet.model.domain import Domain
    from moltfleet.model.load import Candidate
    from moltfleet.model.records import GoldenRecord
    from moltfleet.model.requests import CreateRequest
    from moltfleet.operations.fleet import Fleet

_MOST_CLONES = 200
_MOST_VCPUS = 512


@dataclass(frozen=True, slots=True)
class CreatePlan:
    """What will be made, with every default filled in and every check passed.

    ``stem`` is what names are generated from, None when the name was asked for.
    """

    golden: str
    record: GoldenRecord
    names: tuple[str, ...]
    memory: Size
    vcpus: int
    disk: Size
    linked: bool
    start: bool
    warm: bool
    network_kind: str
    network: str
    user_keys: tuple[str, ...]
    stem: str | None = None

    def candidate(self, fleet: Fleet, name: str) -> Candidate:
        """What one of the clones will need of the host."""
        return measuring.new_clone(
            fleet,
            self.record,
            name=name,
            memory=self.memory,
            vcpus=self.vcpus,
            linked=self.linked,
            with_ram=self.warm and self.start,
        )

    def lines(self) -> tuple[str, ...]:
        """Say it for ``--dry-run``, one line per clone."""
        how = "linked" if self.linked else "full"
        point = ("with a warm clean point" if self.warm else "with a cold clean point") if self.start else "not started"
        sizes = f"{self.memory} memory, {self.vcpus} vCPUs, {self.disk} disk"
        source = f"{self.golden} g{self.record.latest.number}"
        return tuple(f"{n}: {how} clone of {source}, {sizes}, network {self.network}, {point}" for n in self.names)


def plan_create(fleet: Fleet, request: CreateRequest) -> CreatePlan:
    """Fill in the defaults and check everything that can be checked without an effect.

    Raises: NotFound (golden), InvalidInput (names, sizes), AlreadyExists, NoCapacity (memory over the host's).
    """
    _, golden = get_golden(fleet, request.golden)
    memory = request.memory or (Size(golden.memory) if golden.memory else fleet.config.defaults.memory)
    disk = request.disk or (Size(golden.disk) if golden.disk else fleet.config.defaults.disk)
    vcpus = request.vcpus or golden.vcpus or fleet.config.defaults.vcpus
    kind, network = networks.choose(fleet, request.network)
    _check_sizes(fleet, memory=memory, vcpus=vcpus, disk=disk, golden=golden)
    return CreatePlan(
        golden=request.golden,
        record=golden,
        names=_names(fleet.hypervisor.domains(), request),
        memory=memory,
        vcpus=vcpus,
        disk=disk,
        linked=request.linked,
        start=request.start,
        warm=request.warm,
        network_kind=kind,
        network=network,
        user_keys=fleet.keys.user_public_keys() if request.user_keys is None else request.user_keys,
        stem=_stem(request),
    )


def foresee(fleet: Fleet, plan: CreatePlan) -> tuple[str, ...]:
    """Say it for ``--dry-run``, and whether the first of them would be refused for want of room; changes nothing."""
    objection = admission.find_objection(fleet, plan.candidate(fleet, plan.names[0])) if plan.start else None
    refusal = (f"{plan.names[0]}: would be refused now, {objection.detail}",) if objection else ()
    return (*plan.lines(), *refusal)


def _check_sizes(fleet: Fleet, *, memory: Size, vcpus: int, disk: Size, golden: GoldenRecord) -> None:
    host = fleet.hypervisor.host()
    if memory < LEAST_CLONE:
        raise InvalidInput(f"Memory of {memory} is too little for a guest", hint="A bare number is MiB: --memory 4096.")
    if memory > host.memory:
        raise NoCapacity(
            f"Memory of {memory} is more than the host has: {host.memory} ({host.memory_origin})",
            hint="Ask for less with --memory.",
        )
    if not 1 <= vcpus <= _MOST_VCPUS:
        raise InvalidInput(f"{vcpus} vCPUs are not between 1 and {_MOST_VCPUS}")
    if disk.bytes < golden.latest.capacity:
        raise InvalidInput(
            f"Disk of {disk} is smaller than the golden's {Size(golden.latest.capacity)}",
            hint=f"Ask for --disk {Size(golden.latest.capacity).mib}M or more.",
        )


def _stem(request: CreateRequest) -> str | None:
    if request.name is not None and request.count == 1:
        return None
    return request.name or request.golden


def _names(domains: tuple[Domain, ...], request: CreateRequest) -> tuple[str, ...]:
    if not 1 <= request.count <= _MOST_CLONES:
        raise InvalidInput(f"{request.count} clones are not between 1 and {_MOST_CLONES}")
    if request.name is not None:
        check_name(request.name, what="clone")
    taken = {domain.name for domain in domains}
    stem = _stem(request)
    if stem is None:
        if request.name in taken:
            raise name_taken(request.name, domains)
        return (request.name or "",)
    names: list[str] = []
    for _ in range(request.count):
        names.append(check_name(next_name(stem, taken), what="clone"))
        taken.add(names[-1])
    return tuple(names)


def name_taken(name: str, domains: tuple[Domain, ...]) -> AlreadyExists:
    """Build the error for a name that some domain has."""
    holder = next(domain for domain in domains if domain.name == name)
    what = "clone" if holder.is_clone else "golden" if holder.is_golden else "domain that is not ours"
    return AlreadyExists(f"Name {printable(name)!r} is taken by a {what}", hint="Choose another name.")
