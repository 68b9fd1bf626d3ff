"""The policy: what is molted, paused, started, and above all what is left alone, each with its reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from moltfleet.model.domain import DomainState
from moltfleet.model.errors import InvalidInput
from moltfleet.model.policy import Act, Decision, Hours, Moment, Policy, decide
from moltfleet.model.records import Hold
from moltfleet.model.size import Size
from moltfleet.model.survey import CloneSurvey, PoolSurvey, SurveyResult
from moltfleet.model.verdict import Judgement, Verdict
from moltfleet.model.vitals import Reason

NOON = Moment(1_795_168_800.0, 12 * 60)
CALM = PoolSurvey(Size.of_gib(50), Size.of_gib(100), Judgement(Verdict.OK, "does not rise"))
FULL = replace(CALM, free=Size.of_gib(4), written=1 << 30)
HOLD = Hold("2026-11-20T18:00:00Z", "alice", "demo")


def a_clone(name: str = "crab-1", verdict: Verdict = Verdict.LEAKING, **changes: Any) -> CloneSurvey:
    seconds = changes.pop("seconds", 3000.0 if verdict.is_alarm else None)
    judgement = Judgement(verdict, "used up in 50 min", seconds=seconds)
    return replace(CloneSurvey(name, DomainState.RUNNING, judgement, answered=True), **changes)


def decided(*clones: CloneSurvey, pool: PoolSurvey = CALM, policy: Policy | None = None) -> tuple[Decision, ...]:
    return decide(SurveyResult("", clones, pool), policy or Policy(), NOON)


def one(clone: CloneSurvey, **more: Any) -> tuple[Act, str]:
    (decision,) = decided(clone, **more)
    return decision.act, decision.why


def test_what_leaks_is_molted_and_what_does_not_is_left() -> None:
    assert one(a_clone()) == (Act.MOLT, "used up in 50 min")
    for verdict in (Verdict.OK, Verdict.GROWING, Verdict.BUSY):
        assert one(a_clone(verdict=verdict))[0] is Act.LEAVE
    assert one(a_clone(verdict=Verdict.UNKNOWN))[0] is Act.REPORT


@pytest.mark.parametrize(
    ("changes", "objection"),
    [
        ({"is_busy": True, "busy_why": "a tmux client is attached"}, "it is busy: a tmux client is attached"),
        ({"is_busy": None, "busy_why": "it does not answer"}, "it is not known whether it is busy: it does not answer"),
        ({"hold": HOLD}, "alice holds it until 2026-11-20T18:00:00Z (demo)"),
    ],
)
def test_what_is_worked_on_or_held_is_spared_unless_it_is_critical(changes: dict[str, Any], objection: str) -> None:
    assert one(a_clone(**changes)) == (Act.LEAVE, f"used up in 50 min; but {objection}")
    act, why = one(a_clone(verdict=Verdict.CRITICAL, **changes))
    assert (act, why) == (Act.MOLT, f"used up in 50 min; critical, so although {objection}")


def test_quiet_hours_are_kept_unless_it_is_critical() -> None:
    quiet = Policy(quiet=(Hours.parse("09:00-12:30"),))
    assert one(a_clone(), policy=quiet) == (
        Act.LEAVE,
        "used up in 50 min; but these are quiet hours (09:00-12:30)",
    )
    assert one(a_clone(verdict=Verdict.CRITICAL), policy=quiet)[0] is Act.MOLT
    assert one(a_clone(), policy=Policy(quiet=(Hours.parse("12:30-09:00"),)))[0] is Act.MOLT


@pytest.mark.parametrize("verdict", [Verdict.LEAKING, Verdict.CRITICAL])
def test_nothing_is_molted_in_a_circle(verdict: Verdict) -> None:
    act, why = one(a_clone(verdict=verdict, molted_at=NOON.epoch - 600))
    assert (act, why) == (
        Act.LEAVE,
        "used up in 50 min; but it was molted 10 min ago, and cools down for 60 min",
    )
    assert one(a_clone(verdict=verdict, molted_at=NOON.epoch - 3601))[0] is Act.MOLT
    # A clock that was ahead does not protect a clone for ever.
    assert one(a_clone(verdict=verdict, molted_at=NOON.epoch + 86_400))[0] is Act.MOLT


def test_without_a_clean_point_a_leak_is_reported() -> None:
    assert one(a_clone(can_molt=False)) == (Act.REPORT, "used up in 50 min; it has no clean point to molt to")


def test_what_went_down_is_started_or_reported_as_the_policy_says() -> None:
    down = a_clone(verdict=Verdict.DOWN, state=DomainState.SHUT_OFF)
    assert one(down)[0] is Act.START
    assert one(down, policy=Policy(restart=False))[0] is Act.REPORT


def test_the_most_urgent_comes_first_and_what_keeps_others_alive_before_it() -> None:
    decisions = decided(
        a_clone("calm", Verdict.OK),
        a_clone("down", Verdict.DOWN),
        a_clone("later", seconds=5000.0),
        a_clone("sooner", seconds=1000.0),
        a_clone("last-minute", Verdict.CRITICAL, seconds=800.0),
        a_clone("writer", Verdict.OK, written=1 << 30, written_s=600.0),
        pool=FULL,
    )
    assert [(decision.clone, decision.act) for decision in decisions] == [
        ("writer", Act.PAUSE),
        ("last-minute", Act.MOLT),
        ("sooner", Act.MOLT),
        ("later", Act.MOLT),
        ("down", Act.START),
        ("calm", Act.LEAVE),
    ]


class TestAPoolThatIsNearlyFull:
    """The biggest grower is paused, one at a time, and only as long as something grows."""

    def test_pauses_the_one_that_wrote_most(self) -> None:
        little = a_clone("little", Verdict.OK, written=64 << 20, written_s=600.0)
        most = a_clone("most", Verdict.OK, written=2 << 30, written_s=600.0, is_busy=True)
        acts = {decision.clone: decision for decision in decided(little, most, pool=FULL)}
        assert (acts["most"].act, acts["little"].act) == (Act.PAUSE, Act.LEAVE)
        assert acts["most"].why.startswith(
            "wrote 2.0 GiB in the last 10 min, more than any other, and the pool has 4.0"
        )

    def test_pauses_nobody_while_there_is_room_or_nobody_grows(self) -> None:
        most = a_clone("most", Verdict.OK, written=2 << 30, written_s=600.0)
        assert one(most)[0] is Act.LEAVE
        assert one(replace(most, written=1 << 20), pool=FULL)[0] is Act.LEAVE
        assert one(replace(most, state=DomainState.PAUSED), pool=FULL)[0] is Act.LEAVE
        assert one(a_clone("most", Verdict.BUSY, written=2 << 30), pool=FULL)[0] is Act.LEAVE
        assert one(most, pool=replace(FULL, written=0))[0] is Act.LEAVE, "whoever filled it has been stopped"
        unmeasured = replace(FULL, free=None, size=None)
        assert one(most, pool=unmeasured)[0] is Act.LEAVE

    @pytest.mark.parametrize("how", [{"paused_for_pool": True}, {"why_not": Reason.IO_ERROR}])
    def test_lets_go_on_what_it_stopped_when_there_is_room_again(self, how: dict[str, Any]) -> None:
        paused = a_clone(verdict=Verdict.PAUSED, state=DomainState.PAUSED, **how)
        act, why = one(paused, pool=FULL)
        assert act is Act.REPORT and "the pool still has only 4 % free" in why
        # Not at once when a little room is there: it would be stopped again.
        assert one(paused, pool=replace(CALM, free=Size.of_gib(9)))[0] is Act.REPORT
        assert one(paused)[0] is Act.RESUME

    def test_leaves_what_a_person_paused_to_that_person(self) -> None:
        paused = a_clone(verdict=Verdict.PAUSED, state=DomainState.PAUSED, why_not=Reason.BY_HAND)
        assert one(paused)[0] is Act.REPORT


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [("09:00-17:30", "09:00", "17:30"), ("22:00-06:30", "23:59", "06:30"), ("22:00-06:30", "00:00", "21:59")],
)
def test_hours_may_go_past_midnight(text: str, inside: str, outside: str) -> None:
    hours = Hours.parse(text)
    assert minute(inside) in hours and minute(outside) not in hours
    assert str(hours) == text


def minute(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


@pytest.mark.parametrize("text", ["", "9-17", "24:00-01:00", "10:60-11:00", "22:00", "22:00-06:30-07:00"])
def test_hours_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Hours.parse(text)
