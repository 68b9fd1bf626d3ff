"""How the last night was: as its journal says, and as nobody holding its lock says."""

from __future__ import annotations

from moltfleet.model.nightly import LastNight, Outcome
from moltfleet.operations.fleet import Fleet

# Of no clone: names have no dot.
LOCK = "run.night"


def last_night(fleet: Fleet) -> LastNight | None:
    """Return how the last night was, None when there never was one; one that nobody works on was interrupted."""
    night = fleet.nights.latest()
    if night is None:
        return None
    outcome = night.outcome
    if outcome is Outcome.RUNNING and not fleet.locks.is_held(LOCK):
        outcome = Outcome.INTERRUPTED
    return LastNight(night.started_at, night.ended_at, outcome, fleet.nights.report_path(night))
