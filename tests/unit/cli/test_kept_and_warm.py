"""`kept` and `warm` on a host in memory: what they ask, what they show, and how they end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from fakes import World, a_world
from moltfleet.cli.app import app
from moltfleet.cli.invocation import Invocation
from moltfleet.model.requests import MoltRequest
from moltfleet.operations import molt

Do = Callable[..., Any]


@pytest.fixture
def world() -> World:
    """crab-1 with a kept layer "monday" and the work of Tuesday, and crab-2, which is cold."""
    world = a_world(clones=("crab-1",))
    world.add_clone("crab-2", warm=False)
    world.guest("crab-1").write("work", "of monday")
    molt.molt(world.fleet, ["crab-1"], MoltRequest(keep="monday"))
    world.guest("crab-1").write("work", "of tuesday")
    return world


@pytest.fixture
def do(run: Callable[..., Any], world: World) -> Do:
    return lambda *args, **options: run("-q", *args, build_fleet=lambda *_: world.fleet, **options)


def squeezed(text: str) -> list[str]:
    return [re.sub(r" {2,}", " | ", line.strip()) for line in text.splitlines()]


def test_what_was_kept_is_listed(do: Do) -> None:
    outcome = do("kept", "list")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    header, row = squeezed(outcome.stdout)
    assert header == "CLONE | LABEL | KEPT | DISK"
    assert re.fullmatch(r"crab-1 \| monday \| 2026-11-20T10:..:..Z \| \S+ KiB", row)
    (kept,) = json.loads(do("kept", "list", "crab-*", "--json").stdout)["kept"]
    assert (kept["clone"], kept["label"], kept["allocation_bytes"] > 0) == ("crab-1", "monday", True)


def test_nothing_kept_is_nothing_on_standard_output(do: Do) -> None:
    outcome = do("kept", "list", "crab-2", "--json")
    assert json.loads(outcome.stdout) == {"schema": "moltfleet.kept-list/1", "kept": []}
    assert do("kept", "list", "crab-2").stdout == ""
    assert do("kept", "list", "crab-9").exit_code == 3


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("kept", "restore", "crab-1", "monday"), "crab-1: would boot from crab-1.1.qcow2, kept as 'monday'"),
        (("kept", "delete", "crab-1", "monday"), "crab-1: would delete crab-1.1.qcow2, kept as 'monday' since 2026"),
        (("warm", "--all"), "crab-1: is warm already\ncrab-2: would boot from its clean disk and be saved"),
        (("warm", "crab-1", "--from-now"), "crab-1: its present state would become its clean point"),
    ],
)
def test_a_dry_run_tells_and_changes_nothing(do: Do, world: World, args: tuple[str, ...], line: str) -> None:
    before = world.hypervisor.domains(), world.storage.names()
    outcome = do(*args, "--dry-run")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith(line)
    assert (world.hypervisor.domains(), world.storage.names()) == before


def test_a_kept_state_is_restored_without_a_question(do: Do, world: World) -> None:
    outcome = do("kept", "restore", "crab-1", "monday", "--json")
    assert outcome.exit_code == 0
    document = json.loads(outcome.stdout)
    (result,) = document["results"]
    assert document["schema"] == "moltfleet.kept-restore/1"
    assert (result["clone"], result["outcome"], result["mode"], result["kept"]) == (
        "crab-1",
        "restored",
        "cold",
        "monday",
    )
    assert world.guest("crab-1").read("work") == "of monday"


@pytest.mark.parametrize("command", ["restore", "delete"])
def test_a_label_that_is_not_there_is_exit_3_with_those_that_are(do: Do, command: str) -> None:
    outcome = do("kept", command, "crab-1", "friday", "--yes")
    assert outcome.exit_code == 3
    assert outcome.stderr == "Error: No kept layer of clone 'crab-1' is named 'friday'\nHint: There are: monday.\n"


def test_a_kept_state_is_deleted_only_after_a_yes(do: Do, world: World) -> None:
    args = ("kept", "delete", "crab-1", "monday")
    unasked = do(*args)
    assert (unasked.exit_code, unasked.stdout) == (2, "")
    refused = do(*args, interactive=True, input="n\n")
    assert (refused.exit_code, "crab-1: would delete" in refused.stderr) == (1, True)
    assert "crab-1.1.qcow2" in world.storage.names()
    agreed = do(*args, interactive=True, input="y\n")
    assert (agreed.exit_code, agreed.stdout) == (0, "Deleted monday, kept of crab-1.\n")
    assert "crab-1.1.qcow2" not in world.storage.names()
    assert world.guest("crab-1").read("work") == "of tuesday"


def test_a_deletion_as_json_names_what_is_gone(do: Do) -> None:
    outcome = do("kept", "delete", "crab-1", "monday", "--yes", "--json")
    document = {"schema": "moltfleet.kept-delete/1", "clone": "crab-1", "label": "monday"}
    assert (outcome.exit_code, json.loads(outcome.stdout)) == (0, document)


def test_warming_is_done_only_after_a_yes(do: Do, world: World) -> None:
    assert do("warm", "--all").exit_code == 2
    refused = do("warm", "crab-1", "--from-now", interactive=True, input="n\n")
    assert refused.exit_code == 1
    assert "crab-1: its present state would become its clean point\n" in refused.stderr
    assert world.guest("crab-1").read("work") == "of tuesday"


def test_warming_all_leaves_those_alone_that_are_warm(do: Do) -> None:
    outcome = do("warm", "--all", "--yes")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert [row.split(" | ")[:2] for row in squeezed(outcome.stdout)[1:]] == [
        ["crab-1", "unchanged"],
        ["crab-2", "warmed"],
    ]
    assert json.loads(do("warm", "--all", "--yes", "--json").stdout)["schema"] == "moltfleet.warm/1"


def test_warming_a_stopped_clone_from_now_is_exit_4_with_the_way_out(do: Do, world: World) -> None:
    world.hypervisor.destroy("crab-1")
    outcome = do("warm", "crab-1", "--from-now", "--yes")
    assert outcome.exit_code == 4
    assert outcome.stderr == "Error: Clone 'crab-1' is not running\nHint: Start it: moltfleet start crab-1\n"


def test_warm_needs_names_or_all(do: Do) -> None:
    assert do("warm", "--yes").exit_code == 2
    assert do("warm", "crab-1", "--all", "--yes").exit_code == 2


def test_the_status_of_a_stale_clone_says_what_changed_and_the_list_keeps_its_shape(do: Do, world: World) -> None:
    world.hypervisor.kernel = "7.0"
    assert "molt | stale (changed since the clean point: kernel)" in squeezed(do("status", "crab-1").stdout)
    (status,) = json.loads(do("status", "crab-1", "--json").stdout)["clones"]
    assert (status["warm"], status["stale_reason"]) == ("stale", "changed since the clean point: kernel")
    (cold,) = json.loads(do("status", "crab-2", "--json").stdout)["clones"]
    assert (cold["warm"], cold["stale_reason"]) == ("cold", None)
    assert "stale_reason" not in json.loads(do("list", "--json").stdout)["clones"][0]


@pytest.mark.parametrize("command", ["restore", "delete"])
def test_labels_of_the_named_clone_are_completed(world: World, command: str) -> None:
    from click.shell_completion import ShellComplete

    invocation = Invocation(build_fleet=lambda *_: world.fleet, environment={})
    form = ShellComplete(app, {"obj": invocation}, "moltfleet", "_MOLTFLEET_COMPLETE")
    for words, expected in ((["crab-1"], ["monday"]), (["crab-2"], []), ([], ["crab-1", "crab-2"])):
        assert [item.value for item in form.get_completions(["kept", command, *words], "")] == expected
