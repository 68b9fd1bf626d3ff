"""Findings about room: disks, file systems in memory, inodes, processes, threads, open files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from moltguest.health.figures import percent
from moltguest.health.report import Count, Finding, Level, Place

FULL, OVERFULL = 0.85, 0.95

_CODES = {"processes": "process-limit", "threads": "thread-limit", "open files": "descriptor-limit"}
_FORKS = "See what forks without end: ps -eo user,comm | sort | uniq -c | sort -n | tail"
_OPENS = "Raise it with ulimit -n before the program starts, or see what it leaves open: ls -l /proc/PID/fd"


def places_findings(places: Iterable[Place]) -> Iterator[Finding]:
    """Return what there is to say about file systems."""
    for place in places:
        by_inodes = place.inodes_full > place.full
        full = max(place.full, place.inodes_full)
        if full < FULL:
            continue
        code = "shm" if place.path == "/dev/shm" else "tmpfs" if place.in_memory else "disk"
        text = f"{place.path}: {percent(full)} of its {'inodes are' if by_inodes else 'room is'} used"
        advice = _advice(code, place.path, by_inodes=by_inodes)
        yield Finding(f"{code}-{'inodes' if by_inodes else 'full'}", _level(full), text, advice)


def _advice(code: str, path: str, *, by_inodes: bool) -> str:
    if code == "shm":
        return "Remove what lies there; start browsers with --disable-dev-shm-usage: without room they crash silently."
    if code == "tmpfs":
        return f"Remove what lies in {path}: it takes memory, and only removing it gives it back."
    if by_inodes:
        return f"Remove files, or molt. See where many are: sudo du --inodes -xd 3 {path} | sort -n | tail"
    return f"Make room, or molt. See what is large: sudo du -xh -d 2 {path} | sort -h | tail"


def counts_findings(counts: Iterable[Count]) -> Iterator[Finding]:
    """Return what there is to say about what is counted."""
    for count in counts:
        code = _CODES.get(count.what)
        where = f" in {count.where}" if count.where else ""
        advice = _OPENS if count.what == "open files" else _FORKS
        if code and count.most and count.full >= FULL:
            text = f"{count.used} of {count.most} {count.what} are in use{where}"
            yield Finding(code, _level(count.full), text, advice)
        elif code and count.refused:
            yield Finding(code, Level.NOTE, f"New {count.what} were refused {count.refused} times{where}", advice)


def _level(full: float) -> Level:
    return Level.CRITICAL if full >= OVERFULL else Level.WARN
