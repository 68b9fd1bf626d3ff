"""`survey`, `molt --leaking`, `hold`, `status --short` and `--watch` on a fleet in memory: tables, documents, codes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import World, a_world
from fakes.health import a_health
from fakes.leaking import answers, surveyed_for, tells
from moltfleet.cli.survey_text import screen, short_text, survey_text
from moltfleet.model.domain import DomainState
from moltfleet.model.size import Size
from moltfleet.model.survey import Ask
from moltfleet.model.vitals import Reason
from moltfleet.operations.deadlines import epoch
from moltfleet.operations.survey import survey

ROOT = Path(__file__).parents[3]
Do = Callable[..., Any]
DESERTED = replace(a_health(), sessions=(), agents=())
NAMES = ("crab-1", "crab-2", "crab-3")


@pytest.fixture
def world() -> Iterator[World]:
    """crab-1 leaks and is deserted, crab-2 is at rest with somebody in it, crab-3 was stopped by its own guest."""
    made = a_world(clones=NAMES)
    answers(made, "crab-1", DESERTED)
    answers(made, "crab-2")

    def used(name: str, minute: int) -> float | None:
        return {"crab-1": 2 + minute * 0.1, "crab-2": 1.0}.get(name)

    made.hypervisor.resident = {"crab-1": Size.of_gib(7), "crab-2": Size.of_gib(2)}
    made.hypervisor.grown = {"crab-1": Size.of_mib(700), "crab-2": Size.of_mib(20)}
    surveyed_for(made, 40, used)
    for name in NAMES[:2]:
        tells(made, name, used=used(name, 40) or 0.0)
    crashed = made.hypervisor.machines["crab-3"]
    crashed.running, crashed.why_off = None, Reason.CRASHED
    yield made
    assert made.hypervisor.violations == []


@pytest.fixture
def call(run: Do, world: World) -> Do:
    """Run a command line on it."""

    def invoke(*words: str, **options: Any) -> Any:
        build = lambda config, uri, progress: replace(world.fleet, progress=progress)  # noqa: E731
        return run(*words, build_fleet=build, **options)

    return invoke


def test_the_most_urgent_is_on_top(call: Do, golden: Any) -> None:
    outcome = call("survey")
    assert outcome.exit_code == 0
    golden("tables/survey.txt", outcome.stdout)


def test_why_shows_what_each_verdict_is_told_from(call: Do, golden: Any) -> None:
    golden("tables/survey-why.txt", call("survey", "--why").stdout)


def test_as_json_it_is_a_document(call: Do) -> None:
    document = json.loads(call("survey", "--json").stdout)
    assert (document["schema"], document["notes"], document["results"]) == ("moltfleet.survey/1", [], [])
    leaks, rests, off = document["clones"]
    assert (leaks["name"], leaks["verdict"], leaks["busy"], leaks["answered"]) == ("crab-1", "leaking", False, True)
    assert leaks["full_in_seconds"] == pytest.approx(6000, rel=0.1)
    assert leaks["bytes_per_second"] == pytest.approx(0.1 * 2**30 / 60, rel=0.1)
    assert (rests["verdict"], rests["busy"], rests["full_in_seconds"]) == ("ok", True, None)
    assert (off["verdict"], off["state"], off["used_bytes"]) == ("down", "shut off", None)
    assert document["pool"]["size_bytes"] == 100 << 30


@pytest.mark.parametrize(("words", "code"), [((), 0), (("--strict",), 4), (("--strict", "crab-2"), 0)])
def test_strict_makes_trouble_an_exit_code(call: Do, words: tuple[str, ...], code: int) -> None:
    assert call("survey", *words).exit_code == code


def test_recording_is_asked_for_and_a_dry_run_does_not(call: Do, world: World) -> None:
    before = dict(world.samples.kept)
    call("survey")
    call("survey", "--record", "--dry-run")
    assert world.samples.kept == before
    call("survey", "--record")
    assert len(world.samples.kept) == len(before) + 3


def test_samples_that_are_of_no_use_are_a_warning(call: Do, world: World) -> None:
    world.samples.break_down()
    outcome = call("survey", "--record")
    assert outcome.exit_code == 0
    assert "Warning: Samples in /state/samples cannot be used: database is locked" in outcome.stderr


def test_a_name_that_nobody_has_is_exit_3(call: Do) -> None:
    assert call("survey", "prawn").exit_code == 3


def test_protecting_pauses_who_fills_the_pool(call: Do, world: World) -> None:
    for gib in (3, 6):
        world.hypervisor.grown["crab-2"] = Size.of_gib(gib)
        call("survey", "--record")
        world.clock.sleep(400.0)
    world.hypervisor.grown["crab-2"] = Size.of_gib(9)
    world.storage.free = world.storage.size * 0.04
    assert "crab-2: pause" in call("survey", "--protect", "--dry-run").stderr
    assert world.hypervisor.get("crab-2").state is DomainState.RUNNING
    outcome = call("survey", "--record", "--protect", "--ask", "none", "--json")
    assert outcome.exit_code == 0
    (act,) = json.loads(outcome.stdout)["results"]
    assert (act["clone"], act["outcome"]) == ("crab-2", "paused")
    assert "then 'moltfleet start crab-2' lets it go on as it was" in outcome.stderr
    assert world.hypervisor.get("crab-2").state is DomainState.PAUSED


class TestMoltLeaking:
    """`molt --leaking`: explained, asked about, done."""

    def test_a_dry_run_explains_every_decision_and_does_nothing(self, call: Do, world: World, golden: Any) -> None:
        before = dict(world.samples.kept)
        outcome = call("molt", "--leaking", "--dry-run")
        assert outcome.exit_code == 0
        golden("tables/molt-leaking.txt", outcome.stdout)
        assert outcome.stdout.rstrip("\n") in (ROOT / "docs/policy.md").read_text()
        assert (world.record("crab-1").top, world.samples.kept) == ("crab-1.1.qcow2", before)

    def test_as_json_decisions_are_told_with_nothing_done(self, call: Do) -> None:
        document = json.loads(call("molt", "--leaking", "--dry-run", "--json").stdout)
        assert (document["schema"], document["results"]) == ("moltfleet.leaking/1", None)
        assert [(one["clone"], one["act"]) for one in document["decisions"]] == [
            ("crab-1", "molt"),
            ("crab-3", "start"),
            ("crab-2", "leave"),
        ]

    def test_it_does_what_was_decided(self, call: Do, world: World) -> None:
        outcome = call("molt", "--leaking", "--no-rescue", "--yes", "--json")
        assert outcome.exit_code == 0
        acts = json.loads(outcome.stdout)["results"]
        assert [(act["clone"], act["outcome"]) for act in acts] == [("crab-1", "molted"), ("crab-3", "started")]
        assert world.record("crab-1").top == "crab-1.2.qcow2"
        assert world.hypervisor.get("crab-3").is_active

    def test_without_a_terminal_it_needs_yes_if_there_is_anything_to_do(self, call: Do, world: World) -> None:
        assert call("molt", "--leaking").exit_code == 2
        for name in ("crab-1", "crab-3"):
            world.hypervisor.destroy(name)
            world.hypervisor.undefine(name)
        outcome = call("molt", "--leaking")
        assert (outcome.exit_code, outcome.stderr.splitlines()[-1]) == (0, "Nothing was changed.")

    @pytest.mark.parametrize("words", [("crab-1",), ("--all",)])
    def test_it_chooses_by_itself(self, call: Do, words: tuple[str, ...]) -> None:
        outcome = call("molt", "--leaking", *words)
        assert outcome.exit_code == 2
        assert "--leaking chooses the clones itself: no names, no --all" in outcome.stderr


class TestHold:
    """`hold`: written into the clone's record, listed, ended."""

    def test_a_clone_that_is_held_is_left_alone(self, call: Do, world: World) -> None:
        assert call("hold", "crab-1", "--until", "2h", "--why", "a demo").exit_code == 0
        held = world.record("crab-1").hold
        assert held is not None and held.why == "a demo"
        assert epoch(held.until) == pytest.approx(world.clock.now() + 7200, abs=5)
        decisions = json.loads(call("molt", "--leaking", "--dry-run", "--json").stdout)["decisions"]
        (found,) = (one for one in decisions if one["clone"] == "crab-1")
        assert found["act"] == "leave" and found["why"].endswith(f"until {held.until} (a demo)")
        assert call("molt", "crab-1", "--yes").exit_code == 0, "whoever asks for it by name gets it"
        assert world.record("crab-1").hold == held, "and the hold outlives that"

    def test_holds_are_listed_until_they_end(self, call: Do, world: World) -> None:
        call("hold", "crab-1", "crab-2", "--until", "90m")
        listed = json.loads(call("hold", "--json").stdout)
        assert (listed["schema"], [one["clone"] for one in listed["holds"]]) == (
            "moltfleet.hold-list/1",
            ["crab-1", "crab-2"],
        )
        assert call("hold").stdout.splitlines()[0].split() == ["CLONE", "UNTIL", "BY", "WHY"]
        assert call("hold", "crab-1", "--release").exit_code == 0
        assert [one["clone"] for one in json.loads(call("hold", "--json").stdout)["holds"]] == ["crab-2"]
        world.clock.sleep(5401.0)
        assert call("hold").stderr.splitlines()[-1] == "No clone is held."

    def test_a_dry_run_holds_nothing(self, call: Do, world: World) -> None:
        assert call("hold", "crab-*", "--until", "8h", "--dry-run").stdout.splitlines()[0] == (
            "crab-1: would be held until 8h"
        )
        assert world.record("crab-1").hold is None

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (("crab-1", "--until", "soon"), 2, "Time 'soon' is not understood"),
            (("crab-1", "--until", "2020-01-01"), 2, "Time '2020-01-01' is past"),
            (("crab-1", "--until", "91d"), 2, "Time '91d' is more than 90 days away"),
            (("crab-1", "--until", "1h", "--release"), 2, "--until and --release exclude each other"),
            (("--until", "1h"), 2, "No clone is named"),
            (("prawn", "--until", "1h"), 3, "No clone is named 'prawn'"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, call: Do, words: tuple[str, ...], code: int, said: str) -> None:
        outcome = call("hold", *words)
        assert outcome.exit_code == code
        assert said in outcome.stderr

    def test_one_that_another_command_works_on_is_busy(self, call: Do, world: World) -> None:
        world.locks.hold_by_other("crab-1")
        assert call("hold", "crab-1", "--until", "1h").exit_code == 4


class TestStatus:
    """`status --short` and `--watch`."""

    def test_in_one_line_only_trouble_is_named(self, call: Do) -> None:
        outcome = call("status", "--short")
        line = outcome.stdout.rstrip("\n")
        assert line.startswith("1 leaking (crab-1 in ") and line.endswith("), 1 down (crab-3), 1 ok")
        assert "\n" not in line

    def test_one_line_asks_no_guest(self, call: Do, world: World) -> None:
        before = len(world.hypervisor.commands)
        call("status", "--short")
        assert len(world.hypervisor.commands) == before

    def test_without_clones_the_line_says_so(self, call: Do, world: World) -> None:
        for name in NAMES:
            world.hypervisor.destroy(name)
            world.hypervisor.undefine(name)
        assert call("status", "--short").stdout == "no clones\n"

    def test_watching_forecasts_from_what_it_saw_itself(
        self, call: Do, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.samples.kept.clear()
        kept = dict(world.samples.kept)
        looks = iter(range(30))

        def pause(_: object, seconds: float) -> None:
            if next(looks, None) is None:
                raise KeyboardInterrupt
            world.clock.sleep(seconds)
            tells(world, "crab-1", used=6.0 + (world.clock.monotonic() % 100_000) / 600)

        monkeypatch.setattr("moltfleet.operations.watching.pause", pause)
        outcome = call("status", "--watch", "--every", "30", "--json")
        documents = [json.loads(line) for line in outcome.stdout.splitlines() if line.startswith('{"schema')]
        assert outcome.exit_code == 130
        documents = [document for document in documents if document["schema"] == "moltfleet.survey/1"]
        assert len(documents) == 31
        last = documents[-1]["clones"][0]
        assert (last["name"], last["verdict"]) == ("crab-1", "leaking")
        assert world.samples.kept == kept, "watching records nothing"

    def test_short_and_watch_exclude_each_other(self, call: Do) -> None:
        assert call("status", "--short", "--watch").exit_code == 2


def test_a_screen_is_never_wider_or_higher_than_the_terminal(world: World) -> None:
    result = survey(world.fleet, record=False, ask=Ask.NONE)
    for width, height in ((80, 24), (40, 6), (20, 3)):
        lines = screen(result, width=width, height=height).splitlines()
        assert len(lines) <= height
        assert max(len(line) for line in lines) <= width
    assert screen(result, width=200, height=4).splitlines()[-1] == "… and 5 lines more"


def test_many_of_a_kind_are_not_all_named(world: World) -> None:
    result = survey(world.fleet, record=False, ask=Ask.NONE)
    down = result.clones[2]
    many = replace(result, clones=tuple(replace(down, clone=f"crab-{number}") for number in range(9)))
    assert short_text(many) == "9 down (crab-0, crab-1, crab-2, …)"


def test_what_a_guest_says_cannot_play_with_the_terminal(world: World) -> None:
    result = survey(world.fleet, record=False, ask=Ask.NONE)
    judgement = replace(result.clones[0].judgement, reason="\x1b]0;owned\x07", evidence=("\x1b[2J",))
    text = survey_text(replace(result, clones=(replace(result.clones[0], judgement=judgement),)), why=True)
    assert all(character.isprintable() or character == "\n" for character in text)
