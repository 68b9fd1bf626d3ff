"""A plan as rows: one figure each, as people and as programs read it, with its origin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.capacity import LEAST_CLONE

if TYPE_CHECKING:
    from moltfleet.model.fit import Fit
    from moltfleet.model.mix import Mix
    from moltfleet.model.plan import DiskFigures, Now, Plan
    from moltfleet.model.size import Size


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. ``key``, ``value`` and ``unit`` are for programs; ``label`` and ``text`` for people."""

    key: str
    label: str
    value: int | float | str | None
    unit: str
    text: str
    origin: str


def rows(plan: Plan) -> tuple[Row, ...]:
    """Return all figures of a plan for one host and one size of clone."""
    return (
        *_memory_rows(plan),
        *_cpu_rows(plan),
        *(_mix_rows(plan.mix, plan.capacity.available) if plan.mix else ()),
        *(_fit_rows(plan.fit, plan.clone.memory) if plan.fit else ()),
        *(_disk_rows(plan.disk) if plan.disk else ()),
        *(_now_rows(plan.now) if plan.now else ()),
    )


def _memory_rows(plan: Plan) -> Iterator[Row]:
    capacity, host, clone = plan.capacity, plan.host, plan.clone
    division = f"{capacity.available} / {clone.memory}, rounded down"
    yield _memory("host_memory", "host memory", host.memory, host.memory_origin)
    yield _memory("reserve", "reserve", host.reserve, host.reserve_origin)
    yield _memory("available", "for clones", capacity.available, f"{host.memory} - {host.reserve}")
    yield _memory("clone_memory", "memory per clone", clone.memory, clone.memory_origin)
    yield _count("max_clones", "possible clones", capacity.max_clones, division)
    yield _count("safe_clones", "safe clones", capacity.safe_clones, "one less: its room is there for a leak")


def _cpu_rows(plan: Plan) -> Iterator[Row]:
    host, clone, ratio = plan.host, plan.clone, plan.vcpu_ratio
    yield _count("clone_vcpus", "vCPUs per clone", clone.vcpus, clone.vcpus_origin)
    yield _count("host_cpus", "CPUs of the host", host.cpus, host.cpus_origin)
    if ratio:
        origin = f"{plan.capacity.max_clones} possible clones x {clone.vcpus} / {host.cpus}"
        yield Row("vcpu_ratio", "vCPUs per CPU", round(ratio, 2), "", f"{ratio:.1f}", origin)


def _mix_rows(mix: Mix, available: Size) -> Iterator[Row]:
    yield _memory("mix_memory", "mix", mix.memory, str(mix))
    yield _word("mix_verdict", "mix fits", mix.verdict(available), mix_reason(mix, available))


def mix_reason(mix: Mix, available: Size) -> str:
    """Say how much is left, or missing; safe needs the largest clone's memory to be left."""
    if mix.memory > available:
        return f"{mix.memory - available} more than the {available} for clones"
    return f"{available - mix.memory} left of {available}; safe from {mix.largest}, the largest clone's"


def _fit_rows(fit: Fit, memory: Size) -> Iterator[Row]:
    yield _word("fit_verdict", f"{fit.clones} of {memory} fit", fit.verdict, "--fit")
    changes = (
        ("fit_clone_memory", "... with clones up to", fit.clone_memory, f"not even with {LEAST_CLONE}"),
        ("fit_host_memory", "... on a host from", fit.host_memory, ""),
        ("fit_reserve", "... with a reserve up to", fit.reserve, "not even without one"),
    )
    for key, label, pair, never in changes:
        for word, size in zip(("safe", "possible"), pair, strict=True):
            yield _memory(f"{key}_{word}", label, size, f"to be {word}" if size else f"to be {word}: {never}")


def _disk_rows(disk: DiskFigures) -> Iterator[Row]:
    yield _memory("golden_size", f"golden {disk.golden}", disk.golden_size, "its volumes in the pool, once for all")
    yield _memory("disk_growth", "growth per clone", disk.growth, disk.growth_origin)
    yield _memory("ram_image", "RAM image per clone", disk.ram_image, disk.ram_origin)
    yield _memory("pool_free", "free in the pool", disk.pool_free, "libvirt" if disk.pool_free else "no pool is there")
    yield _count("disk_clones", "clones by disk", disk.clones, f"free / {disk.per_clone} of growth and RAM image")


def _now_rows(now: Now) -> Iterator[Row]:
    largest = now.admission.largest
    origin = f"the four rules; largest single one: {largest if largest.bytes else 'none'}"
    yield _count("clones_now", "could start now", now.clones, origin)


def _memory(key: str, label: str, size: Size | None, origin: str) -> Row:
    return Row(key, label, None if size is None else size.mib, "MiB", "-" if size is None else str(size), origin)


def _count(key: str, label: str, number: int | None, origin: str) -> Row:
    return Row(key, label, number, "", "-" if number is None else str(number), origin)


def _word(key: str, label: str, word: str, origin: str) -> Row:
    return Row(key, label, str(word), "", str(word), origin)
