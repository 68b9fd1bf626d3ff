"""Findings about the guest's memory: little is left, it is going, or everything waits for it."""

from __future__ import annotations

from collections.abc import Iterator

from moltguest.health.facts import Facts
from moltguest.health.figures import amount, duration, percent, rate
from moltguest.health.report import Finding, Level, Trend

LOW = 0.15
# Percent of the time in which nothing at all gets on.
THRASHING = 10.0
_SWAP_IN_USE = 0.1


def memory_findings(facts: Facts) -> Iterator[Finding]:
    """Return what there is to say, the present before the future."""
    yield from _low(facts)
    for trend in facts.trends:
        if trend.verdict in ("leaking", "critical"):
            yield _growing(trend)
    yield from _waiting(facts)


def _low(facts: Facts) -> Iterator[Finding]:
    left, total = facts.memory.available, facts.memory.total
    if left > LOW * total:
        return
    level = Level.CRITICAL if left <= facts.limits.available_term else Level.WARN
    if facts.agents and 2 * facts.memory.agents >= total - left:
        largest = facts.agents[0]
        advice = f"Molt, or end agent {largest.name} ({amount(largest.used)}): memory that leaked does not come back."
    else:
        advice = "It is not agents that use it. See what does: ps -eo rss,comm --sort=-rss | head"
    yield Finding("memory-low", level, f"Only {amount(left)} of {amount(total)} of memory are available", advice)


def _growing(trend: Trend) -> Finding:
    who = f"Agent {trend.name}" if trend.key else "The guest"
    if trend.seconds is None or trend.rate is None:
        text = f"{who} uses {percent(trend.used / trend.total)} of what it may"
    else:
        text = f"{who} takes {rate(trend.rate)} more: all is used up in {duration(trend.seconds)}"
    level = Level.CRITICAL if trend.verdict == "critical" else Level.WARN
    return Finding("memory-grows", level, text, "Save the work and molt, before something has to be ended.")


def _waiting(facts: Facts) -> Iterator[Finding]:
    pressure, memory = facts.pressure, facts.memory
    if pressure is None or pressure.full_avg10 < THRASHING:
        return
    share = percent(pressure.full_avg10 / 100)
    if memory.swap_used > _SWAP_IN_USE * memory.swap_total > 0:
        text, advice = (
            f"Everything waits for swap {share} of the time",
            "End the largest program now: swapping feeds itself.",
        )
        yield Finding("swap-thrash", Level.CRITICAL, text, advice)
    else:
        text, advice = (
            f"Everything waits for memory {share} of the time",
            "Molt, or end the largest agent: it is at its limit.",
        )
        yield Finding("memory-pressure", Level.WARN, text, advice)
