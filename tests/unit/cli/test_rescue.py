"""`rescue` on a host in memory: what it asks, what it shows, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fakes import World, a_world, failed, ok
from fakes.rescued import MANIFEST, SAVED
from moltfleet.model.rescue import Outcome, SavedRescue

Do = Callable[..., Any]
HEAD = "2d7733727cb827ea02f3811971f0769a846f9257"
REPOSITORY = f"repository\0/w/app\0work\0{HEAD}\0refs/heads/main\0" + "0\0" * 2 + "1\0" + "0\0" * 2 + "\0"


def saved(clone: str, label: str) -> SavedRescue:
    directory = SAVED.directory.parent.parent / clone / label
    return replace(SAVED, clone=clone, label=label, directory=directory, manifest=replace(MANIFEST, clone=clone))


@pytest.fixture
def world() -> World:
    """crab-1, which has work, and crab-2, which does not answer; the clock says 2026-11-20."""
    world = a_world(clones=("crab-1", "crab-2"))
    answers = {"rescue look": ok(f"{REPOSITORY}end\0"), "rescue staged": ok("patch")}
    world.hypervisor.behave("crab-1", answers=answers)
    world.hypervisor.behave("crab-2", answers={"rescue look": failed("", 124)})
    return world


@pytest.fixture
def do(run: Callable[..., Any], world: World) -> Do:
    return lambda *args, **options: run("-q", *args, build_fleet=lambda *_: world.fleet, **options)


@pytest.mark.parametrize("words", [("crab-1",), ("take", "crab-1")])
def test_the_word_take_may_be_left_out(do: Do, words: tuple[str, ...]) -> None:
    outcome = do("rescue", *words, "--json")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    (result,) = json.loads(outcome.stdout)["results"]
    assert (result["clone"], result["outcome"], result["size_bytes"]) == ("crab-1", "rescued", 5)
    assert result["directory"].startswith("/rescued/crab-1/20261120T")


def test_options_may_stand_before_the_name(do: Do, world: World) -> None:
    outcome = do("rescue", "--dry-run", "--all")
    assert (outcome.exit_code, len(outcome.stdout.splitlines())) == (0, 2)
    assert world.rescues.all == []


def test_a_clone_that_does_not_answer_is_told_and_the_other_is_rescued(do: Do) -> None:
    outcome = do("rescue", "crab-*")
    assert outcome.exit_code == 1
    first, second = (line.split()[:2] for line in outcome.stdout.splitlines()[1:])
    assert (first, second) == (["crab-1", "rescued"], ["crab-2", "unreachable"])
    assert "Guest does not tell what work it has" in outcome.stderr


def test_one_clone_that_does_not_answer_has_its_own_exit_code(do: Do) -> None:
    assert do("rescue", "crab-2").exit_code == 7
    assert do("rescue", "crab-9").exit_code == 3
    assert do("rescue", "take").exit_code == 2


def test_nothing_rescued_is_nothing_on_standard_output(do: Do) -> None:
    assert do("rescue", "list").stdout == ""
    assert json.loads(do("rescue", "list", "--json").stdout)["rescues"] == []
    assert do("rescue", "list", "crab-9").exit_code == 3


def test_rescues_are_listed_also_of_clones_that_are_no_more(do: Do, world: World) -> None:
    world.rescues.all += [saved("gone-1", "20261019T031500Z"), saved("crab-1", "20261119T031500Z")]
    assert [line.split()[0] for line in do("rescue", "list").stdout.splitlines()[1:]] == ["gone-1", "crab-1"]
    (found,) = json.loads(do("rescue", "list", "gone-*", "--json").stdout)["rescues"]
    assert (found["date"], found["outcome"], found["reason"]) == ("20261019T031500Z", "partly", "molt")


def test_the_newest_is_shown_or_the_one_that_is_named(do: Do, world: World) -> None:
    world.rescues.all += [saved("crab-1", "20261118T031500Z"), saved("crab-1", "20261119T031500Z")]
    assert do("rescue", "show", "crab-1").stdout.startswith("crab-1, 20261119T031500Z: partly\n")
    assert do("rescue", "show", "crab-1", "20261118T031500Z").stdout.startswith("crab-1, 20261118T031500Z")
    assert do("rescue", "show", "crab-1").exit_code == 0
    assert do("rescue", "show", "crab-1", "20261101T031500Z").exit_code == 3
    assert do("rescue", "show", "crab-1", "../../etc").exit_code == 2
    missing = do("rescue", "show", "crab-2")
    assert (missing.exit_code, "No rescued clone is named 'crab-2'" in missing.stderr) == (3, True)


def test_a_rescue_that_was_changed_is_shown_and_fails(do: Do, world: World) -> None:
    world.rescues.all.append(saved("crab-1", "20261119T031500Z"))
    world.rescues.flaws = ("repository-1/staged.patch has changed",)
    outcome = do("rescue", "show", "crab-1")
    assert outcome.exit_code == 7
    assert "repository-1/staged.patch has changed" in outcome.stdout
    assert "is not as it was stored" in outcome.stderr
    assert json.loads(do("rescue", "show", "crab-1", "--json").stdout)["flaws"] == list(world.rescues.flaws)


OLD = ("20260901T031500Z", "20261001T031500Z", "20261118T031500Z", "20261119T031500Z")


def test_prune_asks_and_deletes_what_is_old_but_the_newest(do: Do, world: World) -> None:
    world.rescues.all += [saved("crab-1", label) for label in OLD] + [saved("gone-1", OLD[0])]
    assert do("rescue", "prune").exit_code == 2
    assert len(world.rescues.all) == 5
    planned = do("rescue", "prune", "--dry-run").stdout.splitlines()
    assert [line.split()[2] for line in planned] == [f"/rescued/crab-1/{label}" for label in OLD[:2]]
    assert do("rescue", "prune", interactive=True, input="n\n").exit_code == 1
    outcome = do("rescue", "prune", "--yes", "--json")
    assert [gone["date"] for gone in json.loads(outcome.stdout)["rescues"]] == list(OLD[:2])
    assert [(left.clone, left.label) for left in world.rescues.all] == [
        ("crab-1", OLD[2]), ("crab-1", OLD[3]), ("gone-1", OLD[0])
    ]  # fmt: skip


def test_prune_keeps_as_many_as_asked_and_takes_what_was_interrupted(do: Do, world: World) -> None:
    world.rescues.all += [saved("crab-1", label) for label in OLD]
    world.rescues.all.append(replace(saved("crab-2", "20261120T031500Z"), manifest=None))
    assert do("rescue", "prune", "crab-*", "--older-than", "0", "--keep", "3", "--yes").exit_code == 0
    assert [left.label for left in world.rescues.all] == list(OLD[1:])
    assert do("rescue", "prune", "--yes", "--older-than", "0", "--keep", "0").exit_code == 0
    assert world.rescues.all == []
    nothing = do("rescue", "prune")
    assert (nothing.exit_code, nothing.stdout) == (0, "")


def test_a_molt_says_what_was_rescued(do: Do, world: World) -> None:
    outcome = do("molt", "crab-1", "--rescue", "--yes", "--json")
    (result,) = json.loads(outcome.stdout)["results"]
    (stored,) = world.rescues.all
    assert result["rescue"] == {"outcome": "rescued", "directory": str(stored.directory)}
    assert result["kept"] is None


def test_a_molt_of_a_clone_that_does_not_answer_keeps_its_layer(do: Do, world: World) -> None:
    outcome = do("molt", "crab-2", "--rescue", "--yes", "--json")
    (result,) = json.loads(outcome.stdout)["results"]
    assert (outcome.exit_code, result["outcome"]) == (0, "molted")
    assert result["rescue"] == {"outcome": str(Outcome.UNREACHABLE), "directory": None}
    assert [layer.label for layer in world.record("crab-2").kept] == [result["kept"]]


@pytest.mark.parametrize(
    ("before_molt", "flag", "expected"), [(True, (), True), (True, ("--no-rescue",), False), (False, (), False)]
)
def test_the_config_says_whether_a_molt_rescues(
    run: Callable[..., Any], world: World, tmp_path: Any, before_molt: bool, flag: tuple[str, ...], expected: bool
) -> None:
    file = tmp_path / "moltfleet.toml"
    file.write_text(f"[rescue]\nbefore_molt = {str(before_molt).lower()}\n")
    run("-q", "--config", str(file), "molt", "crab-1", "--yes", *flag, build_fleet=lambda *_: world.fleet)
    assert bool(world.rescues.all) is expected
