"""When will the memory be used up? Robust slopes over several windows of samples; refuses to guess from too little.

This one file serves the host and, put there by the installer, the guest: Python 3.10, standard library, no I/O.

- What counts is the floor: the least that was in use in each of a dozen parts of a window. Garbage that a collector is
  going to free, and builds that end, stand above it.
- The slope of a window is the median over all pairs of its parts (Theil and Sen): a few odd parts do not move it.
- A rise is believed when all of its window rises, and drawn on for a few times as long as it was seen, no further.
- Of all windows the soonest end counts: a long window dilutes a leak that has just begun.
- ``bound_s`` says what is possible at all: at this rate no warning could have come earlier before the end.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

MIB = 1 << 20
PARTS = 12
# Fewer parts with a sample in them make no slope.
FEWEST_PARTS = 4
# A single odd assessment neither raises a verdict nor ends one.
REMEMBERED = 3


class Verdict(str, Enum):
    """What the samples say, in the fleet's words; from harmless to urgent."""

    UNKNOWN = "unknown"
    OK = "ok"
    GROWING = "growing"
    LEAKING = "leaking"
    CRITICAL = "critical"

    @property
    def is_alarm(self) -> bool:
        """Whether somebody should act."""
        return self in (Verdict.LEAKING, Verdict.CRITICAL)


_URGENCY = {verdict: rank for rank, verdict in enumerate(Verdict)}


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory at one moment, in bytes. ``time_s`` is of a clock that nobody sets.

    ``total`` is where it ends: MemTotal with MemAvailable, or a limit with what is left below it.
    """

    time_s: float
    available: int
    total: int

    @property
    def used(self) -> int:
        """What is not available."""
        return self.total - self.available


@dataclass(frozen=True, slots=True)
class Trust:
    """How far a rise is believed in windows of ``from_s`` seconds and more.

    It is drawn on for ``reach`` times the window, if each third of the window has at least ``evenness`` of its due.
    """

    from_s: float
    reach: float
    evenness: float


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What makes a verdict. Times are seconds, shares are of the total.

    A rise counts when it is more than ``least_share``, and more than ``noise_factor`` times the spread around its line.
    Chosen on the training traces of ``scripts/bench forecast --train``, and frozen before the test.
    """

    windows_s: tuple[float, ...] = tuple(20.0 * 2 ** (half / 2) for half in range(19))
    trusts: tuple[Trust, ...] = (
        Trust(0.0, 3.5, 0.7),
        Trust(75.0, 2.0, 0.7),
        Trust(300.0, 6.0, 0.65),
        Trust(450.0, 5.0, 0.6),
    )
    horizon_s: float = 7200.0
    critical_s: float = 900.0
    growing_s: float = 8 * 3600.0
    high_share: float = 0.85
    critical_share: float = 0.95
    least_share: float = 0.03
    noise_factor: float = 3.0
    fast_below_s: float = 300.0
    fewest_samples: int = 10
    longest_gap_s: float = 300.0


FROZEN = Thresholds()


@dataclass(frozen=True, slots=True)
class Trend:
    """A rise that counts: ``rate`` in bytes a second, seen for ``seen_s`` seconds up to now, from ``points`` floors.

    ``seconds`` are left until the total is used at that rate; ``bound_s`` were left when it was first seen.
    """

    seen_s: float
    points: int
    rate: float
    seconds: float
    bound_s: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """A verdict with its evidence: ``trend`` speaks for the soonest end, None when nothing rises, ``reason`` in words.

    ``is_fast`` tells that memory goes within minutes: the moment to look more often.
    """

    verdict: Verdict
    reason: str
    used: int
    total: int
    samples: int
    span_s: float
    trend: Trend | None = None
    is_fast: bool = False


NOTHING = Forecast(Verdict.UNKNOWN, "no samples", 0, 0, 0, 0.0)


def forecast(samples: Sequence[Sample], *, thresholds: Thresholds = FROZEN) -> Forecast:
    """Return the verdict on the last sample, as most of the last three assessments have it.

    ``samples`` are in the order in which they were taken, at any distance from one another.
    """
    ends = range(max(1, len(samples) - REMEMBERED + 1), len(samples) + 1)
    return settled([assess(samples[:end], thresholds) for end in ends])


def settled(recent: Sequence[Forecast]) -> Forecast:
    """Return the last of some consecutive assessments, or the middle one of the last three when they differ.

    Those that could not tell yet have no say: memory that is full by now is not made harmless by a lack of samples.
    """
    if not recent:
        return NOTHING
    last = recent[-1]
    if last.verdict is Verdict.UNKNOWN:
        return last
    told = [one for one in recent[-REMEMBERED:] if one.verdict is not Verdict.UNKNOWN]
    ranked = sorted(told, key=lambda one: _URGENCY[one.verdict])
    middle = ranked[len(ranked) // 2]
    return last if middle.verdict is last.verdict else middle


def assess(samples: Sequence[Sample], thresholds: Thresholds = FROZEN) -> Forecast:
    """Return the verdict on the last sample, from it and those before it."""
    life = current_life(samples, thresholds)
    if not life:
        return NOTHING
    last = life[-1]
    trends = _trends(life, thresholds)
    seconds = min((trend.seconds for trend in trends), default=float("inf"))
    verdict, reason = _judge(life, seconds, thresholds)
    # Of those that agree with the soonest end, the longest window is the best evidence.
    best = max((trend for trend in trends if trend.seconds <= 1.1 * seconds), key=_seen, default=None)
    is_fast = best is not None and best.seen_s < thresholds.fast_below_s
    span_s = last.time_s - life[0].time_s
    return Forecast(verdict, reason, last.used, last.total, len(life), span_s, best, is_fast)


def _seen(trend: Trend) -> float:
    return trend.seen_s


def _judge(life: Sequence[Sample], seconds: float, limit: Thresholds) -> tuple[Verdict, str]:
    share = life[-1].used / life[-1].total
    for verdict, most_share, most_s in (
        (Verdict.CRITICAL, limit.critical_share, limit.critical_s),
        (Verdict.LEAKING, limit.high_share, limit.horizon_s),
    ):
        if seconds <= most_s:
            return verdict, "is used up soon at the present rate"
        if share >= most_share:
            return verdict, f"{int(share * 100)} % are in use"
    if len(life) < limit.fewest_samples:
        return Verdict.UNKNOWN, f"too few samples ({len(life)})"
    if seconds <= limit.growing_s:
        return Verdict.GROWING, "rises slowly"
    return Verdict.OK, "does not rise"


def current_life(samples: Sequence[Sample], thresholds: Thresholds = FROZEN) -> Sequence[Sample]:
    """Return the samples that belong together with the last one.

    What comes before a clock that went back, a gap, another total, or a fall to where it all began, is another story.
    """
    begin = len(samples)
    if begin == 0 or not _is_sound(samples[-1]):
        return ()
    begin -= 1
    while begin > 0 and _follows(samples[begin - 1], samples[begin], thresholds.longest_gap_s):
        begin -= 1
    return _since_restart(samples[begin:])


def _is_sound(sample: Sample) -> bool:
    return 0 <= sample.available <= sample.total and sample.total > 0


def _follows(earlier: Sample, later: Sample, longest_s: float) -> bool:
    apart_s = later.time_s - earlier.time_s
    return 0 < apart_s <= longest_s and later.total == earlier.total and 0 <= earlier.available <= earlier.total


def _since_restart(life: Sequence[Sample]) -> Sequence[Sample]:
    """Cut off what came before the last fall to where it all began: whoever used it is gone."""
    floors = _floors_by_minute(life)
    total = life[-1].total
    restart, lowest = 0, floors[0][0]
    for number, (used, _) in enumerate(floors):
        before = max(floor for floor, _ in floors[max(restart, number - 3) : number + 1])
        if before - used > 0.1 * total and used < lowest + 0.05 * total:
            restart, lowest = number, used
        lowest = min(lowest, used)
    return life[floors[restart][1] :] if restart else life


def _floors_by_minute(life: Sequence[Sample]) -> list[tuple[int, int]]:
    """Return the least that was in use in each minute, with the place of that sample."""
    total, minute = life[-1].total, float("-inf")
    floors: list[tuple[int, int]] = []
    for index, sample in enumerate(life):
        used = total - sample.available
        if sample.time_s >= minute + 60:
            minute = sample.time_s // 60 * 60
            floors.append((used, index))
        elif used < floors[-1][0]:
            floors[-1] = (used, index)
    return floors


@dataclass(frozen=True, slots=True)
class _Course:
    """Samples of one life as two lists, bytes in use at a time in seconds."""

    times: list[float]
    used: list[int]
    total: int

    def floors(self, window_s: float) -> list[tuple[float, int, slice]]:
        """Return the lowest sample of each part of a window that has one, the oldest first, and where the part lies."""
        now, found = self.times[-1], []
        end = bisect_left(self.times, now - window_s)
        for part in range(PARTS - 1, -1, -1):
            begin, end = end, bisect_right(self.times, now - part * window_s / PARTS)
            if begin < end:
                lowest = min(self.used[begin:end])
                found.append((self.times[self.used.index(lowest, begin)], lowest, slice(begin, end)))
        return found


def _trends(life: Sequence[Sample], limit: Thresholds) -> list[Trend]:
    """Return the rises of all windows that have one."""
    total, now = life[-1].total, life[-1].time_s
    course = _Course([sample.time_s for sample in life], [total - sample.available for sample in life], total)
    lowest, begin, found = course.used[-1], len(life), []
    for window_s in limit.windows_s:
        if course.times[0] > now - window_s * (PARTS - 2) / PARTS:
            break
        begin, end = bisect_left(course.times, now - window_s), begin
        lowest = min(lowest, min(course.used[begin:end], default=lowest))
        # Without a rise there is no slope to look for: most windows of most guests end here.
        if course.used[-1] - lowest > limit.least_share / 2 * total:
            trend = _trend(course, window_s, limit)
            found += [trend] if trend else []
    return found


def _trend(course: _Course, window_s: float, limit: Thresholds) -> Trend | None:
    parts = course.floors(window_s)
    floors = [(time_s, used) for time_s, used, _ in parts]
    rate = _slope(floors)
    if len(floors) < FEWEST_PARTS or rate <= 0:
        return None
    now = course.times[-1]
    levels = [used + rate * (now - time_s) for time_s, used in floors]
    level = median(levels)
    spread = median(abs(one - level) for one in levels)
    rise = rate * (floors[-1][0] - floors[0][0])
    trust = [trust for trust in limit.trusts if window_s >= trust.from_s][-1]
    thirds = _thirds(floors, rise)
    if rise < max(limit.least_share * course.total, limit.noise_factor * spread) or min(thirds) < trust.evenness:
        return None
    # What slows down is not drawn on at the pace that it had.
    rate *= min(1.0, thirds[-1])
    # The garbage that piles up on the floor reaches the end first.
    pile = median(_top(course, part, rate) for _, _, part in parts) - level
    seconds = max(0.0, course.total - level - pile) / rate
    if seconds > trust.reach * window_s:
        return None
    seen_s = now - course.times[parts[0][2].start]
    return Trend(seen_s, len(floors), rate, seconds, seconds + seen_s)


def _top(course: _Course, part: slice, rate: float) -> float:
    """Return the highest sample of a part, as it would be now at that rate."""
    now = course.times[-1]
    return max(used + rate * (now - time_s) for time_s, used in zip(course.times[part], course.used[part], strict=True))


def median(values: Iterable[float]) -> float:
    """Return the middle one of some values. The standard library's would cost the watchdog megabytes of imports."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _slope(floors: Sequence[tuple[float, int]]) -> float:
    slopes = [
        (later - earlier) / (end - begin)
        for number, (begin, earlier) in enumerate(floors)
        for end, later in floors[number + 1 :]
    ]
    return median(slopes) if slopes else 0.0


def _thirds(floors: Sequence[tuple[float, int]], rise: float) -> list[float]:
    """Return what each third of a window has of its due: 1 on a straight line, 0 or less on a plateau."""
    marks = [floors[round(number * (len(floors) - 1) / 3)][1] for number in range(4)]
    return [(later - earlier) / (rise / 3) for earlier, later in pairwise(marks)]
