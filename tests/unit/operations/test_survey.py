"""A survey of a fleet in memory: what it finds, in what time, and that it changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fakes import Process, World
from fakes.guests import ok
from fakes.health import a_health, a_leaking_health
from fakes.leaking import PROGRAM, answers, surveyed_for, tells
from moltfleet.model import health as guest
from moltfleet.model.errors import NotFound, ToolFailed
from moltfleet.model.events import EventKind
from moltfleet.model.records import Hold, Layer, Pending, Verb
from moltfleet.model.requests import MoltRequest, StopRequest
from moltfleet.model.samples import POOL
from moltfleet.model.size import Size
from moltfleet.model.survey import Ask, CloneSurvey, SurveyResult
from moltfleet.model.verdict import Verdict
from moltfleet.model.vitals import Reason
from moltfleet.operations import stop
from moltfleet.operations.hold import list_holds
from moltfleet.operations.molt import molt
from moltfleet.operations.survey import survey


def of(result: SurveyResult, name: str = "crab-1") -> CloneSurvey:
    found = result.get(name)
    assert found is not None
    return found


def look(world: World, **options: Any) -> CloneSurvey:
    return of(survey(world.fleet, record=False, **options))


def test_three_clones_of_which_one_leaks_and_one_merely_caches(world: World) -> None:
    for name in ("leaks", "caches", "rests"):
        world.add_clone(name)

    def used(name: str, minute: int) -> float | None:
        return {"leaks": 2 + minute * 0.1, "caches": 3.0, "rests": 1.0}.get(name)

    # Its QEMU takes all that it was promised; what counts is what the guest calls available.
    world.hypervisor.resident["caches"] = Size.of_gib(2)
    result = surveyed_for(world, 40, used)
    assert {clone.clone: clone.verdict for clone in result.clones} == {
        "leaks": Verdict.LEAKING,
        "caches": Verdict.OK,
        "rests": Verdict.OK,
    }
    assert of(result, "leaks").seconds == pytest.approx(10 * 3600 / 6, rel=0.1)


def test_a_leak_needs_no_running_program_between_two_looks(clone: World) -> None:
    surveyed_for(clone, 40, lambda _, minute: 2 + minute * 0.1)
    tells(clone, "crab-1", used=6.0)
    # Another process looks, and does not record.
    result = survey(clone.process(), record=False, ask=Ask.NONE)
    assert of(result).verdict is Verdict.LEAKING


def test_a_look_records_nothing_and_changes_nothing(clone: World) -> None:
    process = Process()
    tells(clone, "crab-1", used=2.0)
    answers(clone, "crab-1")
    result = survey(clone.process(process), record=False)
    assert (process.changes, clone.samples.kept) == ([], {})
    assert result.notes == ()
    survey(clone.process(process), record=True)
    assert process.changes == []
    assert {sample.subject for sample in clone.samples.kept.values()} == {"crab-1", POOL}


def test_a_molt_begins_another_story(clone: World) -> None:
    surveyed_for(clone, 40, lambda _, minute: 2 + minute * 0.1)
    (molted,) = molt(clone.fleet, ["crab-1"], MoltRequest())
    assert molted.outcome == "molted"
    tells(clone, "crab-1", used=2.0)
    found = look(clone, ask=Ask.NONE)
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, "too few samples (1)")
    assert found.molted_at == pytest.approx(clone.clock.now(), abs=60)


class TestSamplesThatAreOfNoUse:
    """A file that is locked or spoilt costs the history, and nothing else."""

    def test_leave_the_verdicts_of_the_guests(self, clone: World) -> None:
        clone.samples.break_down()
        tells(clone, "crab-1", used=2.0)
        answers(clone, "crab-1", a_leaking_health())
        result = survey(clone.fleet, record=True)
        assert of(result).verdict is Verdict.CRITICAL
        assert result.notes == ("Samples in /state/samples cannot be used: database is locked",)
        assert clone.progress.texts("warn")[-1] == result.notes[0]

    def test_leave_what_libvirt_alone_tells(self, clone: World) -> None:
        clone.samples.break_down()
        stop.stop(clone.fleet, ["crab-1"], StopRequest(now=True))
        assert look(clone).reason == "off, as it should be"


class TestAQemuThatHangs:
    """It keeps the statistics of all waiting, for a bounded time."""

    def test_costs_the_statistics_and_not_the_guests_word(self, clone: World) -> None:
        clone.hypervisor.hangs = True
        answers(clone, "crab-1")
        before = clone.clock.monotonic()
        result = survey(clone.fleet, record=True)
        assert of(result).verdict is Verdict.OK
        assert "did not answer within" in result.notes[0]
        assert clone.clock.monotonic() - before < 60

    def test_is_unknown_when_its_guest_says_nothing_either(self, clone: World) -> None:
        clone.hypervisor.hangs = True
        found = look(clone, ask=Ask.NONE)
        assert (found.verdict, found.reason) == (Verdict.UNKNOWN, "libvirt did not tell in time")


class TestGuestsThatDoNotAnswer:
    """The whole fleet may hang: a survey ends."""

    def test_take_bounded_time_together(self, world: World) -> None:
        for number in range(12):
            world.add_clone(f"crab-{number}")
            world.hypervisor.behave(f"crab-{number}", hangs=True)
            tells(world, f"crab-{number}", used=2.0)
        before = world.clock.monotonic()
        result = survey(world.fleet, record=False)
        assert len(result.clones) == 12
        # Six times what one may take, and one each that was under way.
        assert world.clock.monotonic() - before <= 10 * (6 + 8)

    def test_that_leaked_before_are_critical(self, clone: World) -> None:
        surveyed_for(clone, 40, lambda _, minute: 2 + minute * 0.1)
        clone.clock.sleep(120.0)
        clone.hypervisor.behave("crab-1", hangs=True)
        found = look(clone)
        assert found.verdict is Verdict.CRITICAL
        assert "as it was 3 min ago; since then the guest tells nothing and does not answer" in found.reason
        assert (found.answered, found.is_busy) == (False, None)

    @pytest.mark.parametrize(
        "garbage",
        [b"\x1b]0;owned\x07" * 1000, b"{" * 100_000, b"x" * (1 << 20), b'{"schema": "moltfleet.guest-health/1"}'],
    )
    def test_nor_those_that_answer_with_garbage(self, clone: World, garbage: bytes) -> None:
        clone.hypervisor.behave("crab-1", answers={PROGRAM: replace(ok(""), stdout=garbage)})
        tells(clone, "crab-1", used=2.0)
        found = look(clone)
        assert found.verdict is Verdict.UNKNOWN
        said = " ".join((found.reason, found.busy_why, *found.judgement.evidence))
        assert said.isprintable() and len(said) < 1000


def test_only_suspects_are_asked_when_that_is_wanted(world: World) -> None:
    for name in ("leaks", "rests", "mute"):
        world.add_clone(name)
        answers(world, name)

    def used(name: str, minute: int) -> float | None:
        return {"leaks": 2 + minute * 0.1, "rests": 1.0}.get(name)

    result = surveyed_for(world, 40, used)
    assert [clone.clone for clone in result.clones if clone.answered] == []
    tells(world, "leaks", used=6.0)
    tells(world, "rests", used=1.0)
    result = survey(world.fleet, record=False, ask=Ask.SUSPECTS)
    assert [clone.clone for clone in result.clones if clone.answered] == ["leaks", "mute"]
    assert of(result, "mute").verdict is Verdict.OK


class TestWhatIsNoMatterOfMemory:
    """Off, paused, worked on."""

    def test_a_clone_that_a_command_stopped_is_as_it_should_be(self, clone: World) -> None:
        stop.stop(clone.fleet, ["crab-1"], StopRequest())
        assert (look(clone).verdict, look(clone).reason) == (Verdict.OK, "off, as it should be")

    def test_one_that_went_down_by_itself_is_down(self, clone: World) -> None:
        clone.hypervisor.machines["crab-1"].running = None
        clone.hypervisor.machines["crab-1"].why_off = Reason.CRASHED
        assert (look(clone).verdict, look(clone).reason) == (Verdict.DOWN, "off, and should run: it crashed")

    def test_one_whose_deletion_was_interrupted_is_not_to_be_started(self, clone: World) -> None:
        record = clone.record("crab-1")
        pending = Pending(Verb.DELETE, "", record.top, "2026-11-20T10:00:00Z")
        clone.hypervisor.write_record("crab-1", replace(record, pending=pending))
        clone.hypervisor.machines["crab-1"].running = None
        assert look(clone).verdict is Verdict.OK

    def test_one_that_the_full_pool_paused_says_so(self, clone: World) -> None:
        running = clone.hypervisor.machines["crab-1"].running
        assert running is not None
        running.is_paused, running.why_paused = True, Reason.IO_ERROR
        assert look(clone).reason == "paused by an I/O error"
        clone.storage.fill()
        assert look(clone).reason == "paused by an I/O error: pool 'moltfleet' is full"

    def test_one_that_a_command_works_on_is_busy(self, clone: World) -> None:
        with clone.locks.hold("crab-1", verb="molt"):
            assert (look(clone).verdict, look(clone).reason) == (Verdict.BUSY, "a command works on it")

    def test_one_whose_metadata_a_newer_version_wrote_is_told_and_left(self, clone: World) -> None:
        clone.hypervisor.machines["crab-1"].is_newer = True
        found = look(clone)
        assert (found.verdict, found.can_molt) == (Verdict.UNKNOWN, False)


class TestWhoWorksInIt:
    """Attached people and agents at work are told from agents that sit there."""

    calm = replace(a_health(), sessions=())

    def used_by_agents(self, world: World, seconds: float) -> CloneSurvey:
        """Two surveys five minutes apart, between which the agents used so many processor seconds."""
        for cpu_s in (100.0, 100.0 + seconds):
            answers(world, "crab-1", replace(self.calm, agents_cpu_s=cpu_s))
            result = survey(world.fleet, record=True)
            world.clock.sleep(300.0)
        return of(result)

    def test_an_attached_client_is_at_work(self, clone: World) -> None:
        answers(clone, "crab-1", a_health())
        assert (look(clone).is_busy, look(clone).busy_why) == (True, "agent is attached to tmux session 'main'")

    @pytest.mark.parametrize(("seconds", "expected"), [(100.0, True), (16.0, True), (14.0, False), (0.0, False)])
    def test_agents_are_at_work_above_five_percent_of_a_processor(
        self, clone: World, seconds: float, expected: bool
    ) -> None:
        found = self.used_by_agents(clone, seconds)
        assert found.is_busy is expected
        assert found.busy_why.startswith("its agents used ")

    def test_one_look_does_not_tell_what_agents_use(self, clone: World) -> None:
        answers(clone, "crab-1", replace(self.calm, agents_cpu_s=5.0))
        assert look(clone).is_busy is None

    def test_what_agents_did_before_their_guest_fell_silent_tells_nothing(self, clone: World) -> None:
        assert self.used_by_agents(clone, 0.0).is_busy is False
        clone.hypervisor.behave("crab-1", answers={}, hangs=True)
        assert look(clone).is_busy is None
        assert look(clone, ask=Ask.NONE).busy_why == "it was not asked"

    def test_without_an_agent_and_a_client_nobody_is_at_work(self, clone: World) -> None:
        answers(clone, "crab-1", replace(self.calm, agents=()))
        assert (look(clone).is_busy, look(clone).busy_why) == (False, "no agent runs and nobody is attached")

    def test_a_guest_that_used_no_processor_has_no_agent_at_work(self, clone: World) -> None:
        answers(clone, "crab-1", self.calm)
        clone.hypervisor.used_cpu_s["crab-1"] = 10.0
        survey(clone.fleet, record=True)
        clone.clock.sleep(300.0)
        clone.hypervisor.used_cpu_s["crab-1"] = 12.0
        found = look(clone)
        assert (found.is_busy, found.busy_why) == (False, "the whole guest used 1 % of a processor in 5 min")
        assert found.cpu_share == pytest.approx(2 / 300)
        clone.hypervisor.used_cpu_s["crab-1"] = 100.0
        # Its system may have done that, or an agent.
        assert look(clone).is_busy is None


def test_a_hold_is_told_until_it_ends(clone: World) -> None:
    record = clone.record("crab-1")
    hold = Hold("2026-11-20T12:00:00Z", "alice")
    clone.hypervisor.write_record("crab-1", replace(record, hold=hold))
    assert look(clone).hold == hold
    clone.clock.sleep(3 * 3600.0)
    assert look(clone).hold is None


def test_a_record_that_somebody_edited_holds_and_breaks_nothing(clone: World) -> None:
    record = clone.record("crab-1")
    layer = Layer("crab-1.0.qcow2", "a while ago", "mine")
    odd = replace(record, hold=Hold("tomorrow", "alice"), kept=(layer,))
    clone.hypervisor.write_record("crab-1", odd)
    found = look(clone)
    assert (found.hold, found.molted_at) == (odd.hold, None)
    assert [held.clone for held in list_holds(clone.fleet, ())] == ["crab-1"]


def test_locks_that_cannot_be_looked_at_are_noted(clone: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> bool:
        raise ToolFailed("Lock file /run/moltfleet/crab-1.lock cannot be opened: Permission denied")

    monkeypatch.setattr(clone.locks, "is_held", refuse)
    answers(clone, "crab-1")
    result = survey(clone.fleet, record=False)
    assert of(result).verdict is Verdict.OK
    assert "Permission denied" in result.notes[0]


def test_what_a_disk_grew_by_and_what_was_ended_is_told(clone: World) -> None:
    ended = replace(a_health(), kills=guest.Kills(2, 1, 0), watchdog=guest.Watchdog("watching", kills=3))
    answers(clone, "crab-1", ended)
    for gib in (1.0, 1.5, 3.0):
        clone.hypervisor.grown["crab-1"] = Size.of_gib(gib)
        result = survey(clone.fleet, record=True)
        clone.clock.sleep(600.0)
    found = of(result)
    assert (found.written, found.written_s, found.kills) == (Size.of_gib(1.5).bytes, 600.0, 5)
    assert found.disk == Size.of_gib(3.0)


def test_whoever_wants_to_be_told_of_kills_is_told_once_of_each(clone: World) -> None:
    for kills in (1, 1, 3, 3):
        answers(clone, "crab-1", replace(a_health(), kills=guest.Kills(kills, 0, 0)))
        survey(clone.fleet, record=False)
        survey(clone.fleet, record=True)
        clone.clock.sleep(60.0)
    assert [(event.kind, event.text) for event in clone.notifier.told] == [
        (EventKind.KILLED, "Clone 'crab-1' ran out of memory: 2 processes were ended in it")
    ]


def test_the_pool_is_forecast_like_memory(clone: World) -> None:
    whole = clone.storage.size
    for minute in range(40):
        clone.storage.free = whole * (1 - minute / 60)
        result = survey(clone.fleet, record=True, ask=Ask.NONE)
        clone.clock.sleep(60.0)
    assert result.pool.judgement.verdict is Verdict.LEAKING
    assert result.pool.judgement.seconds == pytest.approx(21 * 60, rel=0.1)
    assert result.pool.free_share == pytest.approx(1 - 39 / 60, rel=0.01)


def test_names_and_patterns_choose_and_a_name_that_nobody_has_is_not_found(world: World) -> None:
    for name in ("crab-1", "crab-2", "lobster-1"):
        world.add_clone(name)
    found = survey(world.fleet, record=False, patterns=("crab-*",), ask=Ask.NONE)
    assert [clone.clone for clone in found.clones] == ["crab-1", "crab-2"]
    with pytest.raises(NotFound):
        survey(world.fleet, record=False, patterns=("prawn",))


def test_goldens_and_other_peoples_domains_are_nobody_to_survey(clone: World) -> None:
    clone.hypervisor.add_foreign("theirs")
    clone.hypervisor.start("theirs")
    assert [found.clone for found in survey(clone.fleet, record=False).clones] == ["crab-1"]
