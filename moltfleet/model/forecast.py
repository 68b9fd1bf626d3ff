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

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from statistics import median

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
    """Return the last of some consecutive assessments, or the middle one of the last three when they differ."""
    if not recent:
        return NOTHING
    last = recent[-1]
    if last.verdict is Verdict.UNKNOWN:
        return last
    ranked = sorted(recent[-REMEMBERED:], key=lambda one: _URGENCY[one.verdict])
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
    while begin > 0 and _is_sound(samples[begin - 1]):
        if begin < len(samples) and not _follows(samples[begin - 1], samples[begin], thresholds):
            break
        begin -= 1
    return _since_restart(samples[begin:])


def _is_sound(sample: Sample) -> bool:
    return 0 <= sample.available <= sample.total and sample.total > 0


def _follows(earlier: Sample, later: Sample, limit: Thresholds) -> bool:
    return 0 < later.time_s - earlier.time_s <= limit.longest_gap_s and later.total == earlier.total


def _since_restart(life: Sequence[Sample]) -> Sequence[Sample]:
    """Cut off what came before the last fall to where it all began: whoever used it is gone."""
    lows: dict[int, int] = {}
    for index, sample in enumerate(life):
        minute = int(sample.time_s // 60)
        if minute not in lows or sample.used < life[lows[minute]].used:
            lows[minute] = index
    floors = [(life[index].used, index) for index in lows.values()]
    restart, lowest = 0, floors[0][0] if floors else 0
    for number, (used, _) in enumerate(floors):
        before = max(floor for floor, _ in floors[max(restart, number - 3) : number + 1])
        if before - used > 0.1 * life[-1].total and used < lowest + 0.05 * life[-1].total:
            restart, lowest = number, used
        lowest = min(lowest, used)
    return life[floors[restart][1] :] if restart else life


def _trends(life: Sequence[Sample], limit: Thresholds) -> list[Trend]:
    """Return the rises of all windows that have one."""
    last = life[-1]
    lowest, begin, found = last.used, len(life), []
    for window_s in limit.windows_s:
        if life[0].time_s > last.time_s - window_s * (PARTS - 2) / PARTS:
            break
        while begin > 0 and last.time_s - life[begin - 1].time_s <= window_s:
            begin -= 1
            lowest = min(lowest, life[begin].used)
        # Without a rise there is no slope to look for: most windows of most guests end here.
        if last.used - lowest > limit.least_share / 2 * last.total:
            trend = _trend(life[begin:], window_s, limit)
            found += [trend] if trend else []
    return found


def _trend(samples: Sequence[Sample], window_s: float, limit: Thresholds) -> Trend | None:
    now, total = samples[-1].time_s, samples[-1].total
    parts: dict[int, list[Sample]] = {}
    for sample in samples:
        parts.setdefault(min(PARTS - 1, int((now - sample.time_s) / window_s * PARTS)), []).append(sample)
    floors = [min(parts[part], key=lambda sample: sample.used) for part in sorted(parts, reverse=True)]
    rate = _slope(floors)
    if len(floors) < FEWEST_PARTS or rate <= 0:
        return None
    level = median(floor.used + rate * (now - floor.time_s) for floor in floors)
    spread = median(abs(floor.used + rate * (now - floor.time_s) - level) for floor in floors)
    rise = rate * (floors[-1].time_s - floors[0].time_s)
    trust = [trust for trust in limit.trusts if window_s >= trust.from_s][-1]
    thirds = _thirds(floors, rise)
    if rise < max(limit.least_share * total, limit.noise_factor * spread) or min(thirds) < trust.evenness:
        return None
    # What slows down is not drawn on at the pace that it had.
    rate *= min(1.0, thirds[-1])
    # The garbage that piles up on the floor reaches the end first.
    pile = median(max(sample.used + rate * (now - sample.time_s) for sample in part) for part in parts.values()) - level
    seconds = max(0.0, total - level - pile) / rate
    if seconds > trust.reach * window_s:
        return None
    seen_s = now - samples[0].time_s
    return Trend(seen_s, len(floors), rate, seconds, seconds + seen_s)


def _slope(floors: Sequence[Sample]) -> float:
    slopes = [
        (later.used - earlier.used) / (later.time_s - earlier.time_s)
        for number, earlier in enumerate(floors)
        for later in floors[number + 1 :]
    ]
    return median(slopes) if slopes else 0.0


def _thirds(floors: Sequence[Sample], rise: float) -> list[float]:
    """Return what each third of a window has of its due: 1 on a straight line, 0 or less on a plateau."""
    marks = [floors[round(number * (len(floors) - 1) / 3)].used for number in range(4)]
    return [(later - earlier) / (rise / 3) for earlier, later in pairwise(marks)]
