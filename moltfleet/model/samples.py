"""What a survey measured of a clone, or of the pool, at one moment: the rows of the time series that forecasts need."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple, Protocol

from moltfleet.model import forecast
from moltfleet.model.steady import Level

# No clone can be called so: names of clones have no slash.
POOL = "/pool"
# What the longest window of a forecast looks back to.
LOOK_BACK_S = forecast.FROZEN.windows_s[-1] * 1.1


class Sample(NamedTuple):
    """One moment of ``subject``; bytes, and seconds of a clock that nobody sets. None is what was not told.

    Samples of one ``life`` belong together: no start, restore or molt came between them. ``disk`` is what the top layer
    takes, ``cpu_s`` what all vCPUs used since the start, ``agents_cpu_s`` what the agents used since the guest's boot,
    ``kills`` how many processes were ended in the guest for want of memory.

    A tuple, as the samples of a thousand clones are 200,000, and dataclasses would take a second to be made.
    """

    subject: str
    life: str
    time_s: float
    used: int | None = None
    total: int | None = None
    resident: int | None = None
    cpu_s: float | None = None
    agents_cpu_s: float | None = None
    disk: int | None = None
    kills: int | None = None


class Samples(Protocol):
    """What surveys measured, over the last hours; any number of processes may write and read it at once."""

    def add(self, samples: Sequence[Sample]) -> None:
        """Keep them; the oldest go when there are too many. Raises: ToolFailed when they cannot be kept."""

    def history(self, *, since_s: float, subjects: Collection[str] = ()) -> Iterator[tuple[str, tuple[Sample, ...]]]:
        """Each subject (all, when none is named) with its samples of this machine's boot, the oldest first.

        ``since_s`` is of the samples' clock. Raises: ToolFailed, at any moment of the iteration.
        """


def ending_with(now: Sample, earlier: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return a sample after those before it that are of its life; one of the same moment gives way to it."""
    end = len(earlier)
    while end > 0 and earlier[end - 1].time_s >= now.time_s:
        end -= 1
    begin = end
    while begin > 0 and earlier[begin - 1].life == now.life:
        begin -= 1
    return (*earlier[begin:end], now)


def course(samples: Sequence[Sample]) -> list[Level]:
    """Return the memory in use, of the pool its room, over time; where it was not told, nothing."""
    return [Level(s.time_s, s.used, s.total) for s in samples if s.used is not None and s.total is not None]


def rise(
    samples: Sequence[Sample], field: str, *, over_s: float, at_most_s: float | None = None
) -> tuple[float, float] | None:
    """Return by how much a counter rose in the last ``over_s`` seconds, and in how many: from half to twice as many.

    Where samples are further apart it may be over ``at_most_s``. None where that is not known, or where it fell: too
    short a time tells nothing about who waits for an answer.
    """
    if not samples or getattr(samples[-1], field) is None:
        return None
    found: list[tuple[float, float]] = []
    for sample in reversed(samples):
        if (value := getattr(sample, field)) is not None:
            found.append((sample.time_s, value))
            # The latest that is old enough, else the oldest there is.
            if found[0][0] - sample.time_s >= over_s:
                break
    (end_s, last), (begin_s, first) = found[0], found[-1]
    most_s = 2 * over_s if at_most_s is None else at_most_s
    if not over_s / 2 <= end_s - begin_s <= most_s or last < first:
        return None
    return float(last - first), end_s - begin_s
