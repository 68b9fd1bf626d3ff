"""The criteria of the density test: pass, fail, or not measured, each with its finding."""

from __future__ import annotations

import json

from fakes import ok
from fakes.guesttools import stage
from moltfleet.model.density import Criterion, Stage, judge
from moltfleet.operations.density import read_stage

STEPS = (4, 5, 10)


def step(count: int, **changes: object) -> Stage:
    return read_stage(count, ok(json.dumps(stage(count, **changes))))  # type: ignore[arg-type]


def verdicts(*stages: Stage) -> list[bool | None]:
    return [criterion.passed for criterion in judge(stages, STEPS)]


def find(name: str, *stages: Stage) -> Criterion:
    return next(criterion for criterion in judge(stages, STEPS) if name in criterion.name)


def test_all_steps_well_is_all_passed() -> None:
    assert verdicts(step(4), step(5), step(10)) == [True] * 5


def test_nothing_tried_is_nothing_said() -> None:
    assert verdicts() == [None] * 5


def test_the_first_step_must_not_run_out_of_memory() -> None:
    assert find("4 agents start", step(4, gave_way="memory")).passed is False
    assert find("4 agents start", step(4), step(5, gave_way="memory")).passed is True


def test_shared_memory_that_is_full_fails_whether_it_was_said_or_seen() -> None:
    assert find("/dev/shm", step(4, gave_way="shm")).passed is False
    full = {"memory": 1, "shm": 2 << 30, "disk": 1, "processes": 1}
    assert find("/dev/shm", step(4), step(5, peaks=full)).passed is False
    assert find("/dev/shm", step(4), step(10)).finding == "at most 640 MiB of 2 GiB, with 10 agents"


def test_heap_errors_need_a_node_to_be_measured() -> None:
    assert find("heap", step(4, node=False)) == Criterion(
        "no JavaScript heap errors", None, "not measured: there is no node in the guest"
    )
    assert find("heap", step(4, gave_way="heap", heap_errors=2)).passed is False


def test_scaling_tells_what_gave_way_at_which_number() -> None:
    found = find("step by step", step(4), step(5), step(10, gave_way="disk"))
    assert (found.passed, found.finding) == (False, "5 were well at once; with 10 disk gave way first")


def test_steps_that_were_not_made_are_no_success() -> None:
    assert find("step by step", step(4), step(5)).passed is False


def test_an_sshd_that_does_not_greet_fails() -> None:
    assert find("sshd", step(4), step(5, greeting_s=30.0)).passed is False
