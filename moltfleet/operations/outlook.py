"""Ask running clones where their memory is heading: the forecasts of their health checks, for the report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from moltfleet.model.forecast import Verdict
from moltfleet.model.outlook import Forecast, Outlook
from moltfleet.model.size import Size
from moltfleet.operations.health import check_health

if TYPE_CHECKING:
    from moltfleet.model.health import Health
    from moltfleet.operations.fleet import Fleet

_GROWS = frozenset((Verdict.GROWING, Verdict.LEAKING, Verdict.CRITICAL))


def ask(fleet: Fleet, names: Iterable[str]) -> Outlook:
    """Ask the named clones, side by side; one that cannot be asked is among the silent."""
    asked = sorted(names)
    if not asked:
        return Outlook()
    with fleet.progress.step("Asking clones where their memory is heading"):
        results = check_health(fleet, asked)
    healths = {result.clone: result.health for result in results if result.health}
    found = [forecast for name, health in healths.items() for forecast in _growing(name, health)]
    growing = {forecast.clone for forecast in found}
    steady = {name for name, health in healths.items() if health.verdict == Verdict.OK} - growing
    return Outlook(
        forecasts=tuple(sorted(found, key=_urgency)),
        steady=tuple(sorted(steady)),
        silent=tuple(name for name in asked if name not in growing | steady),
    )


def _growing(name: str, health: Health) -> Iterator[Forecast]:
    for trend in health.trends:
        if trend.verdict in {verdict.value for verdict in _GROWS}:
            agent, verdict = trend.name if trend.key else "", Verdict(trend.verdict)
            yield Forecast(name, agent, verdict, Size(trend.used), Size(trend.total), trend.seconds)


def _urgency(forecast: Forecast) -> tuple[float, str, str]:
    return (math.inf if forecast.seconds is None else forecast.seconds, forecast.clone, forecast.agent)
