"""Layers that other people's hands put on top of a clone's own: seen, not written under, dropped only when told to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fakes import Killed, Process, World, effects_told_to
from fakes.soundness import unsound
from moltfleet.model.effects import Effect
from moltfleet.model.errors import ExitCode, MoltfleetError
from moltfleet.model.requests import MoltRequest, StopRequest
from moltfleet.operations import delete, kept, molt, restart, start, stop, undo, warm
from moltfleet.operations.fleet import Fleet

THEIRS = "crab-1.theirs"


def put_on_top(world: World, name: str = THEIRS) -> None:
    """What 'virsh snapshot-create-as --disk-only --no-metadata' does to a running clone."""
    machine = world.hypervisor.machines["crab-1"]
    assert machine.running
    world.storage.create_overlay(name, backing=machine.running.chain[0].removeprefix("/pool/"))
    machine.running.chain = (world.storage.path_of(name), *machine.running.chain)
    machine.disk = world.storage.path_of(name)


@pytest.fixture
def touched(clone: World) -> World:
    """crab-1 with two kinds of earlier layers, and somebody's layer on its top."""
    molt.molt(clone.fleet, ["crab-1"], MoltRequest(keep="monday"))
    molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    clone.guest("crab-1").write("work", "before theirs")
    put_on_top(clone)
    clone.guest("crab-1").write("work", "on theirs")
    return clone


def molt_error(fleet: Fleet, **options: object) -> MoltfleetError | None:
    (result,) = molt.molt(fleet, ["crab-1"], MoltRequest(**options))  # type: ignore[arg-type]
    return result.error


ACTS: dict[str, Callable[[Fleet], MoltfleetError | None]] = {
    "molt": molt_error,
    "undo": lambda fleet: undo.undo(fleet, "crab-1").error,
    "kept restore": lambda fleet: kept.restore(fleet, "crab-1", "monday").error,
    "warm from now": lambda fleet: warm.warm(fleet, ["crab-1"], from_now=True)[0].error,
    "restart": lambda fleet: restart.restart(fleet, ["crab-1"], StopRequest())[0].error,
}


@pytest.mark.parametrize("act", ACTS)
def test_a_layer_of_somebodys_stops_what_would_break_it_and_is_named(touched: World, act: str) -> None:
    error = ACTS[act](touched.fleet)
    assert error and error.exit_code is ExitCode.WRONG_STATE
    assert THEIRS in error.brief
    assert error.hint and "--discard-snapshots" in error.hint
    assert touched.guest("crab-1").read("work") == "on theirs"
    assert touched.record("crab-1").pending is None


def test_told_to_a_molt_drops_it_with_all_that_stands_between(touched: World) -> None:
    put_on_top(touched, "crab-1.second")
    assert molt_error(touched.fleet, discard_snapshots=True) is None
    assert not {THEIRS, "crab-1.second"} & touched.storage.names()
    assert unsound(touched) == []
    assert undo.undo(touched.fleet, "crab-1").error is None
    assert touched.guest("crab-1").read("work") == "before theirs"


def test_a_stopped_clone_is_not_started_under_somebodys_layer(touched: World) -> None:
    stop.stop(touched.fleet, ["crab-1"], StopRequest())
    (result,) = start.start(touched.fleet, ["crab-1"])
    assert result.error and result.error.exit_code is ExitCode.WRONG_STATE
    assert THEIRS in result.error.brief
    assert result.error.hint and "blockcommit crab-1 vda --active --pivot --shallow" in result.error.hint
    assert touched.storage.content(THEIRS)["work"] == "on theirs"
    assert molt_error(touched.fleet, discard_snapshots=True) is None
    assert unsound(touched) == []


def test_a_stopped_clone_on_a_frozen_layer_is_not_started_above_it(clone: World) -> None:
    """What 'virsh blockcommit --active --pivot --shallow' leaves: the frozen layer holds the work, and is written."""
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    clone.hypervisor.machines["crab-1"].disk = clone.storage.path_of("crab-1.clean.qcow2")
    (result,) = start.start(clone.fleet, ["crab-1"])
    assert result.error and "frozen layer 'crab-1.clean.qcow2'" in result.error.brief


def test_a_definition_on_a_disk_that_is_gone_is_put_right_by_the_next_start(clone: World) -> None:
    """What 'virsh snapshot-revert' leaves after a molt."""
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    clone.hypervisor.machines["crab-1"].disk = clone.storage.path_of("crab-1.0.qcow2")
    (result,) = start.start(clone.fleet, ["crab-1"])
    assert result.outcome == "started"


def test_a_disk_of_somebodys_beside_our_layers_is_named_and_never_deleted(clone: World) -> None:
    machine = clone.hypervisor.machines["crab-1"]
    machine.disk = "/elsewhere/theirs\x1b.qcow2"
    error = molt_error(clone.fleet)
    assert error and "'theirs?.qcow2'" in error.brief
    before = clone.storage.names()
    assert molt_error(clone.fleet, discard_snapshots=True) is None
    assert before - clone.storage.names() == set()
    assert unsound(clone) == []


@pytest.mark.parametrize("act", ["start", "destroy"])
def test_power_is_no_foreign_hand(clone: World, act: str) -> None:
    clone.hypervisor.destroy("crab-1")
    if act == "start":
        clone.hypervisor.start("crab-1")
    assert molt_error(clone.fleet) is None


# Managed saves: libvirt would resume one at the next start, on whatever layer is there then


def is_ready_to_go_back(world: World) -> None:
    """crab-1, off, with a kept and a shed layer."""
    world.add_clone("crab-1")
    for options in (MoltRequest(keep="monday"), MoltRequest()):
        molt.molt(world.fleet, ["crab-1"], options)
    stop.stop(world.fleet, ["crab-1"], StopRequest(now=True))


def is_stale(world: World) -> None:
    is_ready_to_go_back(world)
    world.hypervisor.kernel = "7.0"


def is_new(world: World) -> None:
    world.add_clone("crab-1", start=False)


def is_interrupted(act: Callable[[Fleet], object], at: Effect) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        is_ready_to_go_back(world)
        start.start(world.fleet, ["crab-1"])
        for number in range(1, 20):
            process = Process(kill_at_effect=number)
            with effects_told_to(process), pytest.raises(Killed):
                act(world.process(process))
            if process.effects[-1] is at:
                break
            start.start(world.fleet, ["crab-1"])
        world.hypervisor.destroy("crab-1")

    return prepare


def start_it(fleet: Fleet) -> MoltfleetError | None:
    return start.start(fleet, ["crab-1"])[0].error


STARTS: dict[str, tuple[Callable[[World], None], Callable[[Fleet], MoltfleetError | None]]] = {
    "start": (is_ready_to_go_back, start_it),
    "first start": (is_new, start_it),
    "restart": (is_ready_to_go_back, ACTS["restart"]),
    "molt": (is_ready_to_go_back, molt_error),
    "cold molt": (is_ready_to_go_back, lambda fleet: molt_error(fleet, cold=True)),
    "undo": (is_ready_to_go_back, ACTS["undo"]),
    "kept restore": (is_ready_to_go_back, ACTS["kept restore"]),
    "warm": (is_stale, lambda fleet: warm.warm(fleet, ["crab-1"], from_now=False)[0].error),
    "repair of a molt": (is_interrupted(molt_error, Effect.MOLT_DESTROYED), start_it),
    "repair of an undo": (is_interrupted(ACTS["undo"], Effect.UNDO_DESTROYED), start_it),
    "repair of a clean point": (is_interrupted(ACTS["warm from now"], Effect.CLEAN_SAVED), start_it),
}


@pytest.mark.parametrize("name", STARTS)
def test_no_way_to_start_a_guest_leaves_a_managed_save(world: World, name: str) -> None:
    prepare, act = STARTS[name]
    prepare(world)
    world.hypervisor.machines["crab-1"].has_managed_save = True
    assert act(world.fleet) is None
    assert world.hypervisor.get("crab-1").is_active
    assert not world.hypervisor.machines["crab-1"].has_managed_save
    assert unsound(world) == []


# Definitions


def test_an_edited_definition_costs_one_boot_and_stays_edited(clone: World) -> None:
    machine = clone.hypervisor.machines["crab-1"]
    machine.spec = replace(machine.spec, vcpus=7)
    (result,) = molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    assert (result.mode, result.reason) == ("cold", "changed since the clean point: definition")
    assert clone.hypervisor.get("crab-1").vcpus == 7
    assert warm.warm(clone.fleet, ["crab-1"], from_now=False)[0].outcome == "warmed"
    (result,) = molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    assert (result.mode, clone.hypervisor.get("crab-1").vcpus) == ("warm", 7)


def test_a_renamed_clone_is_still_one_and_molts_cold(clone: World) -> None:
    """What 'virsh domrename' does; the saved RAM belongs to the old name."""
    clone.guest("crab-1").write("work", "mine")
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    machine = clone.hypervisor.machines.pop("crab-1")
    machine.name, machine.spec = "crab-9", replace(machine.spec, name="crab-9")
    clone.hypervisor.machines["crab-9"] = machine
    assert start.start(clone.fleet, ["crab-9"])[0].error is None
    assert clone.guest("crab-9").read("work") == "mine"
    (result,) = molt.molt(clone.fleet, ["crab-9"], MoltRequest())
    assert (result.outcome, result.reason) == ("molted", "changed since the clean point: definition")
    assert undo.undo(clone.fleet, "crab-9").error is None
    assert clone.guest("crab-9").read("work") == "mine"
    assert unsound(clone) == []
    assert delete.delete(clone.fleet, ["crab-9"])[0].error is None
    assert clone.storage.names() == {"base.g1.qcow2", "base.g1.json"}
