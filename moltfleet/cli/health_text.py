"""Clones' health as text: a line for each, what is wrong with them, and where their memory is heading."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from moltfleet.cli.tables import figures_table
from moltfleet.model.figures import amount, duration, part, rate
from moltfleet.model.health import Health, Level, Trend
from moltfleet.model.names import printable

if TYPE_CHECKING:
    from moltfleet.model.results import HealthResult

_WIDTH = 80
_LABEL = 12
_HEADERS = ("CLONE", "HEALTH", "FORECAST", "FULL IN", "LEFT", "AGENTS", "WATCHDOG", "KILLS")
_NOTHING = "-"


def health_text(results: Sequence[HealthResult], *, trend: bool = False, errors: bool = False) -> str:
    """Return the table of clones, their trends when asked for, and a paragraph about each that has findings.

    With ``errors`` also why a clone could not be asked, which commands otherwise tell on standard error.
    """
    blocks = [figures_table(_HEADERS, [_row(result) for result in results])]
    for tell in (*([_trends] if trend else []), _findings, *([_error] if errors else [])):
        blocks += ["\n".join(lines) for result in results if (lines := tell(result))]
    return "\n\n".join(block for block in blocks if block)


def _row(result: HealthResult) -> tuple[str, ...]:
    health = result.health
    if health is None:
        return (result.clone, "unknown", result.verdict, *[_NOTHING] * (len(_HEADERS) - 3))
    memory = health.memory
    kills = str(health.kills.total + health.watchdog.kills)
    return (
        *(result.clone, health.level.value, result.verdict, _soonest(health)),
        *(part(memory.available, memory.total), amount(memory.agents), health.watchdog.state, kills),
    )


def _soonest(health: Health) -> str:
    ends = [trend.seconds for trend in health.trends if trend.seconds is not None]
    return duration(min(ends)) if ends else _NOTHING


def _trends(result: HealthResult) -> list[str]:
    """Return where a clone's memory is heading, and that of its agents, with the evidence."""
    trends = result.health.trends if result.health else ()
    lines = [line for trend in trends for line in _paragraph(trend.verdict, _evidence(trend))]
    return [result.clone, *lines] if lines else []


def _evidence(trend: Trend) -> Iterator[str]:
    whose = f"agent {trend.name}" if trend.key else "guest"
    seconds, speed, seen_s, bound_s = trend.seconds, trend.rate, trend.seen_s, trend.bound_s
    seen = f"{trend.samples} samples of {duration(trend.span_s)}"
    if seconds is None or speed is None or seen_s is None or bound_s is None:
        yield f"{whose}: {trend.reason}; {part(trend.used, trend.total)} in use, {seen}"
        return
    yield f"{whose}: used up in {duration(seconds)} at {rate(speed)}; {part(trend.used, trend.total)} in use"
    yield f"slope of {trend.points} floors in {duration(seen_s)}, {seen}"
    yield f"at that rate no more than {duration(bound_s)} of warning were possible"


def _findings(result: HealthResult) -> list[str]:
    """Return a clone's findings and what its guest could not see; nothing of one that has neither."""
    health = result.health
    if health is None:
        return []
    lines = [line for found in health.findings for line in _paragraph(found.level.value, (found.text, found.advice))]
    lines += _paragraph("not seen", health.unseen)
    return [result.clone, *lines] if lines else []


def _error(result: HealthResult) -> list[str]:
    """Return why a clone could not be asked."""
    if result.error is None:
        return []
    return [result.clone, *_paragraph(result.verdict, (result.error.brief, result.error.hint or ""))]


def _paragraph(label: str, texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for line in textwrap.wrap(printable(text, limit=600), _WIDTH - _LABEL):
            yield f"  {label:<9} {line}"
            label = ""


def has_worries(results: Iterable[HealthResult]) -> bool:
    """Whether any clone needs a look."""
    return any(result.level in (Level.WARN, Level.CRITICAL) for result in results)
