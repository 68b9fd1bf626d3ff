"""What a night does with one clone: a second look, then rescue and molt, or what else was decided; warms stale ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model import nightplan
from moltfleet.model.errors import MoltfleetError, NotFound
from moltfleet.model.events import Event, EventKind
from moltfleet.model.nightly import UNDER_WAY, CloneNight, Scope, State
from moltfleet.model.policy import Act, Decision
from moltfleet.model.records import CleanPoint, CloneRecord
from moltfleet.model.requests import MoltRequest
from moltfleet.model.verdict import Verdict
from moltfleet.operations import leaking, molting, rescue
from moltfleet.operations.molt import molt
from moltfleet.operations.notify import tell
from moltfleet.operations.survey import survey
from moltfleet.operations.warm import warm

if TYPE_CHECKING:
    from moltfleet.model.results import MoltResult
    from moltfleet.operations.fleet import Fleet
    from moltfleet.operations.nightjournal import Journal

_REASON = "nightly"


def work_on(journal: Journal, planned: CloneNight) -> CloneNight:
    """Do what was planned with a clone, if that still holds; returns it as it was written down."""
    fleet, started = journal.fleet, journal.fleet.clock.monotonic()
    stage = "rescue and molt" if planned.act == Act.MOLT else planned.act
    begun = replace(planned, state=State.RUNNING, stage=stage)
    journal.write_clone(begun)
    try:
        done = _act(fleet, begun, journal.night.scope)
    except MoltfleetError as error:
        done = replace(begun, state=State.FAILED, error=error.brief)
    done = replace(done, seconds=fleet.clock.monotonic() - started)
    journal.write_clone(done)
    return done


def _act(fleet: Fleet, begun: CloneNight, scope: Scope) -> CloneNight:
    if begun.act != Act.MOLT:
        return _perform(fleet, begun)
    decision = _decide_again(fleet, begun.clone, scope)
    if decision is None or decision.act is not Act.MOLT:
        return _spared(begun, decision.why if decision else "it is gone")
    return _molt(fleet, begun, decision)


def _perform(fleet: Fleet, begun: CloneNight) -> CloneNight:
    """Start, resume or pause it, which takes a second look by itself."""
    decision = Decision(begun.clone, Act(begun.act), Verdict(begun.before), begun.why)
    (result,) = leaking.perform(fleet, (decision,), MoltRequest())
    if result.error is not None:
        return replace(begun, state=State.FAILED, error=result.error.brief)
    if result.outcome == leaking.SPARED:
        return _spared(begun, result.detail)
    return replace(begun, state=State.DONE, why=result.detail or begun.why)


def _spared(begun: CloneNight, why: str) -> CloneNight:
    return replace(begun, state=State.LEFT, stage="", why=f"a second look spared it: {why}")


def _decide_again(fleet: Fleet, name: str, scope: Scope) -> Decision | None:
    """What was decided first may be an hour old: somebody may have begun to work there, or deleted it."""
    try:
        found = survey(fleet, record=True, patterns=(name,))
    except NotFound:
        return None
    if scope is Scope.ALL:
        found = nightplan.as_if_leaking(found)
    return next((one for one in leaking.decide(fleet, found) if one.clone == name), None)


def _molt(fleet: Fleet, begun: CloneNight, decision: Decision) -> CloneNight:
    (result,) = molt(fleet, [begun.clone], MoltRequest(rescue=True))
    kind = EventKind.MOLTED if result.error is None else EventKind.MOLT_FAILED
    said = f": {result.error.brief}" if result.error else ""
    text = f"Clone {begun.clone!r} was {'not ' if said else ''}molted this night ({decision.why}){said}"
    tell(fleet, Event(kind, text, begun.clone))
    return _with_result(replace(begun, why=decision.why), result)


def _with_result(begun: CloneNight, result: MoltResult) -> CloneNight:
    rescued = result.rescue
    return replace(
        begun,
        state=State.FAILED if result.error else State.DONE,
        mode="" if result.error else result.mode,
        kept=result.kept,
        rescue=str(rescued.outcome) if rescued else "",
        directory=str(rescued.directory) if rescued and rescued.directory else None,
        details=rescued.details if rescued else (),
        error=result.error.brief if result.error else "",
    )


# Warm anew


def stale(fleet: Fleet) -> dict[str, str]:
    """Running clones that have RAM to restore which is of no use any more, and why it is not."""
    points: Mapping[str, CleanPoint] = {
        domain.name: domain.record.clean
        for domain in fleet.hypervisor.domains()
        if isinstance(domain.record, CloneRecord)
        and not domain.record.probe
        and domain.is_active
        and domain.record.clean is not None
        and domain.record.clean.ram is not None
    }
    reasons = {name: molting.cold_reason(fleet, name, point) for name, point in sorted(points.items())}
    return {name: why for name, why in reasons.items() if why}


def warm_stale(journal: Journal) -> str:
    """Make the RAM of stale clones anew, one at a time; nobody who works in one is disturbed, and no work is lost."""
    waiting, warmed, wrong = stale(journal.fleet), [], []
    for name in waiting:
        if journal.deadline.has_passed:
            journal.was_late = True
            journal.note(f"{name} stays without RAM to restore: the deadline had passed")
            continue
        objection = _objection(journal, name)
        if objection:
            journal.note(f"{name} stays without RAM to restore: {objection}")
            continue
        _note_warmed(journal, name, UNDER_WAY)
        (result,) = warm(journal.fleet, [name], from_now=False)
        _note_warmed(journal, name, result.outcome)
        if result.error is None:
            warmed.append(name)
        else:
            wrong.append(f"{name}: {result.error.brief}")
    if wrong:
        raise MoltfleetError("; ".join(wrong))
    return f"{len(warmed)} of {len(waiting)} stale ones made anew" if waiting else "none is stale"


def _note_warmed(journal: Journal, name: str, outcome: str) -> None:
    clone = journal.night.clone(name) or CloneNight(name, str(Act.LEAVE), "its RAM was stale", "", State.LEFT)
    journal.write_clone(replace(clone, warmed=outcome))


def _objection(journal: Journal, name: str) -> str:
    """Say why a clone is not to be booted anew now; rescues its work where nothing else stands against it."""
    tonight = journal.night.clone(name)
    if tonight is not None and tonight.state is State.DONE and tonight.act == Act.MOLT:
        # Nobody has had it since.
        return ""
    decision = _decide_again(journal.fleet, name, Scope.ALL)
    if decision is None or decision.act is not Act.MOLT:
        return decision.why if decision else "it is gone"
    result = rescue.rescue(journal.fleet, name, reason=_REASON)
    if result.directory is not None:
        journal.note(f"Work of {name} is in {result.directory}")
    if result.is_safe:
        return ""
    return f"its work could not be rescued ({result.outcome}): {result.error.brief if result.error else ''}"
