"""What is to be said beside a plan's figures: where they mislead, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterator

from moltfleet.model.domain import HostFacts, VirtType
from moltfleet.model.overhead import footprint, overhead
from moltfleet.model.plan import Plan, Workload

# What work that mostly waits for answers bears well; builds want a CPU for each vCPU.
_COMFORTABLE_RATIO = 2.0
_BUSY_RATIO = 1.0
# Slots of our own network (docs/adr/0005).
_ADDRESSES = 253


def notes(plan: Plan, facts: HostFacts | None, workload: Workload | None) -> tuple[str, ...]:
    """Return the notes, the gravest first; ``facts`` are of the host itself, None when it is only thought of."""
    if plan.matrix:
        return (*_matrix_notes(plan), *_host_notes(plan, facts))
    return (*_memory_notes(plan, facts), *_cpu_notes(plan, workload), *_host_notes(plan, facts))


def _matrix_notes(plan: Plan) -> Iterator[str]:
    if any(cell.max_clones == 1 for cell in plan.matrix):
        yield "Where 1 is possible and 0 are safe, that one runs at your own risk: there is no room for a leak"
    if any(cell.available.bytes == 0 for cell in plan.matrix):
        yield f"A host with no more than the reserve of {plan.host.reserve} has nothing left for clones"


def _memory_notes(plan: Plan, facts: HostFacts | None) -> Iterator[str]:
    capacity, clone = plan.capacity, plan.clone
    if capacity.available.bytes == 0:
        yield f"{capacity.host} of host are no more than the reserve of {capacity.reserve}: nothing is left for clones"
        return
    if capacity.max_clones == 0:
        yield f"Not one clone of {clone.memory} fits into the {capacity.available} that are left for clones"
        return
    if capacity.safe_clones == 0:
        yield f"0 safe, 1 possible at your own risk: beside one clone of {clone.memory} there is no room for a leak"
    emulated = facts is not None and facts.virt_type is VirtType.QEMU
    each = footprint(clone.memory, vcpus=clone.vcpus, emulated=emulated)
    admitted = capacity.available.bytes // each.bytes
    if admitted < capacity.max_clones:
        own = overhead(clone.memory, vcpus=clone.vcpus, emulated=emulated)
        yield (
            f"QEMU takes up to {own} beside each clone's memory, which the formula leaves to the reserve; a start is"
            f" only admitted while everything fits: up to {admitted} such clones"
        )


def _cpu_notes(plan: Plan, workload: Workload | None) -> Iterator[str]:
    ratio = plan.vcpu_ratio
    if plan.host.cpus is None:
        yield "The host's CPUs are not known: --host-cpus N tells how many vCPUs will share one"
    elif plan.clone.vcpus > plan.host.cpus:
        yield f"A clone's {plan.clone.vcpus} vCPUs are more than the host's {plan.host.cpus} CPUs: some always wait"
    elif ratio is not None and workload is Workload.HEAVY and ratio > _BUSY_RATIO:
        yield f"{ratio:.1f} vCPUs share each CPU: builds in all clones at once will slow each other down"
    elif ratio is not None and ratio > _COMFORTABLE_RATIO:
        yield f"{ratio:.1f} vCPUs share each CPU: up to {_COMFORTABLE_RATIO:.0f} do well when clones mostly wait"


def _host_notes(plan: Plan, facts: HostFacts | None) -> Iterator[str]:
    if plan.capacity.max_clones > _ADDRESSES:
        yield f"The network of our own has {_ADDRESSES} addresses: more clones need another (--network)"
    if facts is None:
        return
    if facts.virt_type is VirtType.QEMU:
        yield f"Guests are emulated ({facts.virt_reason}), and counted with more of QEMU's own memory"
    if facts.memory_note:
        yield facts.memory_note[0].upper() + facts.memory_note[1:]
