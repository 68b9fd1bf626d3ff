"""The nightly run: repair, survey, rescue and molt one after the other, warm anew what is stale, look again, report.

Killed anywhere, its journal tells the next night, and `list`, what had become of it; what a command did to a clone has
a journal of its own, which the first step finishes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moltfleet import __version__
from moltfleet.model import nightplan
from moltfleet.model.errors import Busy, MoltfleetError, NotFound
from moltfleet.model.events import Event, EventKind
from moltfleet.model.nightly import CloneNight, Night, Outcome, Scope, State, StepName
from moltfleet.model.nightreport import summary
from moltfleet.model.policy import Act, Decision
from moltfleet.model.records import CloneRecord
from moltfleet.operations import leaking, nightafter, nightclones, repair
from moltfleet.operations.deadlines import Deadline, timestamp
from moltfleet.operations.nightjournal import Journal, report_interrupted
from moltfleet.operations.nights import LOCK
from moltfleet.operations.notify import tell
from moltfleet.operations.parallel import pause
from moltfleet.operations.survey import survey

if TYPE_CHECKING:
    from moltfleet.model.domain import Domain
    from moltfleet.model.survey import CloneSurvey, SurveyResult
    from moltfleet.operations.fleet import Fleet

# So many failures one after the other are no matter of single clones any more.
_MOST_IN_A_ROW = 3
# Called with the night at its end.
Post = Callable[[Night], None]


@dataclass(frozen=True, slots=True)
class NightRequest:
    """What a night is to do: molt by ``scope``, ``most`` clones at most; warm stale ones; end after ``hours``."""

    scope: Scope
    hours: float
    most: int | None = None
    warms: bool = True


def plan_night(fleet: Fleet, request: NightRequest) -> tuple[str, ...]:
    """Say, a line each, what a night would do now; changes nothing."""
    found = survey(fleet, record=False)
    planned = nightplan.plan(found, _decide(fleet, found, request.scope), request.scope, most=request.most)
    lines = [f"{one.clone}: {_act_of(one)}, {one.before}: {one.why}" for one in planned]
    if request.warms:
        lines += [f"{name}: would be warmed anew: {why}" for name, why in nightclones.stale(fleet).items()]
    return tuple(lines)


def _act_of(one: CloneNight) -> str:
    return one.act if one.state is State.WAITING else str(Act.LEAVE)


def run_night(fleet: Fleet, request: NightRequest, *, post: Post | None = None) -> Night:
    """Do everything, and return what came of it; failures stand in it.

    Raises: Busy when a night is under way already, ToolFailed when no journal can be written.
    """
    with ExitStack() as held:
        _hold(fleet, held)
        interrupted = report_interrupted(fleet)
        journal = _begin(fleet, request, interrupted)
        started = fleet.clock.monotonic()
        try:
            _do_all(journal, request, _left_open(interrupted))
        except KeyboardInterrupt:
            journal.night = journal.night.interrupted(at=timestamp(fleet.clock))
            journal.close(Outcome.INTERRUPTED, seconds=fleet.clock.monotonic() - started)
            raise
        journal.close(_outcome(journal), seconds=fleet.clock.monotonic() - started)
    _call_out(fleet, journal.night, post)
    return journal.night


def _hold(fleet: Fleet, held: ExitStack) -> None:
    """Keep other nights out. Raises: Busy."""
    try:
        held.enter_context(fleet.locks.hold(LOCK, verb="nightly"))
    except Busy as error:
        raise Busy(error.brief, hint="How far it is: moltfleet nightly --report") from error


def _begin(fleet: Fleet, request: NightRequest, interrupted: Night | None) -> Journal:
    last = fleet.nights.latest()
    while last is not None and last.started_at == timestamp(fleet.clock):
        # A night is known by the second in which it begins.
        pause(fleet.clock, 1.0)
    night = Night(
        started_at=timestamp(fleet.clock),
        deadline_at=timestamp(fleet.clock, after_s=request.hours * 3600),
        scope=request.scope,
        version=__version__,
        continues=interrupted.started_at if interrupted else None,
    )
    journal = Journal(fleet, night, Deadline.after(fleet.clock, request.hours * 3600))
    journal.write(night)
    return journal


def _left_open(interrupted: Night | None) -> frozenset[str]:
    return frozenset(clone.clone for clone in interrupted.clones if clone.is_open) if interrupted else frozenset()


def _do_all(journal: Journal, request: NightRequest, first: Collection[str]) -> None:
    journal.step(StepName.REPAIR, lambda: _repair(journal))
    journal.step(StepName.SURVEY, lambda: _survey(journal, request, first))
    journal.step(StepName.MOLT, lambda: _work(journal))
    if request.warms:
        journal.step(StepName.WARM, lambda: nightclones.warm_stale(journal))
    else:
        journal.write(journal.night.with_step(replace(journal.night.step(StepName.WARM), state=State.LEFT)))
    # Short, bounded in time, and what makes the report true.
    journal.step(StepName.HEALTH, lambda: nightafter.look_again(journal), despite_deadline=True)
    journal.step(StepName.ORPHANS, lambda: nightafter.find_orphans(journal), despite_deadline=True)


def _outcome(journal: Journal) -> Outcome:
    if journal.night.failures:
        return Outcome.FAILED
    return Outcome.LATE if journal.was_late else Outcome.OK


def _call_out(fleet: Fleet, night: Night, post: Post | None) -> None:
    """Tell somebody when it did not go well; that nobody could be told fails nothing."""
    if night.outcome is Outcome.OK:
        return
    tell(fleet, Event(EventKind.NIGHT_FAILED, "; ".join((summary(night), *night.failures))))
    if post is not None:
        try:
            post(night)
        except MoltfleetError as error:
            fleet.progress.warn(f"Nobody was told: {error.brief}", hint=error.hint)


# The steps


def _repair(journal: Journal) -> str:
    """Finish or take back what interrupted commands left."""
    fleet, found, wrong = journal.fleet, 0, []
    repair.sweep(fleet)
    for domain in fleet.hypervisor.domains():
        if not _is_unfinished(domain):
            continue
        found += 1
        try:
            with fleet.locks.hold(domain.name, verb="repair"):
                repair.repair_clone(fleet, domain.name)
        except (Busy, NotFound):
            # Its command is still at work, or it was a deletion, which is done now.
            continue
        except MoltfleetError as error:
            wrong.append(f"{domain.name}: {error.brief}")
    if wrong:
        raise MoltfleetError("; ".join(wrong), hint="The same commands say more, by hand.")
    return f"finished what {found} clone{'' if found == 1 else 's'} had left open" if found else "nothing was left open"


def _is_unfinished(domain: Domain) -> bool:
    """Whether a clone has an act that was never ended, or volumes that were to be deleted after one."""
    record = domain.record
    return domain.is_clone and isinstance(record, CloneRecord) and (record.pending is not None or bool(record.trash))


def _survey(journal: Journal, request: NightRequest, first: Collection[str]) -> str:
    """Look at all clones and plan what is to be done; twice, when it is not known yet who is busy."""
    fleet = journal.fleet
    found = survey(fleet, record=True)
    if any(_may_be_busy(clone, request.scope) for clone in found.clones):
        busy_s = fleet.config.policy.rules().busy_s
        with fleet.progress.step("Watching whether agents work", timeout_s=busy_s):
            pause(fleet.clock, min(busy_s, journal.deadline.left_s))
        found = survey(fleet, record=True)
    decisions = _decide(fleet, found, request.scope)
    planned = nightplan.plan(found, decisions, request.scope, most=request.most, first=first)
    for note in found.notes:
        journal.note(note)
    journal.night = replace(journal.night, clones=planned, host_before=nightafter.host_state(fleet))
    waiting = sum(one.state is State.WAITING for one in planned)
    return f"{nightafter.counted(found)}; something is to be done with {waiting}"


def _may_be_busy(clone: CloneSurvey, scope: Scope) -> bool:
    """Whether a clone would be spared only because one look does not tell what its agents use."""
    counts = scope is Scope.ALL or (scope is Scope.LEAKING and clone.verdict.is_alarm)
    return counts and clone.is_busy is None and clone.answered


def _decide(fleet: Fleet, found: SurveyResult, scope: Scope) -> tuple[Decision, ...]:
    return leaking.decide(fleet, nightplan.as_if_leaking(found) if scope is Scope.ALL else found)


def _work(journal: Journal) -> str:
    """Do what was planned, one clone after the other, until the deadline or until everything fails."""
    waiting = [one for one in journal.night.clones if one.state is State.WAITING]
    in_a_row = 0
    for planned in waiting:
        why = "the deadline had passed" if journal.deadline.has_passed else ""
        if in_a_row >= _MOST_IN_A_ROW:
            why = f"{in_a_row} others failed one after the other"
        if why:
            journal.was_late = journal.was_late or journal.deadline.has_passed
            journal.write_clone(replace(planned, state=State.LEFT, why=f"{planned.why}; but {why}"))
            continue
        done = nightclones.work_on(journal, planned)
        in_a_row = in_a_row + 1 if done.state is State.FAILED else 0
    done_now = [journal.night.clone(one.clone) for one in waiting]
    good = sum(one is not None and one.state is State.DONE for one in done_now)
    return f"{good} of {len(waiting)} done" if waiting else "nothing was to be done"
