"""What a night is to do with each clone: what the policy says, for all idle ones or for those that leak. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from moltfleet.model.nightly import CloneNight, Scope, State
from moltfleet.model.policy import Act, Decision
from moltfleet.model.survey import CloneSurvey, SurveyResult
from moltfleet.model.verdict import Judgement, Verdict

_WELL = (Verdict.OK, Verdict.GROWING)
_ALL = "this night molts every clone that nobody works in"


def as_if_leaking(found: SurveyResult) -> SurveyResult:
    """Return a survey in which every running clone that is well leaks, so that one policy decides about all."""
    return replace(found, clones=tuple(_as_if_leaking(clone) for clone in found.clones))


def _as_if_leaking(clone: CloneSurvey) -> CloneSurvey:
    if clone.verdict not in _WELL or not clone.is_running or not clone.can_molt:
        return clone
    return replace(clone, judgement=Judgement(Verdict.LEAKING, _ALL))


def plan(
    found: SurveyResult, decisions: Sequence[Decision], scope: Scope, *, most: int | None, first: Collection[str] = ()
) -> tuple[CloneNight, ...]:
    """Return every clone with what is to be done, in the order in which it is; of the molts at most ``most``.

    ``first`` are those that an interrupted night had still before it: they come before others of their urgency.
    """
    verdicts = {clone.clone: clone.verdict for clone in found.clones}
    planned = [_planned(decision, verdicts[decision.clone], scope) for decision in decisions]
    planned.sort(key=lambda one: (one.state is not State.WAITING, _rank(one), one.clone not in first))
    molts = [one.clone for one in planned if one.state is State.WAITING and one.act == Act.MOLT]
    late = set(molts) if most == 0 else set(molts[most:]) if most is not None else set()
    return tuple(_too_many(one, most) if one.clone in late else one for one in planned)


def _planned(decision: Decision, verdict: Verdict, scope: Scope) -> CloneNight:
    is_spared = scope is Scope.NONE and decision.act is Act.MOLT
    why = f"{decision.why}; but this night molts none" if is_spared else decision.why
    state = State.WAITING if decision.changes and not is_spared else State.LEFT
    return CloneNight(decision.clone, str(decision.act), why, str(verdict), state)


def _rank(one: CloneNight) -> tuple[int, bool]:
    return list(Act).index(Act(one.act)), one.before != Verdict.CRITICAL


def _too_many(one: CloneNight, most: int | None) -> CloneNight:
    return replace(one, state=State.LEFT, why=f"{one.why}; but this night molts at most {most}")
