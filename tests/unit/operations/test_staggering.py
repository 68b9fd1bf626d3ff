"""Several starts: one after the other, each when the last one has settled; and which were running before a reboot."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from fakes import Killed, Process, World, a_world
from fakes.hypervisor import FakeHypervisor
from moltfleet.model.load import DomainUse
from moltfleet.model.requests import MoltRequest, StartRequest, StopRequest
from moltfleet.model.size import Size
from moltfleet.operations import molt, restart, settling, start, stop, undo
from moltfleet.operations.admission import NoRoom

MIB = Size.of_mib(1)


def resident(world: World, size: Callable[[float], Size | None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every domain take what ``size`` says, given the seconds since now."""
    began, measure = world.clock.now(), FakeHypervisor.memory_use

    def grown(self: FakeHypervisor) -> tuple[DomainUse, ...]:
        now = size(world.clock.now() - began)
        for name in self.machines:
            self.resident.pop(name, None)
            if now is not None:
                self.resident[name] = now
        return measure(self)

    monkeypatch.setattr(FakeHypervisor, "memory_use", grown)


@pytest.fixture
def settle(clone: World) -> Callable[[], tuple[bool, float]]:
    """Let crab-1 settle; whether it did, and after how many seconds."""

    def act() -> tuple[bool, float]:
        began = clone.clock.now()
        return settling.settle(clone.fleet, "crab-1"), clone.clock.now() - began

    return act


def test_a_guest_that_does_not_grow_has_settled_after_one_window(clone, settle, monkeypatch):
    resident(clone, lambda _: Size.of_mib(500), monkeypatch)
    assert settle() == (True, 10)


def test_a_guest_that_grows_is_waited_for_until_it_grows_slowly(clone, settle, monkeypatch):
    # 20 MiB a second for 30 s, then 5: 10 s later it has grown by less than 64 MiB.
    resident(clone, lambda s: MIB * (20 * min(s, 30) + 5 * max(0, s - 30)), monkeypatch)
    has_settled, seconds = settle()
    assert has_settled and 38 <= seconds <= 40


def test_growth_of_less_than_the_limit_is_none(clone, settle, monkeypatch):
    resident(clone, lambda s: MIB * (6.3 * s), monkeypatch)
    assert settle() == (True, 10)


def test_a_guest_that_never_settles_keeps_nobody_for_ever(clone, settle, monkeypatch):
    resident(clone, lambda s: MIB * (6.5 * s), monkeypatch)
    assert settle() == (False, 60)


def test_a_guest_that_gives_memory_back_has_settled(clone, settle, monkeypatch):
    resident(clone, lambda s: MIB * (2000 - 20 * s), monkeypatch)
    assert settle() == (True, 10)


def test_a_guest_that_is_not_measured_is_given_the_whole_time(clone, settle, monkeypatch):
    resident(clone, lambda _: None, monkeypatch)
    assert settle() == (False, 60)


def test_a_guest_that_is_gone_has_settled(clone, settle):
    clone.hypervisor.destroy("crab-1")
    assert settle() == (True, 0)


# Several


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> World:
    """Three clones that are off."""
    world = a_world()
    for number in (1, 2, 3):
        world.add_clone(f"crab-{number}", start=False)
    resident(world, lambda _: Size.of_mib(300), monkeypatch)
    return world


def settled(world: World) -> list[str]:
    return [text for text in world.progress.texts("start") if text.startswith("Letting the memory of ")]


def test_each_start_waits_until_the_one_before_it_has_settled_and_the_last_for_nobody(three: World) -> None:
    results = start.start(three.fleet, [])
    assert [result.outcome for result in results] == ["started"] * 3
    assert settled(three) == ["Letting the memory of crab-1 settle", "Letting the memory of crab-2 settle"]


def test_one_start_alone_does_not_wait(three: World) -> None:
    start.start(three.fleet, ["crab-1"])
    assert settled(three) == []


def test_what_runs_already_and_what_failed_is_not_waited_for(three: World) -> None:
    start.start(three.fleet, ["crab-1"])
    three.hypervisor.behave("crab-2", shows_banner=False)
    outcomes = [result.outcome for result in start.start(three.fleet, [])]
    assert outcomes == ["unchanged", "failed", "started"]
    assert settled(three) == []


def test_jobs_start_side_by_side_without_settling(three: World) -> None:
    start.start(three.fleet, [], StartRequest(jobs=2))
    assert settled(three) == []


def test_room_is_looked_for_before_each_and_what_does_not_fit_is_named_and_the_others_run(three: World) -> None:
    machine = three.hypervisor.machines["crab-2"]
    machine.spec = replace(machine.spec, memory=Size.of_gib(60))
    results = start.start(three.fleet, [])
    assert [result.outcome for result in results] == ["started", "failed", "started"]
    assert isinstance(results[1].error, NoRoom)
    assert results[1].detail.startswith("No room for 'crab-2' (60 GiB), rule committed: 1 active domain")


# After a reboot of the host


def were_running(world: World) -> list[str]:
    return list(start.names_to_start(world.fleet, [], StartRequest(were_running=True)))


def power_loss(world: World) -> None:
    for name in world.hypervisor.machines:
        world.hypervisor.destroy(name)


def test_what_ran_when_the_host_went_down_is_started_and_what_was_stopped_is_not() -> None:
    world = a_world(clones=("crab-1", "crab-2", "crab-3"))
    world.add_clone("crab-4", start=False)
    stop.stop(world.fleet, ["crab-2"], StopRequest())
    power_loss(world)
    assert were_running(world) == ["crab-1", "crab-3"]
    results = start.start(world.fleet, [], StartRequest(were_running=True))
    assert [(result.clone, result.outcome) for result in results] == [("crab-1", "started"), ("crab-3", "started")]
    assert were_running(world) == []


def test_of_named_ones_only_those_that_were_running_are_started() -> None:
    world = a_world(clones=("crab-1", "crab-2", "other"))
    stop.stop(world.fleet, ["crab-2"], StopRequest())
    power_loss(world)
    assert start.names_to_start(world.fleet, ["crab-*"], StartRequest(were_running=True)) == ("crab-1",)


@pytest.mark.parametrize(
    "act",
    [
        lambda fleet: start.start(fleet, ["crab-1"]),
        lambda fleet: restart.restart(fleet, ["crab-1"], StopRequest()),
        lambda fleet: molt.molt(fleet, ["crab-1"], MoltRequest()),
        lambda fleet: undo.undo(fleet, "crab-1"),
    ],
    ids=["start", "restart", "molt", "undo"],
)
def test_whatever_brings_a_stopped_clone_up_makes_it_one_that_was_running(clone: World, act) -> None:
    molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    assert were_running(clone) == []
    act(clone.fleet)
    power_loss(clone)
    assert were_running(clone) == ["crab-1"]


def test_a_restart_that_is_interrupted_leaves_one_that_was_running(clone: World) -> None:
    with contextlib.suppress(Killed):
        restart.restart(clone.process(Process(kill_after=1)), ["crab-1"], StopRequest())
    power_loss(clone)
    assert were_running(clone) == ["crab-1"]


def test_stopping_one_that_is_off_makes_it_one_that_is_to_be_off(clone: World) -> None:
    power_loss(clone)
    assert were_running(clone) == ["crab-1"]
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    assert were_running(clone) == []
