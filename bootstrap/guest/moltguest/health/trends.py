"""Where memory is heading: the forecast for the guest and for each agent, from what the watchdog has recorded."""

from __future__ import annotations

from moltguest.forecast import Forecast, Sample, Verdict, forecast
from moltguest.health.report import Agent, Trend
from moltguest.limits import Limits
from moltguest.samples import Load, Record, key_of, of_guest, of_load

# A moment older than that is no sample of now any more.
_CLOSEST_S = 0.5
_ORDER = {verdict.value: rank for rank, verdict in enumerate(Verdict)}


def read_trends(
    records: tuple[Record, ...], now: Record, limits: Limits, agents: tuple[Agent, ...]
) -> tuple[Trend, ...]:
    """Return the guest's trend, then those of agents that have one; ``now`` is this moment's record."""
    known = [record for record in records if record.time_s <= now.time_s]
    if not known or now.time_s - known[-1].time_s >= _CLOSEST_S:
        known.append(now)
    trends = [_trend("", "guest", of_guest(known, limits.available_term))]
    for agent in agents:
        key = key_of(agent.key)
        samples = of_load(known, key)
        # One that is not among the largest is not recorded.
        if len(samples) > 1:
            trends.append(_trend(key, agent.name, samples))
    return tuple(trends)


def record_of(now: float, available: int, total: int, agents: tuple[Agent, ...]) -> Record:
    """Return this moment as the watchdog would record it."""
    return Record(now, available, total, tuple(Load(key_of(agent.key), agent.used, agent.end) for agent in agents))


def worst(trends: tuple[Trend, ...]) -> Trend:
    """Return the most urgent one, the sooner end first."""
    return max(trends, key=lambda trend: (_ORDER[trend.verdict], -(trend.seconds or float("inf"))))


def _trend(key: str, name: str, samples: tuple[Sample, ...]) -> Trend:
    found: Forecast = forecast(samples)
    plain = Trend(
        key=key,
        name=name,
        verdict=found.verdict.value,
        reason=found.reason,
        used=found.used,
        total=found.total,
        samples=found.samples,
        span_s=round(found.span_s, 1),
    )
    rise = found.trend
    if rise is None:
        return plain
    return Trend(
        **{name: getattr(plain, name) for name in ("key", "name", "verdict", "reason", "used", "total", "samples")},
        span_s=plain.span_s,
        seconds=round(rise.seconds, 1),
        rate=round(rise.rate, 1),
        seen_s=round(rise.seen_s, 1),
        points=rise.points,
        bound_s=round(rise.bound_s, 1),
    )
