"""Traces of a guest's memory, made up from a seed: leaks of every kind, and what only looks like one.

Rates and rhythms are those that people reported of coding agents: leaks of 10 to 630 MiB a minute, bursts of 95 to
220 MiB a second, garbage collectors that let 200 to 450 MiB pile up within 2 to 6 minutes. Families for training and
for the test have other figures, and some are only in the test: a rule has to do well on what it was not chosen by.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

LIMIT_MIB = 13000.0
# How often a guest at rest looks at its memory.
STEP_S = 5.0
NOISE_MIB = 15.0
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
BENIGN_S = 6 * HOUR_S

# MiB in use at a time in seconds.
Level = Callable[[float], float]
# A leak from its onset until somebody ends it, in seconds.
Leak = tuple[float, float]
NEVER = math.inf


@dataclass(frozen=True, slots=True)
class Trace:
    """What was in use, as (seconds, MiB), up to ``end_s``; ``exhausted_s`` is when the limit was reached, if it was."""

    family: str
    seed: int
    rows: tuple[tuple[float, float], ...]
    leaks: tuple[Leak, ...]
    end_s: float
    exhausted_s: float | None

    @property
    def longest_lead_s(self) -> float:
        """From the onset to the end: what no rule can exceed."""
        return 0.0 if self.exhausted_s is None else self.exhausted_s - self.leaks[0][0]


@dataclass(frozen=True, slots=True)
class Story:
    """What happens beside the garbage collector. ``amplitude`` multiplies its pile; ``lost`` is the share of samples
    that are missing, and ``gap`` a time without any."""

    level: Level
    leaks: tuple[Leak, ...] = ()
    length_s: float = BENIGN_S
    amplitude: float = 1.0
    lost: float = 0.0
    gap: tuple[float, float] = (0.0, 0.0)


Teller = Callable[[random.Random, float], Story]


def make(family: str, seed: int, *, step_s: float = STEP_S) -> Trace:
    """Return the trace of a family ("linear:60") and a seed; the same ones every time, on every machine."""
    kind, _, figure = family.partition(":")
    rng = random.Random(f"{family}/{seed}")
    base = rng.uniform(500, 1100)
    story = TELLERS[kind](rng, float(figure or 0))
    piles = garbage(rng, story.length_s)
    rows: list[tuple[float, float]] = []
    now, exhausted = rng.uniform(0, step_s), None
    while now < story.length_s:
        used = base + story.level(now) + story.amplitude * piles(now) + rng.gauss(0, NOISE_MIB)
        if used >= LIMIT_MIB:
            exhausted = now
            break
        if rng.random() >= story.lost and not story.gap[0] <= now < story.gap[1]:
            rows.append((now, max(used, 50.0)))
        now += step_s
    return Trace(family, seed, tuple(rows), story.leaks, min(now, story.length_s), exhausted)


def garbage(rng: random.Random, length_s: float) -> Level:
    """A collector's sawtooth in MiB."""
    height, period = rng.uniform(200, 450), rng.uniform(120, 360)
    starts, heights, now = [0.0], [height], 0.0
    while now < length_s:
        now += period * rng.uniform(0.7, 1.3)
        starts.append(now)
        heights.append(height * rng.uniform(0.7, 1.3))

    def level(when: float) -> float:
        index = min(bisect_right(starts, when) - 1, len(starts) - 2)
        share = (when - starts[index]) / (starts[index + 1] - starts[index])
        return heights[index] * min(share, 1.0)

    return level


def onset(rng: random.Random) -> float:
    """When a leak begins."""
    return rng.uniform(1200, 3600)


def linear(rng: random.Random, rate: float) -> Story:
    """A leak of ``rate`` MiB a minute until the end."""
    begin, slope = onset(rng), rate / 60
    return Story(lambda now: max(0.0, now - begin) * slope, ((begin, NEVER),), begin + LIMIT_MIB / slope + 60)


def burst(rng: random.Random, rate: float) -> Story:
    """A leak of ``rate`` MiB a second."""
    return linear(rng, rate * 60)


def steps(rng: random.Random, rate: float) -> Story:
    """A leak by leaps, at times that nobody foresees, of ``rate`` MiB a minute on average."""
    begin, size = onset(rng), rng.uniform(150, 700)
    length = begin + 2 * LIMIT_MIB / rate * 60
    times, sums, now = [], [0.0], begin
    while now < length:
        now += rng.expovariate(rate / 60 / size)
        times.append(now)
        sums.append(sums[-1] + size * rng.uniform(0.5, 1.5))
    return Story(lambda when: sums[bisect_right(times, when)], ((begin, NEVER),), length)


def heap(rng: random.Random, rate: float) -> Story:
    """A leak in a heap whose collector lets more pile up than most."""
    story = linear(rng, rate)
    return Story(story.level, story.leaks, story.length_s, amplitude=rng.uniform(1.8, 2.6))


def lossy(rng: random.Random, rate: float) -> Story:
    """A leak of which a third of the samples, and ten minutes at a stretch, are missing."""
    story = linear(rng, rate)
    hole = story.leaks[0][0] + rng.uniform(0.1, 0.4) * LIMIT_MIB / rate * 60
    return Story(story.level, story.leaks, story.length_s, lost=0.33, gap=(hole, hole + 600))


def busy(rng: random.Random, rate: float) -> Story:
    """A leak below builds that come and go."""
    story, work = linear(rng, rate), builds(rng, 240)
    return Story(lambda now: story.level(now) + 0.6 * work.level(now % BENIGN_S), story.leaks, story.length_s)


def pair(rng: random.Random, rate: float) -> Story:
    """Two agents, one of which leaks, while the other one is started anew now and then."""
    story, other = linear(rng, rate), restarts(rng, 40)
    return Story(lambda now: story.level(now) + 0.3 * other.level(now % BENIGN_S), story.leaks, story.length_s)


def idle(rng: random.Random, _: float) -> Story:
    """Nothing happens."""
    return Story(lambda now: 0.0, amplitude=0.1)


def collector(rng: random.Random, factor: float) -> Story:
    """Nothing but a collector with large piles."""
    return Story(lambda now: 0.0, amplitude=factor * rng.uniform(0.8, 1.2))


def cache(rng: random.Random, largest: float) -> Story:
    """Something fills up and is then full."""
    begin, size, pace = onset(rng), rng.uniform(0.3, 1.0) * largest, rng.uniform(600, 3600)
    return Story(lambda now: size * (1 - math.exp(-max(0.0, now - begin) / pace)))


def builds(rng: random.Random, slowest: float) -> Story:
    """Builds: up within ``slowest`` seconds or less, a plateau, and down."""
    events, now = [], rng.uniform(300, 1500)
    while now < BENIGN_S:
        rise, flat, fall = rng.uniform(20, slowest), rng.uniform(60, 900), rng.uniform(10, 60)
        events.append((now, rise, flat, fall, min(4500.0, 1500 * rng.lognormvariate(0, 0.5))))
        now += rise + flat + fall + rng.expovariate(1 / 900)
    starts = [event[0] for event in events]

    def level(when: float) -> float:
        index = bisect_right(starts, when) - 1
        if index < 0:
            return 0.0
        start, rise, flat, fall, peak = events[index]
        age = when - start
        shape = min(age / rise, 1.0, max(0.0, 1 - (age - rise - flat) / fall))
        return peak * shape * (0.9 + 0.1 * math.sin(when / 7) * math.sin(when / 31))

    return Story(level)


def jobs(rng: random.Random, _: float) -> Story:
    """Builds as they look from near: a few compilers at a time, each with its own rise and end, and a linker last."""
    pieces = sorted(_jobs(rng))
    starts = [piece[0] for piece in pieces]

    def level(when: float) -> float:
        first, last = bisect_right(starts, when - 300), bisect_right(starts, when)
        running = [(when - start, long, peak) for start, long, peak in pieces[first:last] if when < start + long]
        return sum(peak * min(1.0, 1.4 * age / long) for age, long, peak in running)

    return Story(level)


def _jobs(rng: random.Random) -> Iterator[tuple[float, float, float]]:
    now = rng.uniform(300, 1500)
    while now < BENIGN_S:
        length = rng.uniform(60, 900)
        for _ in range(rng.randint(2, 6)):
            at = now + rng.uniform(0, 10)
            while at < now + length:
                long = rng.uniform(4, 60)
                yield at, long, 350 * rng.lognormvariate(0, 0.6)
                at += long
        long = rng.uniform(15, 90)
        yield now + length, long, min(4500.0, 1500 * rng.lognormvariate(0, 0.5))
        now += length + long + rng.expovariate(1 / 900)


def arrivals(rng: random.Random, most: float) -> Story:
    """Agents that are started one after the other, and stay as they are."""
    begin, within = onset(rng), rng.uniform(60, 3600)
    agents = [(begin + rng.uniform(0, within), rng.uniform(150, 600)) for _ in range(rng.randint(3, int(most)))]
    return Story(lambda now: sum(size * min(1.0, max(0.0, now - at) / 20) for at, size in agents))


def restarts(rng: random.Random, rate: float) -> Story:
    """A leak whose agent is started anew, long before the end, again and again."""
    lives, now = [], onset(rng)
    while now < BENIGN_S:
        length = rng.uniform(0.1, 0.5) * LIMIT_MIB / rate * 60
        lives.append((now, now + length))
        now += length + rng.uniform(5, 120)
    starts = [begin for begin, _ in lives]

    def level(when: float) -> float:
        index = bisect_right(starts, when) - 1
        begin, end = lives[index] if index >= 0 else (NEVER, NEVER)
        return (when - begin) * rate / 60 if begin <= when < end else 0.0

    return Story(level, tuple(lives))


TELLERS: dict[str, Teller] = {
    "linear": linear,
    "burst": burst,
    "steps": steps,
    "heap": heap,
    "lossy": lossy,
    "busy": busy,
    "pair": pair,
    "idle": idle,
    "collector": collector,
    "cache": cache,
    "builds": builds,
    "jobs": jobs,
    "arrivals": arrivals,
    "restarts": restarts,
}

TRAINING = (
    *("linear:15", "linear:45", "linear:90", "linear:200", "linear:450", "burst:80", "burst:130", "burst:190"),
    *("steps:80", "steps:250", "heap:150"),
    *("idle", "collector:1", "cache:4000", "builds:240", "arrivals:6", "restarts:200"),
)
TEST = (
    *("linear:10", "linear:30", "linear:60", "linear:120", "linear:300", "linear:630"),
    *("burst:95", "burst:157", "burst:220", "steps:60", "steps:200", "heap:90", "lossy:120", "busy:60", "pair:100"),
    *("idle", "collector:2", "cache:5000", "builds:300", "jobs", "arrivals:8", "restarts:300"),
)
