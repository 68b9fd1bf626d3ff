"""How the last night was, as the doctor tells it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from moltfleet.model.doctor import Area, Finding
from moltfleet.model.nightly import Night, Outcome
from moltfleet.operations import nights
from moltfleet.operations.deadlines import find_epoch

if TYPE_CHECKING:
    from moltfleet.operations.doctor_scene import Scene

_WHY = "What a night does not do is left to be done by hand: molts, rescues, saved RAM that no longer fits."
_BAD = {
    Outcome.FAILED: "failed",
    Outcome.LATE: "reached its deadline before its end",
    Outcome.INTERRUPTED: "was interrupted",
}


def examine(scene: Scene) -> Iterator[Finding]:
    """Look at the last night; a fleet that never had one misses none."""
    night = nights.latest_night(scene.fleet)
    if night is None:
        return
    began = find_epoch(night.started_at)
    hours = 0.0 if began is None else (scene.fleet.clock.now() - began) / 3600
    if hours >= nights.MISSED_AFTER_HOURS:
        fact = f"none has begun since {night.started_at}"
        yield _finding(fact, "moltfleet schedule show says when the next one is due, and what stands in its way.")
    elif night.outcome in _BAD:
        yield _finding(f"that of {night.started_at} {_BAD[night.outcome]}{_first(night)}", _fix(scene, night))


def _first(night: Night) -> str:
    return f": {night.failures[0]}" if night.failures else ""


def _fix(scene: Scene, night: Night) -> str:
    report = scene.fleet.nights.report_path(night)
    return (f"Read {report}; " if report else "") + "moltfleet nightly takes up what was left."


def _finding(fact: str, fix: str) -> Finding:
    return Finding("night", Area.FLEET, "night", fact, _WHY, fix)
