"""How the last night was: as its journal says, and as nobody holding its lock says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.events import Event, EventKind
from moltfleet.model.nightly import LastNight, Night, Outcome
from moltfleet.operations.deadlines import hours_since
from moltfleet.operations.notify import tell

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet

# Of no clone: names have no dot.
LOCK = "run.night"
# As the alert on metrics has it (docs/monitoring/moltfleet.rules.yaml).
MISSED_AFTER_HOURS = 26.0


def tell_if_missed(fleet: Fleet) -> None:
    """Call out, once, when no night has begun for longer than a day; a fleet that never had one misses none."""
    night = latest_night(fleet)
    if night is None or hours_since(fleet.clock, night.started_at) < MISSED_AFTER_HOURS:
        return
    if fleet.nights.mark_missed(night):
        text = f"No night has begun since {night.started_at}"
        fleet.progress.warn(text, hint="moltfleet schedule show says when the next one is due.")
        tell(fleet, Event(EventKind.NIGHT_MISSED, text))


def latest_night(fleet: Fleet) -> Night | None:
    """Return the night that began last, None when there never was one; one that nobody works on was interrupted."""
    night = fleet.nights.latest()
    if night is None or night.outcome is not Outcome.RUNNING or fleet.locks.is_held(LOCK):
        return night
    return replace(night.interrupted(at=""), ended_at=None)


def last_night(fleet: Fleet) -> LastNight | None:
    """Return how the last night was, in short; None when there never was one."""
    night = latest_night(fleet)
    if night is None:
        return None
    return LastNight(night.started_at, night.ended_at, night.outcome, fleet.nights.report_path(night))
