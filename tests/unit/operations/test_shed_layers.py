"""How long a shed layer stays: until the next molt, for the configured hours, or until the pool is full."""

from __future__ import annotations

import pytest

from fakes import Killed, Process, World
from fakes.soundness import repair_all, unsound
from moltfleet.model.errors import NoSpace
from moltfleet.model.requests import MoltRequest, StopRequest
from moltfleet.model.results import MoltResult
from moltfleet.model.size import Size
from moltfleet.operations import molt, start, stop, undo

HOUR = 3600.0


@pytest.fixture
def molted(clone: World) -> World:
    """crab-1 with work on its shed layer, and other work on its top."""
    clone.guest("crab-1").write("work", "of monday")
    molt_one(clone)
    clone.guest("crab-1").write("work", "of tuesday")
    return clone


def molt_one(world: World, **options: object) -> MoltResult:
    (result,) = molt.molt(world.fleet, ["crab-1"], MoltRequest(**options))  # type: ignore[arg-type]
    return result


def said(world: World) -> str:
    return "\n".join(world.progress.texts("say"))


@pytest.mark.parametrize("options", [{}, {"cold": True}, {"keep": "tuesday"}])
def test_in_a_full_pool_the_older_shed_layer_gives_way_and_that_is_said(
    molted: World, options: dict[str, object]
) -> None:
    molted.storage.fill()
    result = molt_one(molted, **options)
    assert (result.outcome, result.error) == ("molted", None)
    assert "crab-1.1.qcow2" not in molted.storage.names()
    assert "'crab-1.1.qcow2'" in said(molted)
    assert molted.storage.content("crab-1.2.qcow2")["work"] == "of tuesday"
    assert unsound(molted) == []


def test_a_shed_layer_that_gave_way_does_not_come_back_when_the_molt_goes_cold(molted: World) -> None:
    molted.hypervisor.behave("crab-1", forgets_nonce=True)
    molted.storage.fill()
    # Room for one overlay more than the shed layer gives back: the second attempt needs its own.
    molted.storage.free += molted.storage.get("crab-1.2.qcow2").length
    molt_one(molted)
    molted.storage.fill()
    repair_all(molted.fleet)
    assert unsound(molted) == []


def test_the_layer_of_a_failed_warm_attempt_gives_way_to_the_cold_one(clone: World) -> None:
    clone.hypervisor.behave("crab-1", forgets_nonce=True)
    clone.storage.fill()
    clone.storage.free += Size(1)
    result = molt_one(clone)
    assert (result.outcome, result.mode) == ("molted", "cold")
    assert clone.hypervisor.get("crab-1").is_active
    assert unsound(clone) == []


def test_a_full_pool_without_a_shed_layer_fails_the_molt_at_once(clone: World) -> None:
    clone.storage.fill()
    assert isinstance(molt_one(clone).error, NoSpace)


def test_a_pool_that_stays_full_fails_the_molt_after_one_more_try(molted: World) -> None:
    molted.storage.fill()
    molted.storage.free -= molted.storage.get("crab-1.1.qcow2").length
    result = molt_one(molted)
    assert isinstance(result.error, NoSpace)
    assert molted.guest("crab-1").read("work") == "of tuesday"
    repair_all(molted.fleet)
    assert unsound(molted) == []


def test_killed_while_a_shed_layer_gives_way_nothing_else_is_lost() -> None:
    for number in range(1, 40):
        world = World()
        world.add_golden()
        world.add_clone("crab-1")
        molt_one(world)
        world.guest("crab-1").write("work", "of tuesday")
        world.storage.fill()
        process = Process(kill_after=number)
        try:
            molt.molt(world.process(process), ["crab-1"], MoltRequest())
        except Killed:
            repair_all(world.fleet)
        assert unsound(world) == []
        assert "of tuesday" in {disk.written.get("work") for disk in world.storage.disks.values()}
        if not process.is_dead:
            assert number > 4
            return
    raise AssertionError("the molt never ended")


def test_the_next_changing_command_deletes_a_shed_layer_that_is_too_old(molted: World) -> None:
    molted.clock.sleep(24 * HOUR - 60)
    start.start(molted.fleet, ["crab-1"])
    assert molted.record("crab-1").shed is not None
    molted.clock.sleep(120)
    start.start(molted.fleet, ["crab-1"])
    assert molted.record("crab-1").shed is None
    assert "crab-1.1.qcow2" not in molted.storage.names()
    assert "'crab-1.1.qcow2'" in said(molted)
    assert molted.guest("crab-1").read("work") == "of tuesday"
    assert unsound(molted) == []


def test_how_long_is_configured() -> None:
    world = World(shed_hours=2)
    world.add_golden()
    world.add_clone("crab-1")
    molt_one(world)
    world.clock.sleep(2 * HOUR + 1)
    stop.stop(world.fleet, ["crab-1"], StopRequest())
    assert world.record("crab-1").shed is None


def test_kept_layers_do_not_age(clone: World) -> None:
    molt_one(clone, keep="monday")
    clone.clock.sleep(1000 * HOUR)
    start.start(clone.fleet, ["crab-1"])
    (layer,) = clone.record("crab-1").kept
    assert layer.volume in clone.storage.names()


def test_an_undo_finds_the_old_layer_as_long_as_no_other_command_came_first(molted: World) -> None:
    molted.clock.sleep(48 * HOUR)
    assert undo.undo(molted.fleet, "crab-1").outcome == "undone"
    assert molted.guest("crab-1").read("work") == "of monday"


def test_killed_while_an_old_shed_layer_is_deleted_the_next_command_goes_on(molted: World) -> None:
    molted.clock.sleep(48 * HOUR)
    with pytest.raises(Killed):
        start.start(molted.process(Process(kill_after=1)), ["crab-1"])
    assert molted.record("crab-1").trash == ("crab-1.1.qcow2",)
    with pytest.raises(Killed):
        start.start(molted.process(Process(kill_after=1)), ["crab-1"])
    start.start(molted.fleet, ["crab-1"])
    assert unsound(molted) == []
