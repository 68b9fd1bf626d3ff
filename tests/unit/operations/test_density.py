"""The density test: a probe that is admitted, tried step by step, and always taken away."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fakes import FakeSession, Killed, Process, World, a_calm_host, failed, ok
from fakes.guesttools import stage
from fakes.soundness import unsound
from moltfleet.model.density import Density, Resource
from moltfleet.model.domain import CommandResult
from moltfleet.model.errors import Busy, GuestFailed, NoCapacity, NotFound, WrongState
from moltfleet.model.size import Size
from moltfleet.operations import listing, repair
from moltfleet.operations.density import DensityRequest, measure, plan_density

PROBE = "base.density"


def run(world: World, **changes: object) -> Density:
    return measure(world.fleet, DensityRequest("base", **changes))  # type: ignore[arg-type]


def ran(world: World) -> list[str]:
    return [command.rpartition("density.py ")[2] for _, command in world.hypervisor.commands if "density.py" in command]


def says(count: int, **changes: object) -> CommandResult:
    return ok(json.dumps(stage(count, **changes)))  # type: ignore[arg-type]


def test_every_step_is_tried_in_one_clone_that_is_gone_afterwards(world: World) -> None:
    density = run(world)
    assert [step.agents for step in density.stages] == [4, 5, 10, 15, 20]
    assert density.passed and density.first_failure is None
    assert set(world.hypervisor.machines) == {"base"}
    assert unsound(world) == []


def test_each_agent_takes_what_was_asked_for(world: World) -> None:
    run(world, steps=(2, 3), hold_s=5.0)
    assert ran(world) == ["2 500 64 100 12 5 150", "3 500 64 100 12 5 150"]


def test_the_test_ends_where_something_gives_way(world: World) -> None:
    world.hypervisor.behave(PROBE, answers={"density.py 10 ": says(10, gave_way="shm")})
    density = run(world)
    assert [step.agents for step in density.stages] == [4, 5, 10]
    assert not density.passed
    assert density.first_failure is not None
    assert (density.first_failure.gave_way, density.first_failure.agents) == (Resource.SHM, 10)


def test_while_it_runs_the_clone_is_listed_nowhere_and_kept_room_for(world: World) -> None:
    seen: list[object] = []
    behaviour = world.hypervisor.behaviour(PROBE)

    class Watching(dict[str, CommandResult]):
        def items(self):  # type: ignore[no-untyped-def]
            domain = world.hypervisor.get(PROBE)
            seen.append((listing.list_clones(world.fleet), domain.is_scratch, world.locks.is_held(f"room.{PROBE}")))
            return super().items()

    world.hypervisor.behaviours[PROBE] = replace(behaviour, answers=Watching())
    run(world, steps=(2,))
    assert set(seen) == {((), True, True)}


def test_a_host_without_room_refuses_and_nothing_was_made(world: World) -> None:
    world.meter.load = replace(a_calm_host(), total=Size.of_gib(11), available=Size.of_gib(11))
    with pytest.raises(NoCapacity):
        run(world)
    assert set(world.hypervisor.machines) == {"base"}
    assert unsound(world) == []


def test_a_guest_that_gives_no_answer_fails_and_is_taken_away(world: World) -> None:
    world.hypervisor.behave(PROBE, answers={"density.py 5 ": failed("Traceback\nboom\x1b[2J")})
    with pytest.raises(GuestFailed, match="Step with 5 agents gave no answer") as caught:
        run(world)
    assert caught.value.details == "exit status 1: boom?[2J"
    assert set(world.hypervisor.machines) == {"base"}


def test_a_guest_without_python_is_refused_and_taken_away(world: World) -> None:
    world.hypervisor.behave(PROBE, answers={"command -v python3": failed("", code=127)})
    with pytest.raises(WrongState, match="Golden 'base' has no python3"):
        run(world)
    assert set(world.hypervisor.machines) == {"base"}


def test_what_a_guest_tells_is_bounded_and_of_its_type(world: World) -> None:
    odd = {"peaks": "all", "sizes": [1], "greeting_s": "soon", "heap_errors": -1, "said": "\x1b" * 900, "well": 2.5}
    world.hypervisor.behave(PROBE, answers={"density.py 2 ": says(2, gave_way="the floor", **odd)})
    (step,) = run(world, steps=(2, 3)).stages
    assert (step.gave_way, step.well, step.greeting_s, step.heap_errors) == (Resource.OTHER, 0, 0.0, 0)
    assert step.said == "?" * 160
    assert step.peaks == dict.fromkeys(("memory", "shm", "disk", "processes"), 0)


def test_after_ctrl_c_nothing_is_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = FakeSession.run

    def interrupted(session: FakeSession, command: str, **options: Any) -> CommandResult:
        if "density.py" in command:
            raise KeyboardInterrupt
        return answer(session, command, **options)

    monkeypatch.setattr(FakeSession, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(world)
    assert set(world.hypervisor.machines) == {"base"}
    assert unsound(world) == []


def test_one_that_was_killed_is_taken_away_by_the_next_changing_command(world: World) -> None:
    process = Process(kill_after=6)
    with pytest.raises(Killed):
        measure(world.process(process), DensityRequest("base"))
    assert PROBE in world.hypervisor.machines
    repair.sweep(world.fleet)
    assert set(world.hypervisor.machines) == {"base"}
    assert unsound(world) == []


def test_killed_after_any_change_the_next_run_goes_through(world: World) -> None:
    whole = Process()
    measure(world.process(whole), DensityRequest("base", steps=(2,)))
    for number in range(1, len(whole.changes) + 1):
        with pytest.raises(Killed):
            measure(world.process(Process(kill_after=number)), DensityRequest("base", steps=(2,)))
        assert run(world, steps=(2,)).passed
        assert unsound(world) == []


def test_a_golden_that_is_worked_on_is_left_alone(world: World) -> None:
    world.locks.hold_by_other("base", verb="build")
    with pytest.raises(Busy):
        run(world)


def test_an_unknown_golden_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        measure(world.fleet, DensityRequest("nothing"))


def test_a_golden_without_tools_is_said(world: World) -> None:
    assert run(world, steps=(1,)).notes == ("The golden has no guest tools: its agents ran without limits.",)
    world.storage.write(world.storage.path_of("base.g1.qcow2"), "tools", "0.1.0-aaa")
    density = run(world, steps=(1,))
    assert (density.tools, density.notes) == ("0.1.0-aaa", ())


def test_a_dry_run_makes_nothing(world: World) -> None:
    before = world.storage.names()
    lines = plan_density(world.fleet, DensityRequest("base", steps=(2, 4)))
    assert lines[1].startswith("2, 4 simulated agents at once, each with 500 MiB memory, 64 MiB of /dev/shm")
    assert (world.storage.names(), set(world.hypervisor.machines)) == (before, {"base"})
