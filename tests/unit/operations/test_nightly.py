"""A night: what it does and leaves alone, in which order, until when, and what it says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes import World
from fakes.health import a_health
from fakes.leakynight import ALL, LEAKING, NIGHT, a_leaky_world, answer, balloons, deserted
from fakes.soundness import unsound
from fakes.storage import Disk
from moltfleet.model.domain import CommandResult
from moltfleet.model.errors import Busy, HostUnavailable, ToolFailed
from moltfleet.model.events import EventKind
from moltfleet.model.nightly import CloneNight, Night, Outcome, Scope, State, StepName
from moltfleet.model.nightreport import markdown, summary
from moltfleet.model.records import Hold
from moltfleet.model.size import Size
from moltfleet.operations import nightafter, nightclones
from moltfleet.operations.delete import delete
from moltfleet.operations.nightly import NightRequest, plan_night, run_night
from moltfleet.operations.nights import LOCK, last_night, tell_if_missed


@pytest.fixture
def leaky() -> World:
    return a_leaky_world()


def of(night: Night, name: str) -> CloneNight:
    found = night.clone(name)
    assert found is not None
    return found


def states(night: Night) -> list[tuple[str, State]]:
    return [(one.clone, one.state) for one in night.clones]


def hold(world: World, name: str) -> None:
    record = replace(world.record(name), hold=Hold("2026-12-01T00:00:00Z", "ann", "demo"))
    world.hypervisor.write_record(name, record)


# What is done


def test_what_leaks_is_molted_the_most_urgent_first_and_the_rest_is_left(leaky: World) -> None:
    before = leaky.record("rests").top
    night = run_night(leaky.fleet, NIGHT)
    assert (night.outcome, night.failures) == (Outcome.OK, ())
    assert states(night) == [("fast", State.DONE), ("slow", State.DONE), ("rests", State.LEFT)]
    assert [(of(night, name).mode, of(night, name).before, of(night, name).after) for name in LEAKING] == [
        ("warm", "critical", "ok"),
        ("warm", "critical", "ok"),
    ]
    assert leaky.record("rests").top == before
    assert [step.state for step in night.steps] == [State.DONE] * 6
    assert leaky.nights.all() == (night,)
    assert leaky.nights.reports[night.started_at] == markdown(night)
    assert unsound(leaky) == []


def test_a_night_for_all_molts_every_clone_that_nobody_works_in_or_holds(leaky: World) -> None:
    leaky.add_clone("held")
    leaky.add_clone("watched")
    answer(leaky, "held", deserted())
    answer(leaky, "watched", replace(a_health(), agents=()))
    hold(leaky, "held")
    leaky.clock.sleep(7200)
    night = run_night(leaky.fleet, ALL)
    assert night.outcome is Outcome.OK
    assert {one.clone for one in night.clones if one.state is State.DONE} == {"fast", "slow", "rests"}
    assert "ann holds it until" in of(night, "held").why
    assert "attached to tmux session" in of(night, "watched").why


def test_what_agents_use_is_looked_at_twice_before_a_clone_is_called_idle(leaky: World) -> None:
    agent = replace(deserted(), agents=a_health().agents, agents_cpu_s=1000.0)
    answer(leaky, "rests", agent)
    before = leaky.clock.monotonic()
    night = run_night(leaky.fleet, ALL)
    assert leaky.clock.monotonic() - before >= 300
    # It used none in these five minutes.
    assert of(night, "rests").state is State.DONE


def test_a_night_that_molts_none_still_looks_and_reports(leaky: World) -> None:
    night = run_night(leaky.fleet, NightRequest(Scope.NONE, hours=4))
    assert {one.state for one in night.clones} == {State.LEFT}
    assert of(night, "fast").why.endswith("but this night molts none")
    assert of(night, "fast").after == "critical"
    assert night.notes == ("fast is critical: 97 % are in use", "slow is critical: 96 % are in use")
    # What nobody touched is no failure of the night.
    assert night.outcome is Outcome.OK


def test_no_more_are_molted_than_it_may(leaky: World) -> None:
    night = run_night(leaky.fleet, replace(NIGHT, most=1))
    assert [(name, of(night, name).state) for name in LEAKING] == [("fast", State.DONE), ("slow", State.LEFT)]
    assert of(night, "slow").why.endswith("but this night molts at most 1")


def test_work_is_rescued_first_and_what_cannot_be_is_kept(leaky: World) -> None:
    leaky.hypervisor.behave("fast", answers={"rescue look": CommandResult(1, b"", b"no space left on device")})
    night = run_night(leaky.fleet, NIGHT)
    assert (of(night, "fast").state, of(night, "slow").rescue) == (State.DONE, "nothing")
    (layer,) = leaky.record("fast").kept
    assert (of(night, "fast").rescue != "nothing", of(night, "fast").kept) == (True, layer.label)
    assert f"state kept as {layer.label}" in leaky.nights.reports[night.started_at]


def test_what_is_down_is_started(leaky: World) -> None:
    leaky.hypervisor.destroy("rests")
    night = run_night(leaky.fleet, NIGHT)
    assert (of(night, "rests").act, of(night, "rests").state, of(night, "rests").after) == ("start", State.DONE, "ok")
    assert leaky.hypervisor.get("rests").is_active


def test_somebody_who_came_since_the_survey_is_spared(leaky: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The molt of the first takes its time, and somebody begins to hold the second."""
    molt = nightclones.molt

    def slow_molt(*args: object, **options: object) -> object:
        balloons(leaky).used["slow"] = (leaky.record("slow").top, 14.0)
        hold(leaky, "slow")
        return molt(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(nightclones, "molt", slow_molt)
    night = run_night(leaky.fleet, NIGHT)
    assert of(night, "fast").state is State.DONE
    assert of(night, "slow").state is State.LEFT
    assert of(night, "slow").why.startswith("a second look spared it: ")


# Warm anew


def test_stale_ram_is_made_anew_one_at_a_time_and_nobodys_work_is_lost(leaky: World) -> None:
    leaky.hypervisor.behave("slow", answers={"rescue look": CommandResult(1, b"", b"")})
    leaky.hypervisor.facts = replace(leaky.hypervisor.facts, qemu_version=9_001_000)
    leaky.add_clone("watched")
    answer(leaky, "watched", replace(a_health(), agents=()))
    clean = leaky.record("watched").clean
    assert clean is not None
    stale = replace(clean, fingerprint='{"qemu": 1}')
    leaky.hypervisor.write_record("watched", replace(leaky.record("watched"), clean=stale))
    leaky.clock.sleep(7200)
    night = run_night(leaky.fleet, NIGHT)
    assert (of(night, "fast").mode, of(night, "fast").warmed) == ("cold", "warmed")
    assert of(night, "rests").warmed == "warmed"
    assert night.step(StepName.WARM).detail == "3 of 4 stale ones made anew"
    (note,) = [note for note in night.notes if note.startswith("watched stays")]
    assert "attached to tmux session" in note
    assert unsound(leaky) == []


def test_without_warming_the_step_is_left_out(leaky: World) -> None:
    night = run_night(leaky.fleet, replace(NIGHT, warms=False))
    assert (night.step(StepName.WARM).state, night.outcome) == (State.LEFT, Outcome.OK)


# What goes wrong


def test_a_clone_that_cannot_be_molted_leaves_the_others_and_fails_the_night(leaky: World) -> None:
    leaky.hypervisor.behave("fast", needs="nothing that a molt brings")
    night = run_night(leaky.fleet, NIGHT)
    assert (of(night, "fast").state, of(night, "slow").state) == (State.FAILED, State.DONE)
    assert night.outcome is Outcome.FAILED
    assert night.failures[0].startswith("fast: ")
    kinds = [event.kind for event in leaky.notifier.told]
    assert kinds == [EventKind.MOLT_FAILED, EventKind.MOLTED, EventKind.NIGHT_FAILED]
    assert leaky.notifier.told[-1].text.startswith(summary(night))


def test_when_everything_fails_it_stops_after_three() -> None:
    world = a_leaky_world()
    names = [f"crab-{number}" for number in range(1, 4)]
    for name in names:
        world.add_clone(name)
        answer(world, name, deserted())
        balloons(world).used[name] = (world.record(name).top, 15.6)
    world.clock.sleep(7200)
    for name in (*names, *LEAKING):
        world.hypervisor.behave(name, needs="nothing that a molt brings")
    night = run_night(world.fleet, NIGHT)
    failed = [one for one in night.clones if one.state is State.FAILED]
    left = [one for one in night.clones if one.why.endswith("3 others failed one after the other")]
    assert (len(failed), len(left)) == (3, 2)
    assert night.outcome is Outcome.FAILED


def test_a_step_that_fails_leaves_the_others(leaky: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> object:
        raise HostUnavailable("libvirt is not running at test:///fake", hint="Start it.")

    monkeypatch.setattr(nightafter.poolparts, "unexplained", fail)
    night = run_night(leaky.fleet, NIGHT)
    assert night.step(StepName.ORPHANS).state is State.FAILED
    assert night.step(StepName.MOLT).state is State.DONE
    assert night.failures == ("orphans: libvirt is not running at test:///fake",)


def test_libvirt_that_is_away_all_night_ends_in_a_true_report(leaky: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> object:
        raise HostUnavailable("libvirt is not running at test:///fake", hint="Start it.")

    monkeypatch.setattr(type(leaky.hypervisor), "domains", fail)
    night = run_night(leaky.fleet, NIGHT)
    assert night.outcome is Outcome.FAILED
    assert night.step(StepName.SURVEY).state is State.FAILED
    assert "libvirt is not running" in leaky.nights.reports[night.started_at]


def test_one_that_was_molted_and_is_ill_afterwards_fails_the_night(leaky: World) -> None:
    balloons(leaky).ill.add("fast")
    night = run_night(leaky.fleet, NIGHT)
    assert (of(night, "fast").state, of(night, "fast").after) == (State.DONE, "critical")
    assert night.step(StepName.HEALTH).state is State.FAILED
    assert night.outcome is Outcome.FAILED


def test_a_host_that_is_ill_is_noted(leaky: World) -> None:
    leaky.meter.load = replace(leaky.meter.load, pressure=40.0, oom_kills=2)
    night = run_night(leaky.fleet, NIGHT)
    assert night.notes[-2:] == (
        "The host waits for memory 40 % of the time",
        "The host's kernel ended 2 for want of memory in the last ten minutes",
    )
    assert night.host_after is not None
    assert night.host_after.pressure == 40.0


def test_a_volume_that_belongs_to_nobody_is_listed_and_stays(leaky: World) -> None:
    leaky.storage.put(Disk("crab-9.3.qcow2", "qcow2", Size.of_gib(10).bytes))
    # A lock, where libvirt is remote.
    leaky.storage.put(Disk("run.night.lock", "raw", 4096))
    night = run_night(leaky.fleet, NIGHT)
    assert [one.volume for one in night.unexplained] == ["crab-9.3.qcow2"]
    assert "crab-9.3.qcow2" in leaky.storage.names()
    assert "## Volumes that belong to nobody" in leaky.nights.reports[night.started_at]
    assert night.outcome is Outcome.OK


def test_without_a_journal_no_night_begins(leaky: World) -> None:
    leaky.nights.is_full = True
    before = leaky.record("fast").top
    with pytest.raises(ToolFailed):
        run_night(leaky.fleet, NIGHT)
    assert leaky.record("fast").top == before


# Deadline and lock


def test_after_the_deadline_nothing_is_begun_and_the_report_is_whole(leaky: World) -> None:
    leaky.hypervisor.behave("fast", shows_banner=False)
    night = run_night(leaky.fleet, replace(NIGHT, hours=0.01))
    assert of(night, "fast").state is State.FAILED
    assert (of(night, "slow").state, night.step(StepName.WARM).state) == (State.LEFT, State.LEFT)
    assert of(night, "slow").why.endswith("but the deadline had passed")
    assert night.step(StepName.HEALTH).state is State.DONE


def test_a_deadline_alone_makes_a_night_late_and_not_failed(leaky: World) -> None:
    night = run_night(leaky.fleet, replace(NIGHT, hours=0))
    assert night.outcome is Outcome.LATE
    assert [step.state for step in night.steps[:4]] == [State.LEFT] * 4
    assert [event.kind for event in leaky.notifier.told] == [EventKind.NIGHT_FAILED]


def test_only_one_night_at_a_time(leaky: World) -> None:
    leaky.locks.hold_by_other(LOCK, verb="nightly")
    with pytest.raises(Busy) as caught:
        run_night(leaky.fleet, NIGHT)
    assert caught.value.hint == "How far it is: moltfleet nightly --report"
    assert leaky.nights.all() == ()


def test_whoever_is_to_be_told_gets_the_night_and_may_fail(leaky: World) -> None:
    got: list[Night] = []

    def post(night: Night) -> None:
        got.append(night)
        raise ToolFailed("Server hooks.example.org answered 500")

    run_night(leaky.fleet, replace(NIGHT, hours=0), post=post)
    assert [night.outcome for night in got] == [Outcome.LATE]
    assert leaky.progress.texts("warn")[-1] == "Nobody was told: Server hooks.example.org answered 500"
    leaky.clock.sleep(60)
    got.clear()
    assert run_night(leaky.fleet, NIGHT, post=post).outcome is Outcome.OK
    assert got == []


def test_a_plan_says_each_decision_and_changes_nothing(leaky: World) -> None:
    lines = plan_night(leaky.fleet, ALL)
    assert [line.split(",")[0] for line in lines] == ["fast: molt", "slow: molt", "rests: molt"]
    assert plan_night(leaky.fleet, NIGHT)[2].startswith("rests: leave, ok: ")
    assert (leaky.nights.all(), leaky.samples.kept) == ((), {})


def test_the_last_night_is_told(leaky: World) -> None:
    assert last_night(leaky.fleet) is None
    night = run_night(leaky.fleet, NIGHT)
    last = last_night(leaky.fleet)
    assert last is not None
    assert (last.started_at, last.outcome, last.report) == (
        night.started_at,
        Outcome.OK,
        f"/state/nights/{night.started_at}.md",
    )


def test_what_comes_from_a_guest_cannot_break_out_of_the_report() -> None:
    hostile = CloneNight("crab-1", "molt", "x | y\x1b[2J\n# pwned", "leaking", State.FAILED, error="a\nb | c")
    text = markdown(Night("2026-11-20T03:30:00Z", "2026-11-20T07:30:00Z", Scope.LEAKING, "0.1.0").with_clone(hostile))
    assert "\x1b" not in text
    assert "\n# pwned" not in text
    assert "a b" not in text.splitlines()
    (row,) = [line for line in text.splitlines() if line.startswith("| crab-1 ")]
    assert row.count(" | ") == 5


def test_a_night_that_is_missed_is_told_once(leaky: World) -> None:
    tell_if_missed(leaky.fleet)
    run_night(leaky.fleet, NIGHT)
    leaky.notifier.told.clear()
    leaky.clock.sleep(25 * 3600)
    tell_if_missed(leaky.fleet)
    assert leaky.notifier.told == []
    leaky.clock.sleep(2 * 3600)
    for _ in range(3):
        tell_if_missed(leaky.fleet)
    assert [(event.kind, event.text) for event in leaky.notifier.told] == [
        (EventKind.NIGHT_MISSED, "No night has begun since 2026-11-20T12:00:18Z")
    ]
    run_night(leaky.fleet, NIGHT)
    leaky.notifier.told.clear()
    leaky.clock.sleep(27 * 3600)
    tell_if_missed(leaky.fleet)
    assert [event.kind for event in leaky.notifier.told] == [EventKind.NIGHT_MISSED]


def test_a_clone_that_is_deleted_meanwhile_is_left_out(leaky: World, monkeypatch: pytest.MonkeyPatch) -> None:
    molt = nightclones.molt

    def molt_and_delete(*args: object, **options: object) -> object:
        delete(leaky.fleet, ["slow"])
        return molt(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(nightclones, "molt", molt_and_delete)
    night = run_night(leaky.fleet, NIGHT)
    assert (of(night, "slow").state, of(night, "slow").why) == (State.LEFT, "a second look spared it: it is gone")
    assert night.outcome is Outcome.OK
