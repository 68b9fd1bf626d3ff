"""Start, stop and restart: what is asked of a guest, what is cut, what is left alone."""

from __future__ import annotations

import pytest

from fakes import World
from moltfleet.model.errors import ExitCode, NotFound
from moltfleet.model.records import Phase
from moltfleet.model.requests import MoltRequest, StopRequest
from moltfleet.model.results import ActResult
from moltfleet.operations import molt, restart, start, stop


def stop_one(world: World, **options: object) -> ActResult:
    (result,) = stop.stop(world.fleet, ["crab-1"], StopRequest(**options))  # type: ignore[arg-type]
    return result


def start_one(world: World) -> ActResult:
    (result,) = start.start(world.fleet, ["crab-1"])
    return result


def is_running(world: World) -> bool:
    return world.hypervisor.get("crab-1").is_active


def test_a_guest_that_is_asked_goes_by_itself(clone: World) -> None:
    result = stop_one(clone)
    assert (result.outcome, result.detail, is_running(clone)) == ("stopped", "", False)
    assert result.seconds < 5


def test_a_deaf_guest_is_cut_off_after_the_deadline_and_that_is_said(clone: World) -> None:
    clone.hypervisor.behave("crab-1", hears_shutdown=False)
    result = stop_one(clone, timeout_s=10)
    assert (result.outcome, result.detail, is_running(clone)) == ("stopped", "power cut after the deadline", False)
    assert 10 <= result.seconds < 12
    assert "did not power off within 10 s" in clone.progress.texts("warn")[-1]


def pause(world: World) -> None:
    running = world.hypervisor.machines["crab-1"].running
    assert running is not None
    running.is_paused = True


def test_a_paused_guest_is_cut_off_soon_as_it_cannot_hear(clone: World) -> None:
    pause(clone)
    result = stop_one(clone, timeout_s=600)
    assert (result.outcome, result.detail, is_running(clone)) == ("stopped", "power cut after the deadline", False)
    assert 5 <= result.seconds < 6
    assert clone.progress.texts("warn")[-1] == "Guest 'crab-1' is paused and hears nothing: power cut"


def test_a_paused_guest_waits_no_longer_than_the_deadline(clone: World) -> None:
    pause(clone)
    assert 2 <= stop_one(clone, timeout_s=2).seconds < 3


def test_now_cuts_power_without_asking(clone: World) -> None:
    result = stop_one(clone, now=True)
    assert (result.outcome, result.detail, result.seconds) == ("stopped", "power cut", 0.0)


def test_stopping_a_stopped_clone_changes_nothing(clone: World) -> None:
    stop_one(clone)
    assert stop_one(clone).outcome == "unchanged"


def test_a_clone_that_cannot_be_repaired_can_still_be_stopped(clone: World) -> None:
    clone.hypervisor.behave("crab-1", shows_banner=False)
    molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    assert stop_one(clone, now=True).outcome == "stopped"
    assert not is_running(clone)


def test_start_waits_until_the_guest_is_ready(clone: World) -> None:
    stop_one(clone)
    result = start_one(clone)
    assert (result.outcome, result.error) == ("started", None)
    assert clone.guest("crab-1").is_up


def test_start_leaves_a_running_clone_alone(clone: World) -> None:
    boot_id = clone.guest("crab-1").memory.boot_id
    assert start_one(clone).outcome == "unchanged"
    assert clone.guest("crab-1").memory.boot_id == boot_id


def test_start_keeps_the_work_of_a_stopped_clone(clone: World) -> None:
    clone.guest("crab-1").write("work", "mine")
    stop_one(clone)
    start_one(clone)
    assert clone.guest("crab-1").read("work") == "mine"


def test_the_first_start_takes_the_clean_point(world: World) -> None:
    world.add_clone("crab-1", start=False)
    assert world.record("crab-1").phase is Phase.DEFINED
    start_one(world)
    record = world.record("crab-1")
    assert record.phase is Phase.READY and record.clean and record.clean.ram


def test_a_first_start_that_failed_goes_on_with_the_next_one(world: World) -> None:
    world.add_clone("crab-1", start=False)
    world.hypervisor.behave("crab-1", shows_banner=False)
    assert start_one(world).error is not None
    world.hypervisor.behave("crab-1", shows_banner=True)
    assert start_one(world).outcome == "started"
    assert world.record("crab-1").clean is not None


def test_a_first_start_takes_the_kind_of_clean_point_that_was_asked_for(world: World) -> None:
    world.add_clone("crab-1", start=False, warm=False)
    start_one(world)
    record = world.record("crab-1")
    assert record.clean and record.clean.ram is None


def test_a_paused_clone_is_not_started_but_explained(clone: World) -> None:
    pause(clone)
    result = start_one(clone)
    assert result.error and result.error.exit_code is ExitCode.WRONG_STATE
    assert result.error.hint and "virsh resume crab-1" in result.error.hint


def test_a_clone_that_runs_on_other_layers_is_cut_off_at_once(clone: World) -> None:
    stop_one(clone)
    clone.hypervisor.skips_a_layer.add("crab-1")
    result = start_one(clone)
    assert result.error and result.error.exit_code is ExitCode.WRONG_STATE
    assert not is_running(clone)


def test_a_managed_save_does_not_come_back_with_a_start(clone: World) -> None:
    stop_one(clone)
    clone.hypervisor.machines["crab-1"].has_managed_save = True
    start_one(clone)
    assert not clone.hypervisor.machines["crab-1"].has_managed_save


def test_a_guest_that_powers_off_while_it_is_waited_for_is_said(clone: World) -> None:
    stop_one(clone)
    clone.hypervisor.behave("crab-1", powers_off_at_boot=True)
    result = start_one(clone)
    assert result.error is not None
    assert result.seconds < 60


@pytest.mark.parametrize("is_off", [True, False])
def test_restart_ends_with_another_boot_of_the_same_work(clone: World, is_off: bool) -> None:
    clone.guest("crab-1").write("work", "mine")
    boot_id = clone.guest("crab-1").memory.boot_id
    if is_off:
        stop_one(clone)
    (result,) = restart.restart(clone.fleet, ["crab-1"], StopRequest())
    assert (result.outcome, result.error) == ("restarted", None)
    assert clone.guest("crab-1").memory.boot_id != boot_id
    assert clone.guest("crab-1").read("work") == "mine"


@pytest.mark.parametrize(
    "act",
    [
        lambda w: start.start(w.fleet, ["crab-9"]),
        lambda w: stop.stop(w.fleet, ["crab-9"], StopRequest()),
        lambda w: restart.restart(w.fleet, ["base"], StopRequest()),
    ],
)
def test_what_is_no_clone_is_not_found(clone: World, act: object) -> None:
    with pytest.raises(NotFound, match="No clone is named"):
        act(clone)  # type: ignore[operator]


def test_a_busy_clone_is_left_alone_and_the_others_are_stopped(clone: World) -> None:
    clone.add_clone("crab-2")
    clone.locks.hold_by_other("crab-1")
    first, second = stop.stop(clone.fleet, ["crab-*"], StopRequest())
    assert first.error and first.error.exit_code is ExitCode.WRONG_STATE
    assert second.outcome == "stopped" and is_running(clone)
