"""What stands out in a report, the worst first. Judges only what was measured, and says what was not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from moltfleet.model.admission import HIGHEST_PRESSURE
from moltfleet.model.capacity import vcpu_ratio
from moltfleet.model.domain import DomainState, VirtType
from moltfleet.model.outlook import find_growth
from moltfleet.model.report import CloneUse, Finding, Level, Report, total
from moltfleet.model.size import Size

# What work that mostly waits for answers bears well.
_MOST_VCPUS_PER_CPU = 2.0
_ORDER = list(Level)


def find_all(report: Report, *, growth: Size) -> tuple[Finding, ...]:
    """Look at everything. ``growth`` is what a clone is expected to write between two molts."""
    found = [*_memory(report), *_host(report), *_clones(report.clones), *_disk(report, growth), *_unmeasured(report)]
    if report.outlook is not None:
        found += find_growth(report.outlook)
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.level)))


def _memory(report: Report) -> Iterator[Finding]:
    memory, load = report.memory, report.situation.host
    if memory.limit.bytes == 0:
        text = f"The reserve of {memory.reserve} leaves nothing of the host's {memory.total} to clones"
        yield Finding(Level.CRITICAL, text, hint="Set a smaller 'reserve' in moltfleet.toml.")
    elif memory.excess.bytes:
        text = f"{memory.committed} is promised to domains, {memory.excess} more than the {memory.limit} they may have"
        yield Finding(Level.CRITICAL, text, hint="Stop some, or make them anew with less memory.")
    short = Size(0) if load.available is None else report.situation.untouched - load.available
    if short.bytes:
        text = f"If the domains took all that they were promised, the host would lack {short}"
        yield Finding(Level.CRITICAL, text, hint="Other programs of the host have taken more than the reserve.")
    if load.oom_kills:
        text = f"The kernel killed {_count(load.oom_kills, 'process', 'processes')} for want of memory"
        yield Finding(Level.CRITICAL, f"{text} ({load.oom_origin})")
    if load.pressure is not None and load.pressure >= HIGHEST_PRESSURE:
        text = f"Programs of the host wait for memory {load.pressure:.0f} % of the time (some avg60)"
        yield Finding(Level.WARNING, text, hint="Nothing is started before that is below 10 %.")
    if memory.limit.bytes and not report.default.more:
        yield _no_room(report)


def _no_room(report: Report) -> Finding:
    text = f"No other clone with {report.default.memory} can be started now"
    hint = f"The largest that could has {report.largest}." if report.largest.bytes else ""
    return Finding(Level.WARNING, text, hint=hint)


def _host(report: Report) -> Iterator[Finding]:
    host = report.host
    if host.virt_type is VirtType.QEMU:
        yield Finding(Level.WARNING, f"Guests are emulated ({host.virt_reason}): slow, and no security boundary")
    if host.memory_note:
        yield Finding(Level.NOTE, host.memory_note[:1].upper() + host.memory_note[1:])
    ratio = vcpu_ratio(1, vcpus=report.vcpus, cpus=host.cpus)
    if ratio is not None and ratio > _MOST_VCPUS_PER_CPU:
        text = f"{ratio:.1f} vCPUs of running domains share each CPU"
        yield Finding(Level.NOTE, text, hint="Up to 2 do well when clones mostly wait.")


def _clones(clones: tuple[CloneUse, ...]) -> Iterator[Finding]:
    for level, text, test, hint in _ABOUT_CLONES:
        names = tuple(clone.view.name for clone in clones if test(clone))
        if names:
            yield Finding(level, text, names, hint)


def _is_older(clone: CloneUse) -> bool:
    return clone.view.latest_generation is not None and 0 < clone.view.generation < clone.view.latest_generation


_ABOUT_CLONES: tuple[tuple[Level, str, Callable[[CloneUse], bool], str], ...] = (
    (
        Level.WARNING,
        "Clones have crashed",
        lambda clone: clone.view.state is DomainState.CRASHED,
        "Molt or start them.",
    ),
    (
        Level.WARNING,
        "Clones are paused, and keep their memory",
        lambda clone: clone.view.state is DomainState.PAUSED,
        "A full pool pauses guests, and so does virsh suspend.",
    ),
    (
        Level.WARNING,
        "Metadata of clones cannot be read",
        lambda clone: clone.view.health == "unreadable",
        "A newer moltfleet wrote it, or it was edited by hand.",
    ),
    (
        Level.WARNING,
        "A command on clones was interrupted",
        lambda clone: clone.view.health.startswith("unfinished"),
        "The next changing command on each finishes that, or takes it back.",
    ),
    (
        Level.NOTE,
        "Saved RAM of clones no longer fits the host, so that they boot when molted",
        lambda clone: clone.view.warm == "stale",
        "Make it anew: moltfleet warm NAME",
    ),
    (Level.NOTE, "Clones stand on an older generation of their golden", _is_older, ""),
)


def _disk(report: Report, growth: Size) -> Iterator[Finding]:
    free = report.situation.pool_free
    if free is None:
        return
    active = report.active
    expected = total(growth - clone.disk.written for clone in active)
    possible = total(clone.disk_capacity - clone.disk.written for clone in active)
    if free < expected:
        text = f"The pool has {free} free, and running clones are expected to write {expected} more before they molt"
        yield Finding(Level.WARNING, text, hint="A full pool pauses them. Delete kept layers, or molt some.")
    elif free < possible:
        text = f"Running clones could write {possible} more in all, and the pool has {free} free"
        yield Finding(Level.NOTE, text)


def _unmeasured(report: Report) -> Iterator[Finding]:
    situation, load = report.situation, report.situation.host
    silent = tuple(domain.name for domain in situation.domains if domain.resident is None)
    if silent:
        yield Finding(Level.NOTE, "libvirt does not tell what domains take of the host's memory", silent)
    for what, value, origin in (
        ("Available memory", load.available, load.available_origin),
        ("Memory pressure", load.pressure, load.pressure_origin),
        ("OOM kills", load.oom_kills, load.oom_origin),
        ("Free space of the pool", situation.pool_free, situation.pool_origin),
    ):
        if value is None:
            yield Finding(Level.NOTE, f"{what}: not measured ({origin})")


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
