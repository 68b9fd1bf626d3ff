"""`golden update` and `golden prune`: what they are asked for, what they show, and that nothing goes without a yes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes import World, a_world
from moltfleet.model.requests import BuildRequest
from moltfleet.operations import golden_build

Do = Callable[..., Any]


@pytest.fixture
def world() -> World:
    """Golden "two" with a clone, and a distribution that has something newer."""
    world = a_world()
    golden_build.build(world.fleet, BuildRequest("two", "debian-12", profile="minimal"))
    world.add_clone("crab-1", golden="two")
    world.hypervisor.behave("two.build", newer="1.7")
    return world


@pytest.fixture
def do(run: Do, world: World) -> Do:
    return lambda *args, **options: run(*args, build_fleet=lambda *_: world.fleet, **options)


def renewals(world: World) -> list[str]:
    return [command.partition("renew.py")[2] for _, command in world.hypervisor.commands if "renew.py" in command]


def test_an_update_shows_what_is_newer_and_who_is_behind(do: Do) -> None:
    outcome = do("golden", "update", "two")
    assert outcome.exit_code == 0
    first, change, *rest = outcome.stdout.splitlines()
    assert (first.split(), change.split()) == (["PACKAGE", "BEFORE", "AFTER"], ["jq", "1.6", "1.7"])
    assert rest[0] == "Golden two: generation 2 from generation 1, 1 package(s) renewed, 0 added, 0 removed."
    assert rest[-1] == "Behind it now: crab-1; moltfleet molt NAME --to latest moves a clone."


def test_an_update_as_a_document(do: Do) -> None:
    document = json.loads(do("golden", "update", "two", "--json").stdout)
    assert document["schema"] == "moltfleet.golden-update/1"
    assert (document["outcome"], document["from_generation"], document["generation"]) == ("updated", 1, 2)
    assert document["packages"] == [{"name": "jq", "before": "1.6", "after": "1.7"}]
    assert (document["golden"]["generations"], document["behind"]) == ([1, 2], ["crab-1"])


def test_an_update_without_anything_new_says_so(do: Do, world: World) -> None:
    world.hypervisor.behave("two.build", newer="")
    outcome = do("golden", "update", "two")
    assert (outcome.exit_code, outcome.stdout) == (
        0,
        "Golden two has nothing new: generation 1 stays the newest.\n",
    )


@pytest.mark.parametrize(
    ("options", "asked"),
    [((), " --packages --clis"), (("--quick",), " --clis"), (("--packages",), " --packages")],
)
def test_options_say_what_is_renewed(do: Do, world: World, options: tuple[str, ...], asked: str) -> None:
    assert do("golden", "update", "two", *options).exit_code == 0
    assert renewals(world) == [asked]


def test_quick_and_packages_exclude_each_other(do: Do, world: World) -> None:
    outcome = do("golden", "update", "two", "--quick", "--packages")
    assert outcome.exit_code == 2
    assert "--packages and --quick exclude each other" in outcome.stderr
    assert renewals(world) == []


def test_files_go_on_top_and_a_missing_one_is_named(do: Do, tmp_path: Path) -> None:
    script = tmp_path / "harden.sh"
    script.write_text("#!/bin/sh\n")
    assert do("golden", "update", "two", "--script", str(script)).exit_code == 0
    manifest = json.loads(do("golden", "show", "two", "--json").stdout)["manifest"]
    assert (manifest["updated_from"], manifest["update_scripts"]) == (1, ["harden.sh"])
    outcome = do("golden", "update", "two", "--user-data", str(tmp_path / "none.yaml"))
    assert (outcome.exit_code, outcome.stdout) == (2, "")


def test_a_dry_run_changes_nothing(do: Do, world: World) -> None:
    before = world.storage.names()
    outcome = do("golden", "update", "two", "--dry-run")
    assert outcome.stdout.splitlines()[0] == "two: generation 2 from generation 1"
    assert world.storage.names() == before


def test_an_unknown_golden_is_not_found(do: Do) -> None:
    for command in ("update", "prune"):
        outcome = do("golden", command, "tow")
        assert (outcome.exit_code, outcome.stdout) == (3, "")
        assert outcome.stderr.startswith("Error: No golden is named 'tow'")


@pytest.fixture
def spare(do: Do, world: World) -> World:
    """Generation 2 has nobody."""
    do("golden", "update", "two")
    world.hypervisor.behave("two.build", newer="1.8")
    do("golden", "update", "two")
    return world


def test_nothing_is_pruned_without_a_yes(do: Do, spare: World) -> None:
    outcome = do("golden", "prune")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "Add --yes" in outcome.stderr
    asked = do("golden", "prune", interactive=True, input="n\n")
    assert asked.exit_code == 1
    assert "two: would delete generation 2 of " in asked.stderr
    assert "two.g2.qcow2" in spare.storage.names()


def test_pruning_tells_what_it_gave_back(do: Do, spare: World) -> None:
    document = json.loads(do("golden", "prune", "--yes", "--json").stdout)
    assert [(one["golden"], one["generation"]) for one in document["pruned"]] == [("two", 2)]
    assert document["allocation_bytes"] == sum(one["allocation_bytes"] for one in document["pruned"]) > 0
    assert "two.g2.qcow2" not in spare.storage.names()


def test_with_nothing_to_prune_nobody_is_asked(do: Do, world: World) -> None:
    outcome = do("golden", "prune")
    assert (outcome.exit_code, outcome.stdout) == (
        0,
        "Nothing to prune: every generation is the newest of its golden, or in use.\n",
    )


def test_a_pruning_is_shown_first_by_a_dry_run(do: Do, spare: World) -> None:
    outcome = do("golden", "prune", "two", "--dry-run")
    assert outcome.stdout.splitlines()[0].startswith("two: would delete generation 2 of ")
    assert "two.g2.qcow2" in spare.storage.names()


def test_list_and_golden_list_show_who_is_behind(do: Do, spare: World) -> None:
    assert "two g1 < g3" in do("list").stdout
    assert "1 (1 behind)" in do("golden", "list").stdout
    assert "moltfleet molt crab-1 --to latest" in do("status", "crab-1").stdout


def test_molt_to_latest_moves_a_clone_and_says_so(do: Do, world: World) -> None:
    do("golden", "update", "two")
    document = json.loads(do("molt", "crab-1", "--to", "latest", "--yes", "--json").stdout)
    (result,) = document["results"]
    assert (result["outcome"], result["mode"], result["reason"]) == ("molted", "cold", "moved from g1 to g2 of two")
    back = do("molt", "crab-1", "--to", "g1", "--keep=new", "--yes")
    assert back.exit_code == 0
    assert "moved from g2 to g1 of two" in back.stdout
    assert world.record("crab-1").kept[0].label == "new"


def test_molt_to_a_generation_that_is_not_there_is_exit_3(do: Do) -> None:
    outcome = do("molt", "crab-1", "--to", "9", "--yes")
    assert outcome.exit_code == 3
    assert "Error: No generation of golden 'two' is named 'g9'\nHint: There are: g1.\n" in outcome.stderr


@pytest.mark.parametrize("word", ["newest", "0", "g0", "-1", "g", "1.5", "2g", "9999999999"])
def test_molt_to_what_is_no_generation_is_a_mistake_of_usage(do: Do, world: World, word: str) -> None:
    outcome = do("molt", "crab-1", "--to", word, "--yes")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "neither 'latest' nor a generation such as g2" in outcome.stderr
    assert world.record("crab-1").generation == 1


def test_a_dry_run_of_a_move_tells_the_way(do: Do) -> None:
    do("golden", "update", "two")
    outcome = do("molt", "--all", "--to", "latest", "--dry-run")
    assert outcome.stdout.startswith("crab-1: would be moved from g1 to g2 of two")
