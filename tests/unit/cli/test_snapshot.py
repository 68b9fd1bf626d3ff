"""`snapshot`, `pre-run` and `post-run`: what they ask, what they show, and how they end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from fakes import World, a_world
from moltfleet.operations import snapshots

Do = Callable[..., Any]


@pytest.fixture
def world() -> World:
    """crab-1 with snapshot "noon" of work of the morning, and work of the evening on top."""
    world = a_world(clones=("crab-1",))
    world.guest("crab-1").write("work", "of the morning")
    snapshots.create(world.fleet, "crab-1", "noon")
    world.guest("crab-1").write("work", "of the evening")
    return world


@pytest.fixture
def do(run: Do, world: World) -> Do:
    return lambda *args, **options: run(*args, build_fleet=lambda *_: world.fleet, **options)


def work(world: World) -> str:
    return world.guest("crab-1").read("work")


def listed(do: Do) -> list[str]:
    return [snapshot["name"] for snapshot in json.loads(do("snapshot", "list", "--json").stdout)["snapshots"]]


def test_snapshots_are_listed(do: Do) -> None:
    header, row = (re.sub(r" {2,}", " | ", line) for line in do("snapshot", "list").stdout.splitlines())
    assert header == "CLONE | SNAPSHOT | TAKEN | DISK | BELOW"
    assert re.fullmatch(r"crab-1 \| noon \| 2026-11-20T10:..:..Z \| \S+ KiB \| yes", row)
    document = json.loads(do("snapshot", "list", "crab-*", "--json").stdout)
    assert document["chains"] == [{"clone": "crab-1", "layers": 3, "is_long": False}]
    assert do("snapshot", "list", "crab-9").exit_code == 3


def test_a_snapshot_says_how_to_go_back_to_it(do: Do, world: World) -> None:
    outcome = do("snapshot", "create", "crab-1", "evening")
    assert (outcome.exit_code, outcome.stdout) == (
        0,
        "Snapshot evening of crab-1 is taken; moltfleet post-run crab-1 --to evening goes back to it.\n",
    )
    assert listed(do) == ["noon", "evening"]
    again = do("snapshot", "create", "crab-1", "evening")
    assert (again.exit_code, again.stdout) == (4, "")
    assert again.stderr.startswith("Error: A snapshot of 'crab-1' is already called 'evening'\n")


def test_before_a_run_a_snapshot_is_named_after_the_moment(do: Do) -> None:
    document = json.loads(do("pre-run", "crab-1", "--json").stdout)
    assert document["schema"] == "moltfleet.pre-run/1"
    assert document["snapshot"]["name"].startswith("pre-run-2026-11-20t10")
    assert document["chain"] == {"clone": "crab-1", "layers": 4, "is_long": False}


def test_a_guest_without_agent_needs_offline(do: Do, world: World) -> None:
    world.hypervisor.behave("crab-1", has_agent=False)
    refused = do("pre-run", "crab-1")
    assert refused.exit_code == 4
    assert "--offline shuts the guest down for it" in refused.stderr
    assert do("pre-run", "crab-1", "--offline").exit_code == 0


@pytest.mark.parametrize("command", [("snapshot", "revert", "crab-1", "noon"), ("post-run", "crab-1", "--to", "noon")])
def test_going_back_asks_first(do: Do, world: World, command: tuple[str, ...]) -> None:
    assert do(*command).exit_code == 2
    declined = do(*command, interactive=True, input="n\n")
    assert declined.exit_code == 1
    assert "crab-1: would boot from snapshot 'noon' of " in declined.stderr
    assert work(world) == "of the evening"
    outcome = do(*command, "--yes")
    assert outcome.exit_code == 0
    assert work(world) == "of the morning"
    assert [word for word in outcome.stdout.split() if word == "reverted"] == ["reverted"]


def test_after_a_run_a_clone_is_back_at_its_clean_point(do: Do, world: World) -> None:
    assert do("post-run", "crab-1").exit_code == 2
    document = json.loads(do("post-run", "crab-1", "--yes", "--json").stdout)
    assert document["schema"] == "moltfleet.post-run/1"
    (result,) = document["results"]
    assert (result["outcome"], result["mode"]) == ("molted", "warm")
    assert (work(world), listed(do)) == ("", ["noon"])
    assert do("undo", "crab-1").exit_code == 0
    assert work(world) == "of the evening"


def test_what_a_run_left_can_be_kept(do: Do, world: World) -> None:
    (result,) = json.loads(do("post-run", "crab-1", "--to", "noon", "--keep=evening", "--yes", "--json").stdout)[
        "results"
    ]
    assert result["kept"] == "evening"
    assert do("kept", "restore", "crab-1", "evening").exit_code == 0
    assert work(world) == "of the evening"


def test_an_unknown_snapshot_is_told_with_those_that_are_there(do: Do) -> None:
    for command in (
        ("snapshot", "revert", "crab-1", "dawn", "--yes"),
        ("snapshot", "delete", "crab-1", "dawn", "--yes"),
    ):
        outcome = do(*command)
        assert outcome.exit_code == 3
        assert "Error: No snapshot of clone 'crab-1' is named 'dawn'\nHint: There are: noon.\n" in outcome.stderr


def test_a_snapshot_is_deleted_after_a_yes(do: Do, world: World) -> None:
    assert do("snapshot", "delete", "crab-1", "noon").exit_code == 2
    outcome = do("snapshot", "delete", "crab-1", "noon", "--yes")
    assert (outcome.exit_code, outcome.stdout) == (0, "Deleted snapshot noon of crab-1.\n")
    assert listed(do) == []
    assert "There are no snapshots" in do("snapshot", "list").stderr


def test_a_long_chain_is_told_by_list_and_made_short(do: Do, world: World) -> None:
    for number in range(8):
        assert do("snapshot", "create", "crab-1", f"hour-{number}").exit_code == 0
    told = do("snapshot", "list").stderr
    assert "Clone 'crab-1' stands on 11 layers of its own" in told
    assert "moltfleet snapshot flatten crab-1" in told
    (result,) = json.loads(do("snapshot", "flatten", "crab-1", "--json").stdout)["results"]
    assert (result["outcome"], result["mode"]) == ("flattened", "cold")
    assert work(world) == "of the evening"
    assert do("snapshot", "list").stderr == ""


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (("snapshot", "create", "crab-1", "x"), "as 'x', while it runs"),
        (("snapshot", "create", "crab-1", "x", "--offline"), "as 'x', with a boot in between"),
        (("pre-run", "crab-1"), "would freeze crab-1.2.qcow2 as 'pre-run-"),
        (("snapshot", "revert", "crab-1", "noon"), "would stay for undo"),
        (("post-run", "crab-1", "--to", "noon", "--keep=a"), "would be kept"),
        (("post-run", "crab-1"), "warm molt to its clean point"),
        (("snapshot", "delete", "crab-1", "noon"), "its layer stays for what stands on it"),
        (("snapshot", "flatten", "crab-1"), "copy its 3 layers and its golden into one"),
    ],
)
def test_a_dry_run_changes_nothing(do: Do, world: World, command: tuple[str, ...], line: str) -> None:
    before, volumes = world.record("crab-1"), world.storage.names()
    outcome = do(*command, "--dry-run")
    assert outcome.exit_code == 0
    assert line in outcome.stdout
    assert (world.record("crab-1"), world.storage.names()) == (before, volumes)
