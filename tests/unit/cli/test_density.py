"""`density` from the command line: its steps, its table, its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fakes import World, a_world, ok
from fakes.guesttools import stage


@pytest.fixture
def world() -> World:
    return a_world()


@pytest.fixture
def do(run: Any, world: World) -> Callable[..., Any]:
    return lambda *args, **options: run(*args, build_fleet=lambda *_: world.fleet, **options)


def test_every_criterion_passed_is_exit_code_0(do: Callable[..., Any], golden: Callable[[str, str], None]) -> None:
    outcome = do("density", "base", "--agents", "4,10")
    assert outcome.exit_code == 0
    golden("tables/density.txt", outcome.stdout)


def test_what_gave_way_is_said_and_exit_code_1(do: Callable[..., Any], world: World) -> None:
    answer = ok(json.dumps(stage(10, gave_way="processes")))
    world.hypervisor.behave("base.density", answers={"density.py 10 ": answer})
    outcome = do("density", "base", "--json")
    assert outcome.exit_code == 1
    document = json.loads(outcome.stdout)
    assert (document["gave_way"], document["gave_way_at"], document["passed"]) == ("processes", 10, False)
    assert [step["agents"] for step in document["steps"]] == [4, 5, 10]


def test_sizes_of_an_agent_can_be_given(do: Callable[..., Any]) -> None:
    sizes = ("--agent-memory", "1G", "--agent-shm", "8M", "--agent-disk", "16M", "--agent-processes", "3")
    document = json.loads(do("density", "base", "--agents", "1", *sizes, "--json").stdout)
    assert document["agent"] == {
        "memory_bytes": 1 << 30,
        "shm_bytes": 8 << 20,
        "disk_bytes": 16 << 20,
        "processes": 3,
    }


@pytest.mark.parametrize("steps", ["", "0", "4,4", "5,4", "four", "4,,5", "1,501", "-1", "٤", "1e3"])
def test_steps_that_are_none_are_refused(run: Any, steps: str) -> None:
    assert run("density", "base", "--agents", steps).exit_code == 2


def test_a_dry_run_makes_nothing(do: Callable[..., Any], world: World) -> None:
    outcome = do("density", "base", "--dry-run")
    assert outcome.exit_code == 0
    assert outcome.stdout.splitlines()[-1] == "base.density would be deleted again"
    assert set(world.hypervisor.machines) == {"base"}


def test_an_unknown_golden_is_not_found(do: Callable[..., Any]) -> None:
    assert do("density", "nothing").exit_code == 3
