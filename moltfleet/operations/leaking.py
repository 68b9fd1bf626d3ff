"""What follows from a survey by the policy, and doing it: molt, pause, resume, start; each after a second look."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model import policy
from moltfleet.model.errors import MoltfleetError
from moltfleet.model.events import Event, EventKind
from moltfleet.model.policy import Act, Decision, Moment
from moltfleet.model.requests import MoltRequest, StartRequest
from moltfleet.model.results import ActResult
from moltfleet.operations import pausing, settling
from moltfleet.operations.molt import molt
from moltfleet.operations.notify import tell
from moltfleet.operations.start import start
from moltfleet.operations.survey import survey

if TYPE_CHECKING:
    from moltfleet.model.survey import SurveyResult
    from moltfleet.operations.fleet import Fleet

# As ``ActResult.outcome``: the second look found it well, or somebody at work.
SPARED = "spared"


def decide(fleet: Fleet, found: SurveyResult) -> tuple[Decision, ...]:
    """Decide about every clone of a survey; in order of urgency, those that are left alone last."""
    now = fleet.clock.now()
    local = datetime.datetime.fromtimestamp(now)
    return policy.decide(found, fleet.config.policy.rules(), Moment(now, local.hour * 60 + local.minute))


def explain(decisions: Sequence[Decision]) -> tuple[str, ...]:
    """Say each decision in a line."""
    return tuple(f"{decision.clone}: {decision.act}, {decision.verdict}: {decision.why}" for decision in decisions)


def perform(fleet: Fleet, decisions: Sequence[Decision], request: MoltRequest) -> tuple[ActResult, ...]:
    """Do what was decided, one after the other; a failure of one leaves the others.

    Each is surveyed again just before, as what was decided first may be minutes old by then: what has changed since is
    spared. But a pause comes first of all, and loses nothing. The layer of a guest that could not be asked is kept, as
    nobody could rescue its work: by the rescue itself where there is one, else here.
    """
    return tuple(_perform_one(fleet, decision, request) for decision in decisions if decision.changes)


def _perform_one(fleet: Fleet, decision: Decision, request: MoltRequest) -> ActResult:
    started = fleet.clock.monotonic()
    try:
        now = decision if decision.act is Act.PAUSE else _again(fleet, decision)
        if now is None or now.act is not decision.act:
            why = now.why if now else "it is gone"
            return ActResult(decision.clone, SPARED, why, fleet.clock.monotonic() - started)
        return _ACTS[decision.act](fleet, now, request)
    except MoltfleetError as error:
        return ActResult(decision.clone, "failed", error.brief, fleet.clock.monotonic() - started, error)


def _again(fleet: Fleet, decision: Decision) -> Decision | None:
    """Look at the clone again, and decide again."""
    decisions = decide(fleet, survey(fleet, record=True, patterns=(decision.clone,)))
    return next((one for one in decisions if one.clone == decision.clone), None)


def _molt(fleet: Fleet, decision: Decision, request: MoltRequest) -> ActResult:
    if not decision.answered and request.keep is None and not request.rescue:
        request = replace(request, keep="")
    (result,) = molt(fleet, [decision.clone], request)
    if result.error is None:
        tell(fleet, Event(EventKind.MOLTED, f"Clone {decision.clone!r} was molted: {decision.why}", decision.clone))
    else:
        text = f"Clone {decision.clone!r} was not molted although {decision.why}: {result.error.brief}"
        tell(fleet, Event(EventKind.MOLT_FAILED, text, decision.clone))
    kept = f"; kept as {result.kept}" if result.kept else ""
    return ActResult(
        decision.clone, result.outcome, f"{result.mode}, {decision.why}{kept}", result.seconds.total, result.error
    )  # fmt: skip


def _start(fleet: Fleet, decision: Decision, request: MoltRequest) -> ActResult:
    (result,) = start(fleet, [decision.clone], StartRequest(admission=request.admission))
    if result.outcome == "started":
        # After a reboot of the host all are down: the next one is started when this one's memory has settled.
        settling.settle(fleet, decision.clone)
    return replace(result, detail=result.detail or decision.why)


def _pause(fleet: Fleet, decision: Decision, _: MoltRequest) -> ActResult:
    started = fleet.clock.monotonic()
    pausing.pause(fleet, decision.clone, why=decision.why)
    return ActResult(decision.clone, "paused", decision.why, fleet.clock.monotonic() - started)


def _resume(fleet: Fleet, decision: Decision, _: MoltRequest) -> ActResult:
    started = fleet.clock.monotonic()
    pausing.resume(fleet, decision.clone)
    return ActResult(decision.clone, "resumed", decision.why, fleet.clock.monotonic() - started)


_ACTS = {Act.MOLT: _molt, Act.START: _start, Act.PAUSE: _pause, Act.RESUME: _resume}


def protect(fleet: Fleet, found: SurveyResult, *, dry_run: bool) -> tuple[ActResult, ...]:
    """Do of all that follows what cannot wait for a night: pause who fills the pool, let go on when there is room."""
    urgent = [decision for decision in decide(fleet, found) if decision.act in (Act.PAUSE, Act.RESUME)]
    if dry_run:
        for line in explain(urgent):
            fleet.progress.say(f"Would be done: {line}")
        return ()
    return perform(fleet, urgent, MoltRequest())
