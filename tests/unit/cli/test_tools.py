"""`tools`: installed, compared, proven, removed, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fakes import World, a_world, ok
from moltfleet.operations.tools_archive import pack


@pytest.fixture
def world() -> World:
    return a_world(clones=("crab-1", "crab-2"))


@pytest.fixture
def do(run: Any, world: World) -> Callable[..., Any]:
    return lambda *args, **options: run(*args, build_fleet=lambda *_: world.fleet, **options)


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_installed_compared_and_removed(do: Callable[..., Any], world: World) -> None:
    version = pack(world.fleet).version
    outcome = do("tools", "install", "crab-1")
    assert outcome.exit_code == 0
    assert words(outcome.stdout)[1] == ["crab-1", "installed", "0.0", version]
    outcome = do("tools", "status")
    assert words(outcome.stdout) == [
        ["CLONE", "TOOLS", "VERSION", "DETAIL"],
        ["crab-1", "current", version],
        ["crab-2", "none", "-"],
    ]
    assert do("tools", "status", "--strict").exit_code == 4
    assert do("tools", "status", "crab-1", "--strict").exit_code == 0
    assert words(do("tools", "remove", "--all").stdout)[1:] == [
        ["crab-1", "removed", "0.0", version],
        ["crab-2", "unchanged", "0.0", "has", "no", "tools"],
    ]


def test_drift_is_shown_for_each_clone(do: Callable[..., Any], world: World) -> None:
    version = pack(world.fleet).version
    world.guest("crab-1").write("tools", "0.0.9")
    world.guest("crab-2").write("tools", version)
    world.guest("crab-2").write("tools-changed", "a b c d e")
    assert words(do("tools", "status").stdout)[1:] == [
        ["crab-1", "outdated", "0.0.9", "this", "program", "has", version],
        ["crab-2", "changed", version, "changed:", "a,", "b,", "c", "and", "2", "more"],
    ]
    first, second = json.loads(do("tools", "status", "--json").stdout)["results"]
    assert (first["state"], first["version"], first["expected"]) == ("outdated", "0.0.9", version)
    assert second["changed"] == ["a", "b", "c", "d", "e"]


def test_a_clone_that_cannot_be_asked_is_told_and_the_others_are_shown(do: Callable[..., Any], world: World) -> None:
    world.hypervisor.behave("crab-2", answers={"status --json": ok("nonsense")})
    outcome = do("tools", "status", "--json")
    assert outcome.exit_code == 1
    first, second = json.loads(outcome.stdout)["results"]
    assert (first["state"], second["state"]) == ("none", "unknown")
    assert second["error"]["code"] == "guest-failed"


def test_proofs_are_shown_with_what_happened(do: Callable[..., Any]) -> None:
    do("tools", "install", "crab-1")
    outcome = do("tools", "verify", "crab-1")
    assert outcome.exit_code == 0
    lines = outcome.stdout.splitlines()
    assert lines[0] == "crab-1"
    assert lines[3:5] == ["  ok     watchdog     0.0 s  this", "                             that"]


def test_a_failed_proof_is_exit_code_1(do: Callable[..., Any], world: World) -> None:
    do("tools", "install", "crab-1")
    answer = ok(json.dumps({"passed": False, "tried": "this", "happened": "other"}))
    world.hypervisor.behave("crab-1", answers={"proofs.py limit": answer})
    outcome = do("tools", "verify", "crab-1")
    assert outcome.exit_code == 1
    assert "  FAILED limit        0.0 s  this" in outcome.stdout
    assert "failed 1 of 7 proofs: limit" in outcome.stderr
    document = json.loads(do("tools", "verify", "crab-1", "--json").stdout)
    (result,) = document["results"]
    assert (result["passed"], result["error"]["code"]) == (False, "unproven")


def test_without_tools_verify_is_a_wrong_state(do: Callable[..., Any]) -> None:
    outcome = do("tools", "verify", "crab-1")
    assert (outcome.exit_code, outcome.stdout) == (4, "")


@pytest.mark.parametrize("act", ["install", "verify", "remove"])
def test_somebody_has_to_be_named(run: Any, act: str) -> None:
    assert run("tools", act).exit_code == 2
    assert run("tools", act, "crab-1", "--all").exit_code == 2


@pytest.mark.parametrize("act", ["install", "verify", "remove"])
def test_a_dry_run_says_what_would_be_done(do: Callable[..., Any], world: World, act: str) -> None:
    outcome = do("tools", act, "--all", "--dry-run")
    assert outcome.exit_code == 0
    assert [line.split(":")[0] for line in outcome.stdout.splitlines()] == ["crab-1", "crab-2"]
    assert world.guest("crab-1").read("tools") == ""


def test_an_unknown_clone_is_not_found(do: Callable[..., Any]) -> None:
    assert do("tools", "install", "crab-9").exit_code == 3
