"""`--force` and `--wait-for-room`, and what a refusal looks like from outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from fakes import World, a_calm_host, a_world
from moltfleet.model.size import Size


@pytest.fixture
def world() -> World:
    """A host with room for one clone of 2 GiB, and two that were never started."""
    made = a_world()
    for name in ("crab-1", "crab-2"):
        made.add_clone(name, start=False)
    total = Size.of_gib(13)
    made.meter.load = replace(a_calm_host(), total=total, available=total)
    return made


@pytest.fixture
def do(run, world: World) -> Callable:
    """Run a command line on that host."""
    return lambda *args, **options: run(*args, build_fleet=lambda *_: world.fleet, **options)


REFUSAL = (
    "No room for 'crab-2' (2 GiB), rule committed: 1 active domain 2.25 GiB (memory and QEMU's own, libvirt)"
    " + 0.00 GiB reserved for starts + 2.25 GiB for this clone = 4.50 GiB; limit 3.00 GiB ="
    " 13.00 GiB (/proc/meminfo) - 10.00 GiB reserve (default): 1.5 GiB short"
)
HINT = (
    "The largest clone that fits now has 512 MiB. moltfleet make-room 2048M makes room; --wait-for-room waits,"
    ' --force "REASON" goes past it.'
)


def test_a_refused_start_prints_the_arithmetic_and_what_would_fit_and_leaves_with_5(do):
    assert do("start", "crab-1", "-q").exit_code == 0
    outcome = do("start", "crab-2")
    assert outcome.exit_code == 5
    assert outcome.stdout == "CLONE    OUTCOME      SECONDS  DETAIL\ncrab-2   failed           0.0\n"
    assert outcome.stderr == f"Error: {REFUSAL}\nHint: {HINT}\n"


def test_a_refused_start_is_json_too(do):
    do("start", "crab-1")
    outcome = do("start", "crab-2", "--json")
    assert outcome.exit_code == 5
    (result,) = json.loads(outcome.stdout)["results"]
    assert (result["outcome"], result["detail"]) == ("failed", REFUSAL)
    assert result["error"] == {"code": "no-room", "brief": REFUSAL, "hint": HINT}


def test_of_several_starts_those_that_fit_are_there_and_the_code_is_1(do):
    outcome = do("start", "--all", "--json")
    assert outcome.exit_code == 1
    assert [result["outcome"] for result in json.loads(outcome.stdout)["results"]] == ["started", "failed"]


def test_a_reason_forces_it_and_stands_in_the_record(do, world):
    do("start", "crab-1")
    outcome = do("start", "crab-2", "--force", "a demo")
    assert outcome.exit_code == 0
    assert world.record("crab-2").forced.reason == "a demo"


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201])
@pytest.mark.parametrize(
    "command", [("start", "crab-1"), ("molt", "crab-1"), ("undo", "crab-1"), ("create", "base"), ("warm", "crab-1")]
)
def test_force_needs_a_reason_that_can_be_read(run, command, reason):
    outcome = run(*command, "--force", reason)
    assert outcome.exit_code == 2
    assert "'--force': " in outcome.stderr and "reason" in outcome.stderr


def test_a_reason_cannot_drive_a_terminal(do, world):
    do("start", "crab-1")
    do("start", "crab-2", "--force", "\x1b[2Jred")
    assert world.record("crab-2").forced.reason == "?[2Jred"


def test_a_name_after_wait_for_room_is_not_taken_for_seconds(run):
    outcome = run("start", "--wait-for-room", "crab-1")
    assert outcome.exit_code == 2
    assert "'crab-1' is not a number of seconds; write --wait-for-room=SECONDS, or give it last" in outcome.stderr


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "1e99", "ten"])
def test_seconds_that_are_none_are_refused(run, seconds):
    assert run("start", "crab-1", f"--wait-for-room={seconds}").exit_code == 2


def test_waiting_for_so_long_ends_with_the_refusal(do, world):
    do("start", "crab-1")
    began = world.clock.now()
    outcome = do("start", "crab-2", "--wait-for-room=20")
    assert (outcome.exit_code, world.clock.now() - began) == (5, 20)


def test_were_running_needs_no_name(do, world):
    do("start", "crab-1")
    world.hypervisor.destroy("crab-1")
    outcome = do("start", "--were-running", "--json")
    assert [result["clone"] for result in json.loads(outcome.stdout)["results"]] == ["crab-1"]
