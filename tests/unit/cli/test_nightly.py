"""`moltfleet nightly`, and what `list` tells of the last night: exit codes and output."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import World
from fakes.leakynight import a_leaky_world
from moltfleet.config import Config
from moltfleet.model import nightly
from moltfleet.model.ports import Progress
from moltfleet.operations.fleet import Fleet
from moltfleet.operations.nights import LOCK

from .conftest import Outcome, Run


@pytest.fixture
def world() -> World:
    return a_leaky_world()


@pytest.fixture
def do(run: Run, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Outcome]:
    monkeypatch.setenv("TZ", "UTC")

    def build(config: Config, uri: str, progress: Progress) -> Fleet:
        return replace(world.fleet, progress=progress)

    def invoke(*words: str, settings: str = "") -> Outcome:
        (tmp_path / "settings.toml").write_text(settings)
        return run("--config", str(tmp_path / "settings.toml"), *words, build_fleet=build)

    return invoke


def test_a_night_shows_its_report_and_where_it_lies(do: Callable[..., Outcome]) -> None:
    outcome = do("nightly", "--yes")
    assert outcome.exit_code == 0
    assert outcome.stdout.startswith("# The night of 2026-11-20T12:00:18Z went well: 1 left alone, 2 molted\n")
    assert outcome.stderr.endswith("Report: /state/nights/2026-11-20T12:00:18Z.md\n")
    assert do("nightly", "--report").stdout == outcome.stdout


def test_it_asks_first_and_changes_nothing_without_an_answer(do: Callable[..., Outcome], world: World) -> None:
    outcome = do("nightly")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert world.nights.all() == ()


def test_a_dry_run_says_what_would_be_done_with_each_clone(do: Callable[..., Outcome], world: World) -> None:
    outcome = do("nightly", "--dry-run", "--all", "--most", "2")
    assert outcome.stdout.splitlines() == [
        "fast: molt, critical: 97 % are in use",
        "slow: molt, critical: 96 % are in use",
        "rests: leave, ok: this night molts every clone that nobody works in; but this night molts at most 2",
    ]
    assert world.nights.all() == ()


def test_the_config_says_what_is_molted_and_options_win(do: Callable[..., Outcome]) -> None:
    settings = '[nightly]\nmolt = "none"\nhours = 2\n'
    document = json.loads(do("nightly", "--yes", "--json", settings=settings).stdout)
    assert (document["schema"], document["molts"], document["outcome"]) == ("moltfleet.nightly/1", "none", "ok")
    assert document["deadline_at"] == "2026-11-20T14:00:18Z"
    assert {clone["state"] for clone in document["clones"]} == {"left"}


def test_a_night_that_fails_exits_with_1_and_a_late_one_with_6(
    do: Callable[..., Outcome], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.hypervisor.behave("fast", needs="nothing that a molt brings")
    outcome = do("nightly", "--yes")
    assert outcome.exit_code == 1
    assert "## What went wrong\n\n- fast: " in outcome.stdout
    night = world.nights.latest()
    assert night is not None
    late_one = replace(night, outcome=nightly.Outcome.LATE)
    monkeypatch.setattr("moltfleet.operations.nightly.run_night", lambda *_, **__: late_one)
    late = do("nightly", "--yes")
    assert late.exit_code == 6
    assert "reached its deadline before its end" in late.stdout


def test_another_night_under_way_is_told_and_exits_with_4(do: Callable[..., Outcome], world: World) -> None:
    world.locks.hold_by_other(LOCK, verb="nightly")
    outcome = do("nightly", "--yes")
    assert outcome.exit_code == 4
    assert "Hint: How far it is: moltfleet nightly --report\n" in outcome.stderr


def test_without_a_night_there_is_no_report(do: Callable[..., Outcome]) -> None:
    outcome = do("nightly", "--report")
    assert (outcome.exit_code, outcome.stdout) == (3, "")
    assert "Hint: moltfleet nightly" in outcome.stderr


def test_list_says_when_the_last_night_was(do: Callable[..., Outcome], world: World) -> None:
    assert json.loads(do("list", "--json").stdout)["last_night"] is None
    assert "Last night" not in do("list").stderr
    do("nightly", "--yes")
    assert do("list").stderr == "Last night: 2026-11-20 12:00, ok\n"
    document = json.loads(do("list", "--json").stdout)
    assert (document["last_night"]["outcome"], document["last_night"]["ended_at"]) == ("ok", "2026-11-20T12:00:18Z")


def test_list_says_that_the_last_night_was_interrupted(do: Callable[..., Outcome], world: World) -> None:
    do("nightly", "--yes")
    night = world.nights.latest()
    assert night is not None
    world.nights.write(replace(night, outcome=nightly.Outcome.RUNNING, ended_at=None))
    assert do("list").stderr.startswith("Last night: 2026-11-20 12:00, interrupted; report: /state/nights/")
    assert "was interrupted" in do("nightly", "--report").stdout.splitlines()[0]


@pytest.mark.parametrize("settings", ['molt = "some"', "hours = 0", "most = -1", 'webhook = "ftp://x"', "nights = 3"])
def test_settings_that_cannot_be_meant_are_refused(do: Callable[..., Outcome], settings: str) -> None:
    outcome = do("nightly", "--yes", settings=f"[nightly]\n{settings}\n")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "settings.toml:2: " in outcome.stderr


def test_a_survey_that_records_tells_that_a_night_was_missed(do: Callable[..., Outcome], world: World) -> None:
    do("nightly", "--yes")
    world.clock.sleep(27 * 3600)
    assert "No night has begun" not in do("survey").stderr
    assert "Warning: No night has begun since 2026-11-20T12:00:18Z\n" in do("survey", "--record").stderr
    assert "No night has begun" not in do("survey", "--record").stderr
