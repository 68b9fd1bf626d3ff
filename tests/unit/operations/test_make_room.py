"""Making room: nothing more than is needed, in the order that is said, and never what somebody works on."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fakes import World, a_calm_host, a_world
from moltfleet.model.errors import NoCapacity
from moltfleet.model.makingroom import Act
from moltfleet.model.records import Phase
from moltfleet.model.size import Size
from moltfleet.operations import make_room

ONE = Size.of_mib(2304)
GIB = Size.of_gib(1)


def host_for(world: World, clones: float, **load: object) -> None:
    """So much memory that so many clones of 2 GiB fit, all of it available unless told otherwise."""
    total = Size.of_gib(10) + ONE * clones
    world.meter.load = replace(a_calm_host(), total=total, available=total)
    world.meter.load = replace(world.meter.load, **load)  # type: ignore[arg-type]


@pytest.fixture
def three() -> World:
    """Three running clones of 2 GiB with 1 GiB resident; crab-2 wrote to its disk last, crab-3 longest ago."""
    world = a_world(clones=("crab-1", "crab-2", "crab-3"))
    for name in ("crab-3", "crab-1", "crab-2"):
        world.clock.sleep(3600)
        world.guest(name).write("work", "done")
        world.hypervisor.resident[name] = GIB
    host_for(world, 3.5)
    return world


def ways(world: World, memory: Size = GIB * 2) -> list[tuple[str, str]]:
    return [(way.clone, str(way.act)) for way in make_room.plan(world.fleet, memory, vcpus=2).ways]


def running(world: World) -> list[str]:
    return [domain.name for domain in world.hypervisor.domains() if domain.is_active]


def test_where_there_is_room_nothing_has_to_go(three: World) -> None:
    host_for(three, 4)
    assert ways(three) == []


def test_the_clone_that_wrote_longest_ago_is_stopped_first(three: World) -> None:
    plan = make_room.plan(three.fleet, GIB * 2, vcpus=2)
    (way,) = plan.ways
    assert (way.clone, way.act, way.promised, way.resident) == ("crab-3", Act.STOP, ONE, GIB)
    assert way.why == "last wrote 2 h ago"
    assert not plan.before.admit and plan.after.admit


def test_as_many_are_stopped_as_are_needed_and_no_more(three: World) -> None:
    assert ways(three, Size.of_gib(4)) == [("crab-3", "stop"), ("crab-1", "stop")]


def test_a_stop_that_a_later_one_makes_unnecessary_is_left_out(three: World) -> None:
    machine = three.hypervisor.machines["crab-1"]
    machine.spec = replace(machine.spec, memory=Size.of_gib(8))
    assert machine.running is not None
    machine.running.size = Size.of_gib(8)
    host_for(three, 6)
    # crab-3 alone is not enough, and crab-1 alone is.
    assert ways(three, Size.of_gib(6)) == [("crab-1", "stop")]


def test_what_a_qemu_takes_beyond_its_promise_is_given_back_by_a_molt_before_anything_is_stopped(three: World) -> None:
    three.hypervisor.resident["crab-2"] = Size.of_gib(4)
    host_for(three, 4.2)
    plan = make_room.plan(three.fleet, GIB * 2, vcpus=2)
    (way,) = plan.ways
    assert (way.clone, way.act, way.why) == ("crab-2", Act.MOLT, "takes 1.8 GiB beyond its promise")


def test_a_molt_that_gives_back_nothing_that_was_not_promised_is_no_way(three: World) -> None:
    three.hypervisor.resident["crab-2"] = ONE
    assert ways(three) == [("crab-3", "stop")]


def test_while_the_host_waits_for_memory_the_clone_with_most_above_its_clean_state_is_molted(three: World) -> None:
    three.hypervisor.resident["crab-2"] = Size.of_gib(2)
    host_for(three, 9, pressure=40.0)
    assert ways(three) == [("crab-2", "molt")]


def test_other_people_s_domains_stay(three: World) -> None:
    three.hypervisor.add_foreign("theirs")
    three.hypervisor.start("theirs")
    assert "theirs" not in {clone for clone, _ in ways(three)}


def test_what_somebody_works_on_stays(three: World) -> None:
    three.locks.hold_by_other("crab-3", verb="molt")
    assert ways(three) == [("crab-1", "stop")]


def test_what_was_never_ready_stays(three: World) -> None:
    three.hypervisor.write_record("crab-3", replace(three.record("crab-3"), phase=Phase.DEFINED))
    assert ways(three) == [("crab-1", "stop")]


def test_what_others_keep_room_for_counts(three: World) -> None:
    three.locks.note_by_other("room.new", json.dumps({"name": "new", "memory": ONE.bytes, "disk": 0}))
    assert ways(three) == [("crab-3", "stop"), ("crab-1", "stop")]


def test_more_than_all_clones_hold_cannot_be_had_and_is_said(three: World) -> None:
    with pytest.raises(NoCapacity) as caught:
        make_room.plan(three.fleet, Size.of_gib(9), vcpus=2)
    assert caught.value.brief.startswith(
        "Stopping all 3 clones that run would not make room for a clone of 9 GiB, rule committed: 0 active domains"
    )
    assert caught.value.hint and caught.value.hint.startswith("The largest clone that would fit then has 7")
    assert running(three) == ["crab-1", "crab-2", "crab-3"]


def test_it_is_done_as_proposed_and_there_is_room_then(three: World) -> None:
    three.hypervisor.resident["crab-2"] = Size.of_gib(4)
    plan = make_room.plan(three.fleet, GIB * 4, vcpus=2)
    assert [(way.clone, str(way.act)) for way in plan.ways] == [
        ("crab-2", "molt"),
        ("crab-3", "stop"),
        ("crab-1", "stop"),
    ]
    with pytest.raises(NoCapacity):
        make_room.check(three.fleet, plan)
    results = make_room.perform(three.fleet, plan)
    assert [(result.clone, result.outcome) for result in results] == [
        ("crab-2", "molted"),
        ("crab-3", "stopped"),
        ("crab-1", "stopped"),
    ]
    three.hypervisor.resident["crab-2"] = GIB
    make_room.check(three.fleet, plan)
    assert running(three) == ["crab-2"]


def test_what_was_stopped_for_room_does_not_come_back_by_itself(three: World) -> None:
    make_room.perform(three.fleet, make_room.plan(three.fleet, GIB * 2, vcpus=2))
    assert three.record("crab-3").stopped
