"""What one source says about memory, or about the pool: a word of the forecast, and a line of evidence. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from moltfleet.model import forecast
from moltfleet.model.figures import duration, part, rate
from moltfleet.model.health import Health, Trend
from moltfleet.model.steady import Level, is_steady

_RANK = {word: rank for rank, word in enumerate(("unknown", "ok", "growing", "leaking", "critical"))}


@dataclass(frozen=True, slots=True)
class Reading:
    """What one source says about memory: a word, why, and a line of evidence."""

    word: str
    reason: str
    line: str
    used: int
    total: int
    seconds: float | None
    rate: float | None


def urgency(reading: Reading) -> tuple[int, float]:
    """Return what the most urgent of several has most of."""
    seconds = float("inf") if reading.seconds is None else reading.seconds
    return _RANK[reading.word], -seconds


def read_course(told: Sequence[Level], limits: forecast.Thresholds, *, whose: str) -> Reading:
    """Judge a course by the forecast, or without it where it has nothing to say."""
    last = told[-1]
    if is_steady(told, limits):
        line = f"{whose}: {part(last.used, last.total)} in use, does not rise; {_seen(told)}"
        return Reading("ok", "does not rise", line, last.used, last.total, None, None)
    found = forecast.forecast([level.sample() for level in told], thresholds=limits)
    trend = found.trend
    if trend is None:
        line = f"{whose}: {part(last.used, last.total)} in use, {found.reason}; {_seen(told)}"
        return Reading(found.verdict.value, found.reason, line, last.used, last.total, None, None)
    line = (
        f"{whose}: {part(last.used, last.total)} in use, all of it in {duration(trend.seconds)} at {rate(trend.rate)};"
        f" slope of {trend.points} floors in {duration(trend.seen_s)},"
        f" no more than {duration(trend.bound_s)} of warning were possible"
    )
    reason = _in_time(found.reason, trend.seconds)
    return Reading(found.verdict.value, reason, line, last.used, last.total, trend.seconds, trend.rate)


def _seen(told: Sequence[Level]) -> str:
    if len(told) == 1:
        return "one sample"
    return f"{len(told)} samples of {duration(told[-1].time_s - told[0].time_s)}"


def _in_time(reason: str, seconds: float | None) -> str:
    return reason if seconds is None else f"used up in {duration(seconds)}"


def by_guest(health: Health | None, limits: forecast.Thresholds) -> Iterator[Reading]:
    """Read what the guest says about itself and each of its agents, by this host's horizon."""
    for trend in health.trends if health else ():
        if trend.verdict not in _RANK:
            # No word of ours: a guest may say anything.
            continue
        whose = f"agent {trend.name}" if trend.key else "guest"
        word, reason = _again(trend, limits), _in_time(trend.reason, trend.seconds)
        line = f"{whose}, by its own count: {word}, {reason}; {part(trend.used, trend.total)} in use"
        said = reason if not trend.key else f"agent {trend.name}: {reason}"
        yield Reading(word, said, line, trend.used, trend.total, trend.seconds, trend.rate)


def _again(trend: Trend, limits: forecast.Thresholds) -> str:
    """Judge a guest's forecast by the horizon that counts here: its own is what it was made with."""
    if trend.seconds is None or trend.verdict == "unknown":
        return trend.verdict
    share = trend.used / max(1, trend.total)
    by_share = "critical" if share >= limits.critical_share else "leaking" if share >= limits.high_share else ""
    for word, most_s in (("critical", limits.critical_s), ("leaking", limits.horizon_s), ("growing", limits.growing_s)):
        if trend.seconds <= most_s:
            return max(word, by_share or word, key=lambda one: _RANK[one])
    return by_share or "ok"
