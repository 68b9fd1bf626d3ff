"""Rules that say when to worry: ours, and those it is compared with. Each hears a trace as it would have come in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from moltfleet.model.forecast import FROZEN, MIB, Forecast, Sample, Thresholds, assess, settled
from moltguest.samples import KEPT_S, is_due
from replay.traces import LIMIT_MIB, Trace

# Each moment a rule was asked at, and whether it raised the alarm.
Alarms = Iterator[tuple[float, bool]]
Rule = Callable[[Trace], Alarms]

TOTAL = int(LIMIT_MIB * MIB)
# The rules of old are asked every 30 s, as they were written for.
PACE_S = 30.0


def ours(thresholds: Thresholds = FROZEN, *, least_s: float = 0.0) -> Rule:
    """The forecast, asked at every sample that a guest would have kept; ``least_s`` apart, for a quick look."""

    def hear(trace: Trace) -> Alarms:
        kept: list[Sample] = []
        recent: deque[Forecast] = deque(maxlen=3)
        for now, used in trace.rows:
            sample = Sample(now, TOTAL - int(used * MIB), TOTAL)
            if not is_due(kept[-1] if kept else None, sample) or (kept and now - kept[-1].time_s < least_s):
                continue
            kept.append(sample)
            if kept[0].time_s < now - 2 * KEPT_S:
                kept = [one for one in kept if one.time_s >= now - KEPT_S]
            recent.append(assess(kept, thresholds))
            yield now, settled(tuple(recent)).verdict.is_alarm

    return hear


def two_point(trace: Trace) -> Alarms:
    """The last of 60 rows less the first, as growth of half an hour: more than 2000 MB, and 12000 within 120 min."""
    rows: deque[int] = deque(maxlen=60)
    for now, used in _paced(trace):
        rows.append(int(used))
        growth = rows[-1] - rows[0]
        yield now, growth > 2000 and (12000 - rows[-1]) * 30 // growth < 120


def threshold(trace: Trace) -> Alarms:
    """More than 8000 MB in use."""
    for now, used in _paced(trace):
        yield now, used > 8000


def least_squares(trace: Trace) -> Alarms:
    """A straight line through half an hour, that reaches the limit within 120 min."""
    rows: deque[tuple[float, float]] = deque(maxlen=60)
    for now, used in _paced(trace):
        rows.append((now, used))
        middle = sum(when for when, _ in rows) / len(rows)
        mean = sum(level for _, level in rows) / len(rows)
        spread = sum((when - middle) ** 2 for when, _ in rows)
        rate = sum((when - middle) * (level - mean) for when, level in rows) / spread if spread else 0.0
        yield now, len(rows) >= 10 and rate > 0 and (LIMIT_MIB - used) / rate < 7200


def _paced(trace: Trace) -> Iterator[tuple[float, float]]:
    due = 0.0
    for now, used in trace.rows:
        if now >= due:
            due = now + PACE_S - 1e-6
            yield now, used
