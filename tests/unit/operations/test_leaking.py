"""What follows from a survey, done: who is molted, who is spared at the second look, who is paused and goes on."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from fakes import Killed, Process, World, a_world, ok
from fakes.health import a_health
from fakes.leaking import PROGRAM, answers, surveyed_for, tells
from moltfleet.model.domain import DomainState
from moltfleet.model.events import EventKind
from moltfleet.model.policy import Act, Decision
from moltfleet.model.records import Hold
from moltfleet.model.requests import MoltRequest
from moltfleet.model.size import Size
from moltfleet.model.survey import Ask
from moltfleet.model.vitals import Reason
from moltfleet.operations.leaking import SPARED, decide, explain, perform, protect
from moltfleet.operations.start import start
from moltfleet.operations.survey import survey

# Nobody is attached, and no agent runs.
DESERTED = replace(a_health(), sessions=(), agents=())


@pytest.fixture
def leaky(world: World) -> World:
    """Two clones that leaked for 40 minutes, and one that did not; nobody works in any."""
    for name in ("slow", "fast", "rests"):
        world.add_clone(name)
        answers(world, name, DESERTED)

    def used(name: str, minute: int) -> float | None:
        return {"slow": 2 + minute * 0.1, "fast": 2 + minute * 0.2, "rests": 1.0}.get(name)

    surveyed_for(world, 40, used)
    for name in ("slow", "fast", "rests"):
        tells(world, name, used=used(name, 40) or 0.0)
    return world


def decided(world: World) -> tuple[Decision, ...]:
    return decide(world.fleet, survey(world.fleet, record=True))


def test_what_leaks_is_molted_in_order_of_urgency_and_the_rest_is_left(leaky: World) -> None:
    decisions = decided(leaky)
    assert [(one.clone, one.act) for one in decisions] == [
        ("fast", Act.MOLT),
        ("slow", Act.MOLT),
        ("rests", Act.LEAVE),
    ]
    assert explain(decisions)[0].startswith("fast: molt, leaking: used up in ")
    before = leaky.record("rests").top
    results = perform(leaky.fleet, decisions, MoltRequest())
    assert [(result.clone, result.outcome) for result in results] == [("fast", "molted"), ("slow", "molted")]
    assert [leaky.record(name).top for name in ("fast", "slow")] == ["fast.2.qcow2", "slow.2.qcow2"]
    assert leaky.record("rests").top == before
    assert [(event.kind, event.clone) for event in leaky.notifier.told] == [
        (EventKind.MOLTED, "fast"),
        (EventKind.MOLTED, "slow"),
    ]


def test_whoever_came_back_meanwhile_is_spared_at_the_second_look(leaky: World) -> None:
    decisions = decided(leaky)
    answers(leaky, "fast", a_health())
    leaky.hypervisor.write_record("slow", replace(leaky.record("slow"), hold=Hold("2026-11-21T12:00:00Z", "alice")))
    results = perform(leaky.fleet, decisions, MoltRequest())
    assert {result.outcome for result in results} == {SPARED}
    assert "agent is attached to tmux session 'main'" in results[0].detail
    assert "alice holds it until 2026-11-21T12:00:00Z" in results[1].detail
    assert leaky.record("fast").top == "fast.1.qcow2"


def test_a_clone_that_was_molted_meanwhile_is_not_molted_again(leaky: World) -> None:
    decisions = decided(leaky)
    perform(leaky.fleet, decisions[:1], MoltRequest())
    (again,) = perform(leaky.fleet, decisions[:1], MoltRequest())
    assert again.outcome == SPARED
    assert leaky.record("fast").top == "fast.2.qcow2"


def test_a_failure_of_one_leaves_the_others_and_is_told(leaky: World) -> None:
    decisions = decided(leaky)
    leaky.hypervisor.machines["fast"].snapshots = ("mine",)
    results = perform(leaky.fleet, decisions, MoltRequest())
    assert [(result.clone, result.outcome) for result in results] == [("fast", "failed"), ("slow", "molted")]
    assert results[0].error is not None
    assert [event.kind for event in leaky.notifier.told] == [EventKind.MOLT_FAILED, EventKind.MOLTED]


def test_a_clone_that_is_gone_is_no_disaster(leaky: World) -> None:
    decisions = decided(leaky)
    leaky.hypervisor.destroy("fast")
    leaky.hypervisor.undefine("fast")
    results = perform(leaky.fleet, decisions, MoltRequest())
    assert [result.outcome for result in results] == ["failed", "molted"]


def test_the_layer_of_a_guest_too_far_gone_to_answer_is_kept(leaky: World) -> None:
    leaky.clock.sleep(60.0)
    leaky.hypervisor.behave("fast", answers={}, hangs=True)
    decisions = [one for one in decided(leaky) if one.clone == "fast"]
    (decision,) = decisions
    assert (decision.act, decision.answered) == (Act.MOLT, False)
    # Its RAM comes from the clean point, and its disk is new: the molt works whatever it did.
    leaky.hypervisor.behave("fast", hangs=False, answers={PROGRAM: ok("too busy")})
    perform(leaky.fleet, decisions, MoltRequest())
    (layer,) = leaky.record("fast").kept
    assert layer.volume == "fast.1.qcow2"


def test_deciding_and_looking_change_nothing(leaky: World) -> None:
    process = Process()
    fleet = leaky.process(process)
    decide(fleet, survey(fleet, record=False))
    assert process.changes == []


def test_quiet_hours_are_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        # 10:00 UTC is 19:00 there.
        for hours, act in (("18:30-19:30", Act.LEAVE), ("09:30-10:30", Act.MOLT)):
            world = a_world(clones=("crab-1",), policy={"quiet_hours": (hours,), "horizon_minutes": 600})
            answers(world, "crab-1", DESERTED)
            for _ in range(12):
                tells(world, "crab-1", used=14.0)
                survey(world.fleet, record=True)
                world.clock.sleep(10.0)
            assert [one.act for one in decided(world)] == [act], hours
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_went_down_is_started_again(leaky: World) -> None:
    machine = leaky.hypervisor.machines["rests"]
    machine.running, machine.why_off = None, Reason.CRASHED
    decisions = [one for one in decided(leaky) if one.clone == "rests"]
    assert [one.act for one in decisions] == [Act.START]
    (result,) = perform(leaky.fleet, decisions, MoltRequest())
    assert (result.outcome, result.detail) == ("started", "off, and should run: it crashed")
    assert leaky.hypervisor.get("rests").is_active


class TestAPoolThatFills:
    """The biggest grower is paused before the pool is full, and nothing is lost."""

    @pytest.fixture
    def filling(self, world: World) -> World:
        for name in ("writer", "other"):
            world.add_clone(name)
        for turn in range(3):
            world.hypervisor.grown = {"writer": Size.of_gib(1 + 2 * turn), "other": Size.of_gib(1 + 0.2 * turn)}
            survey(world.fleet, record=True, ask=Ask.NONE)
            world.clock.sleep(300.0)
        world.hypervisor.grown["writer"] = Size.of_gib(7)
        world.storage.free = world.storage.size * 0.04
        return world

    def test_is_paused_with_a_way_out(self, filling: World) -> None:
        (result,) = protect(filling.fleet, survey(filling.fleet, record=True, ask=Ask.NONE), dry_run=False)
        assert (result.clone, result.outcome) == ("writer", "paused")
        assert filling.hypervisor.get("writer").state is DomainState.PAUSED
        assert filling.hypervisor.get("other").state is DomainState.RUNNING
        assert filling.progress.texts("warn")[-1].startswith("Clone 'writer' is paused: wrote ")
        assert [(event.kind, event.clone) for event in filling.notifier.told] == [(EventKind.PAUSED, "writer")]
        # It wrote most, and writes no more: nobody else is paused for that.
        filling.clock.sleep(60.0)
        assert protect(filling.fleet, survey(filling.fleet, record=True, ask=Ask.NONE), dry_run=False) == ()

    def test_a_dry_run_says_who_it_would_be(self, filling: World) -> None:
        assert protect(filling.fleet, survey(filling.fleet, record=False, ask=Ask.NONE), dry_run=True) == ()
        assert filling.progress.texts("say")[-1].startswith("Would be done: writer: pause, ")
        assert filling.hypervisor.get("writer").state is DomainState.RUNNING

    def test_goes_on_by_itself_when_there_is_room_and_at_once_when_it_is_started(self, filling: World) -> None:
        protect(filling.fleet, survey(filling.fleet, record=True, ask=Ask.NONE), dry_run=False)
        filling.storage.free = filling.storage.size * 0.5
        decisions = [one for one in decided(filling) if one.clone == "writer"]
        assert [one.act for one in decisions] == [Act.RESUME]
        (result,) = perform(filling.fleet, decisions, MoltRequest())
        assert result.outcome == "resumed"
        assert filling.hypervisor.get("writer").state is DomainState.RUNNING
        assert filling.record("writer").paused is None

    def test_goes_on_at_the_next_look_of_the_timer(self, filling: World) -> None:
        protect(filling.fleet, survey(filling.fleet, record=True, ask=Ask.NONE), dry_run=False)
        filling.storage.free = filling.storage.size * 0.5
        (result,) = protect(filling.fleet, survey(filling.fleet, record=True, ask=Ask.NONE), dry_run=False)
        assert (result.clone, result.outcome) == ("writer", "resumed")

    def test_start_is_a_way_out(self, filling: World) -> None:
        protect(filling.fleet, survey(filling.fleet, record=True, ask=Ask.NONE), dry_run=False)
        (result,) = start(filling.fleet, ["writer"])
        assert (result.outcome, result.error) == ("started", None)
        assert filling.hypervisor.get("writer").state is DomainState.RUNNING

    def test_what_a_person_paused_later_is_not_taken_for_ours(self, filling: World) -> None:
        protect(filling.fleet, survey(filling.fleet, record=True, ask=Ask.NONE), dry_run=False)
        # Molted by hand, which is a way out too; then paused by hand.
        filling.hypervisor.destroy("writer")
        filling.hypervisor.start("writer")
        filling.hypervisor.suspend("writer")
        filling.storage.free = filling.storage.size * 0.5
        decisions = [one for one in decided(filling) if one.clone == "writer"]
        assert [one.act for one in decisions] == [Act.REPORT]

    @pytest.mark.parametrize("kill_after", [1, 2])
    def test_a_pause_that_is_killed_halfway_is_finished_by_the_next(self, filling: World, kill_after: int) -> None:
        process = Process(kill_after=kill_after)
        fleet = filling.process(process)
        with pytest.raises(Killed):
            protect(fleet, survey(fleet, record=True, ask=Ask.NONE), dry_run=False)
        protect(filling.fleet, survey(filling.fleet, record=True, ask=Ask.NONE), dry_run=False)
        assert filling.hypervisor.get("writer").state is DomainState.PAUSED
        filling.storage.free = filling.storage.size * 0.5
        assert [one.act for one in decided(filling) if one.clone == "writer"] == [Act.RESUME]


def test_that_nobody_could_be_told_fails_nothing(leaky: World) -> None:
    leaky.notifier.fails = True
    results = perform(leaky.fleet, decided(leaky)[:1], MoltRequest())
    assert [result.outcome for result in results] == ["molted"]
    assert "Nobody was told that clone 'fast' was molted" in leaky.progress.texts("warn")[-1]
