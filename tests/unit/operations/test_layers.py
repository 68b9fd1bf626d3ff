"""Chains: what QEMU has open, what the headers say and what was recorded must be one and the same."""

from __future__ import annotations

from fakes import World
from moltfleet.model.errors import ExitCode
from moltfleet.model.requests import StopRequest
from moltfleet.operations import start, stop, warm


def start_refused(world: World) -> str:
    """Start a clone that must not run; returns why."""
    (result,) = start.start(world.fleet, ["crab-1"])
    assert result.error and result.error.exit_code is ExitCode.WRONG_STATE
    assert not world.hypervisor.get("crab-1").is_active
    return result.error.brief


def test_a_clone_whose_golden_is_not_underneath_is_cut_off(clone: World) -> None:
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    clone.storage.disks["crab-1.clean.qcow2"].backing = None
    assert "does not stand on the golden's 'base.g1.qcow2'" in start_refused(clone)


def test_a_clone_whose_headers_leave_out_a_frozen_layer_is_cut_off(clone: World) -> None:
    warm.warm(clone.fleet, ["crab-1"], from_now=True)
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    clone.storage.disks["crab-1.1.qcow2"].backing = clone.storage.path_of("base.g1.qcow2")
    assert "does not stand on all frozen layers" in start_refused(clone)


def test_frozen_layers_in_another_order_are_not_the_clean_point(clone: World) -> None:
    warm.warm(clone.fleet, ["crab-1"], from_now=True)
    warm.warm(clone.fleet, ["crab-1"], from_now=True)
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    path_of = clone.storage.path_of
    clone.storage.disks["crab-1.2.qcow2"].backing = path_of("crab-1.clean.qcow2")
    clone.storage.disks["crab-1.clean.qcow2"].backing = path_of("crab-1.1.qcow2")
    clone.storage.disks["crab-1.1.qcow2"].backing = path_of("base.g1.qcow2")
    assert "does not stand on all frozen layers" in start_refused(clone)


def test_a_full_clone_stands_alone(world: World) -> None:
    world.add_clone("crab-1", linked=False)
    stop.stop(world.fleet, ["crab-1"], StopRequest())
    (result,) = start.start(world.fleet, ["crab-1"])
    assert result.outcome == "started"
