"""Figures for people: short, and the same on the host and, carried there, in the guest (Python 3.10)."""

from __future__ import annotations

MIB, GIB = 1 << 20, 1 << 30


def amount(size: float) -> str:
    """Return bytes in MiB or GiB."""
    if size >= 10 * GIB:
        return f"{size / GIB:.0f} GiB"
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB"


def part(some: float, whole: float) -> str:
    """Return how much of how much, the unit once when it is the same."""
    of, unit = amount(whole).split()
    number, other = amount(some).split()
    return f"{number} of {of} {unit}" if other == unit else f"{number} {other} of {of} {unit}"


def rate(bytes_per_s: float) -> str:
    """Return how fast something grows: a minute for people, a second when a minute is too long."""
    per_minute = bytes_per_s * 60
    return f"{amount(bytes_per_s)}/s" if per_minute >= 4 * GIB else f"{amount(per_minute)}/min"


def duration(seconds: float) -> str:
    """Return a time in its two largest units at most."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 100:
        return f"{minutes:.0f} min"
    hours = int(minutes // 60)
    if hours < 10:
        return f"{hours} h {int(minutes) % 60} min"
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"


def percent(share: float) -> str:
    """Return a share in whole percent; what is not all is never 100."""
    return f"{min(99, round(share * 100)) if share < 1 else 100} %"
