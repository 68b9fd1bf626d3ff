"""What a clean point costs when it fails or is interrupted: nothing that runs, nothing that was worked on, no layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fakes import Killed, Process, World, a_world, effects_told_to, failed
from fakes.soundness import repair_all, unsound
from moltfleet.model.effects import Effect
from moltfleet.model.errors import ExitCode, NoSpace, ToolFailed
from moltfleet.model.records import CloneRecord
from moltfleet.model.requests import AdmissionRequest, MoltRequest, StopRequest
from moltfleet.model.results import ActResult
from moltfleet.model.size import Size
from moltfleet.operations import kept, molt, start, stop, undo, warm
from moltfleet.operations.admission import NoRoom

# Lets an act fail in its middle that would else be refused before it.
FORCED = AdmissionRequest(force="the pool is full")


def warm_one(world: World, *, from_now: bool = False, terms: AdmissionRequest | None = None) -> ActResult:
    terms = terms or AdmissionRequest()
    (result,) = warm.warm(world.fleet, ["crab-1"], from_now=from_now, terms=terms)
    return result


def molt_one(world: World, **options: object) -> None:
    (result,) = molt.molt(world.fleet, ["crab-1"], MoltRequest(**options))  # type: ignore[arg-type]
    assert result.error is None


def frozen(clone: CloneRecord) -> list[str]:
    return [stamp.volume for stamp in clone.clean.stamps] if clone.clean else []


def chain(world: World) -> list[str]:
    """The frozen layers that the clone really stands on, top first, without the golden."""
    record = world.record("crab-1")
    paths = world.storage.chain(world.storage.path_of(record.top))
    return [path.removeprefix("/pool/") for path in paths[1:-1]]


def killed(prepare: Callable[[], World], act: Callable[[World, Process], object]) -> list[tuple[World, Process]]:
    """One world for each change of an act, killed right after it."""
    process = Process()
    act(prepare(), process)
    worlds = []
    for number in range(1, len(process.changes) + 1):
        world, process = prepare(), Process(kill_after=number)
        with pytest.raises(Killed):
            act(world, process)
        worlds.append((world, process))
    return worlds


def kill_at(effect: Effect, act: Callable[[World, Process], object], undisturbed: World, world: World) -> None:
    """Kill an act in ``world`` right after an effect; where that is, it shows in an undisturbed one."""
    process = Process()
    with effects_told_to(process):
        act(undisturbed, process)
    process = Process(kill_at_effect=process.effects.index(effect) + 1)
    with effects_told_to(process), pytest.raises(Killed):
        act(world, process)


def at_work() -> World:
    world = a_world(clones=("crab-1",))
    molt.molt(world.fleet, ["crab-1"], MoltRequest())
    world.guest("crab-1").write("work", "mine")
    return world


def freeze_now(world: World, process: Process) -> object:
    return warm.warm(world.process(process), ["crab-1"], from_now=True)


# The present state


def test_wherever_it_is_killed_the_guest_runs_on_with_its_ram_and_its_timers() -> None:
    for world, process in killed(at_work, freeze_now):
        boot_id = next(image.memory.boot_id for image in world.hypervisor.images.values())
        repair_all(world.fleet)
        assert unsound(world) == []
        memory = world.guest("crab-1").memory
        assert (memory.boot_id, memory.timers_stopped) == (boot_id, False), process.changes
        assert world.guest("crab-1").read("work") == "mine"


def test_killed_right_after_the_timers_were_stopped_they_start_again(clone: World) -> None:
    process = Process(kill_at_effect=2)
    with effects_told_to(process), pytest.raises(Killed):
        freeze_now(clone, process)
    assert process.effects[-1] is Effect.CLEAN_OVERLAID
    assert clone.guest("crab-1").memory.timers_stopped
    start.start(clone.fleet, ["crab-1"])
    assert not clone.guest("crab-1").memory.timers_stopped


@pytest.mark.parametrize("way_out", ["start", "molt", "stop and start"])
def test_a_guest_that_cannot_be_woken_is_tried_again_and_stands_in_nobodys_way(way_out: str) -> None:
    world = at_work()
    kill_at(Effect.CLEAN_RESUMED, freeze_now, at_work(), world)
    assert world.guest("crab-1").memory.timers_stopped
    world.hypervisor.behave("crab-1", has_agent=False, shows_banner=False)
    start.start(world.fleet, ["crab-1"])
    assert world.record("crab-1").pending is not None
    world.hypervisor.behave("crab-1", has_agent=way_out == "start", shows_banner=way_out != "start")
    if way_out == "stop and start":
        stop.stop(world.fleet, ["crab-1"], StopRequest(now=True))
        start.start(world.fleet, ["crab-1"])
    elif way_out == "molt":
        molt_one(world)
    else:
        start.start(world.fleet, ["crab-1"])
    assert not world.guest("crab-1").memory.timers_stopped
    assert world.guest("crab-1").read("work") == "mine"
    assert unsound(world) == []


def test_a_ram_image_that_was_not_finished_costs_the_ram_and_nothing_on_disk() -> None:
    world = at_work()
    kill_at(Effect.CLEAN_SAVED, freeze_now, at_work(), world)
    world.hypervisor.images.clear()
    (result,) = start.start(world.fleet, ["crab-1"])
    assert (result.outcome, world.guest("crab-1").read("work")) == ("started", "mine")
    assert not world.guest("crab-1").memory.timers_stopped
    assert any("its RAM cannot be brought back" in text for text in world.progress.texts("warn"))
    assert unsound(world) == []


def test_ram_that_was_being_saved_when_the_host_lost_power_is_not_brought_back() -> None:
    """It may lack pages without looking so: libvirt flushes no sparse image."""
    world = at_work()
    kill_at(Effect.CLEAN_SAVED, freeze_now, at_work(), world)
    (saved,) = [image.memory.boot_id for name, image in world.hypervisor.images.items() if name.endswith(".2.ram")]
    world.hypervisor.facts = replace(world.hypervisor.facts, boot_id="second-boot")
    (result,) = start.start(world.fleet, ["crab-1"])
    assert (result.outcome, world.guest("crab-1").read("work")) == ("started", "mine")
    memory = world.guest("crab-1").memory
    assert (memory.boot_id != saved, memory.timers_stopped) == (True, False)
    assert any("the host was booted anew while its RAM was being saved" in t for t in world.progress.texts("warn"))
    assert unsound(world) == []


def test_ram_is_not_brought_back_onto_a_disk_that_was_written_to_meanwhile() -> None:
    for effect in (Effect.CLEAN_SAVED, Effect.CLEAN_REDEFINED, Effect.CLEAN_RECORDED):
        world = at_work()
        kill_at(effect, freeze_now, at_work(), world)
        world.clock.sleep(1)
        world.hypervisor.start("crab-1")
        world.clock.sleep(10)
        world.guest("crab-1").write("later", "mine")
        world.hypervisor.destroy("crab-1")
        # That was another's hand, on a layer that an empty one stood on.
        world.hypervisor.violations.clear()
        repair_all(world.fleet)
        start.start(world.fleet, ["crab-1"])
        assert (world.guest("crab-1").read("later"), world.guest("crab-1").read("work")) == ("mine", "mine")
        assert unsound(world) == []


def test_a_save_that_goes_on_without_its_command_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = at_work()
    boot_id = world.guest("crab-1").memory.boot_id
    kill_at(Effect.CLEAN_OVERLAID, freeze_now, at_work(), world)
    pending, running = world.record("crab-1").pending, world.hypervisor.machines["crab-1"].running
    assert pending and running
    running.is_paused = True
    sleep = world.clock.sleep

    def sleep_and_save(seconds: float) -> None:
        sleep(seconds)
        if running.is_paused:
            running.is_paused = False
            world.hypervisor.save("crab-1", pending.leftovers[0])

    monkeypatch.setattr(world.clock, "sleep", sleep_and_save)
    start.start(world.fleet, ["crab-1"])
    assert (world.hypervisor.get("crab-1").state, world.guest("crab-1").memory.boot_id) == ("running", boot_id)
    assert unsound(world) == []


def test_a_state_that_cannot_be_saved_is_left_at_work_and_the_command_fails(clone: World) -> None:
    clone.guest("crab-1").write("work", "mine")
    before, boot_id = clone.record("crab-1").clean, clone.guest("crab-1").memory.boot_id
    # Room for an overlay, and none for RAM.
    clone.storage.fill()
    clone.storage.free += Size(1)
    assert type(warm_one(clone, from_now=True).error) is NoRoom
    result = warm_one(clone, from_now=True, terms=FORCED)
    assert (result.outcome, type(result.error)) == ("failed", NoSpace)
    memory = clone.guest("crab-1").memory
    assert (memory.boot_id, memory.timers_stopped) == (boot_id, False)
    assert clone.record("crab-1").clean == before
    assert unsound(clone) == []


@pytest.mark.parametrize("number", range(1, 12))
def test_a_call_that_fails_does_not_cost_the_present_state(number: int) -> None:
    world = at_work()
    boot_id = world.guest("crab-1").memory.boot_id
    process = Process(fail_at=number, error=ToolFailed("libvirt failed"))
    (result,) = warm.warm(world.process(process), ["crab-1"], from_now=True)
    repair_all(world.fleet)
    assert unsound(world) == []
    guest = world.guest("crab-1")
    assert guest.read("work") == "mine"
    assert not guest.memory.timers_stopped
    assert guest.memory.boot_id == boot_id or result.outcome == "cooled"


def test_a_guest_that_cannot_be_prepared_is_not_rebooted(clone: World) -> None:
    boot_id = clone.guest("crab-1").memory.boot_id
    clone.hypervisor.behave("crab-1", answers={"before-save.sh": failed("no")})
    result = warm_one(clone, from_now=True)
    assert result.error and result.error.exit_code is ExitCode.TOOL_FAILED
    assert clone.guest("crab-1").memory.boot_id == boot_id
    assert unsound(clone) == []


def test_the_shed_layer_goes_with_the_clean_point_that_it_stood_on(clone: World) -> None:
    molt_one(clone)
    warm_one(clone, from_now=True)
    assert clone.record("crab-1").shed is None
    result = undo.undo(clone.fleet, "crab-1")
    assert result.error and result.error.brief == "Clone 'crab-1' has no shed layer"
    assert unsound(clone) == []


def test_a_clean_point_on_a_kept_layer_names_the_layers_below_that_one_only(clone: World) -> None:
    molt_one(clone, keep="monday")
    warm_one(clone, from_now=True)
    between = frozen(clone.record("crab-1"))[0]
    kept.restore(clone.fleet, "crab-1", "monday")
    warm_one(clone, from_now=True)
    assert frozen(clone.record("crab-1")) == chain(clone)
    assert between not in clone.storage.names()
    assert unsound(clone) == []
    molt_one(clone)


def test_a_layer_that_somebody_put_on_top_is_not_left_out_of_the_clean_point(clone: World) -> None:
    running = clone.hypervisor.machines["crab-1"].running
    assert running
    clone.storage.create_overlay("theirs.qcow2", backing="crab-1.1.qcow2")
    running.chain = ("/pool/theirs.qcow2", *running.chain)
    result = warm_one(clone, from_now=True)
    assert result.error and result.error.exit_code is ExitCode.WRONG_STATE
    assert clone.hypervisor.get("crab-1").is_active
    running.chain = running.chain[1:]
    clone.storage.delete("theirs.qcow2")


@pytest.mark.parametrize("from_now", [True, False])
def test_somebodys_snapshot_stops_it(clone: World, *, from_now: bool) -> None:
    clone.hypervisor.machines["crab-1"].snapshots = ("before-lunch",)
    clone.hypervisor.kernel = "7.0"
    result = warm_one(clone, from_now=from_now)
    assert result.error and result.error.exit_code is ExitCode.WRONG_STATE
    assert clone.record("crab-1").pending is None


def test_no_ram_image_is_written_over(clone: World) -> None:
    for error_at in (None, 4, None, 5, 6, None):
        process = Process(fail_at=error_at or 0, error=ToolFailed("libvirt failed"))
        warm.warm(clone.process(process), ["crab-1"], from_now=True)
        repair_all(clone.fleet)
        assert unsound(clone) == []


# Made anew


def cold_with_work() -> World:
    world = a_world()
    world.add_clone("crab-1", warm=False)
    world.guest("crab-1").write("work", "mine")
    return world


def test_ram_that_cannot_be_saved_leaves_the_cold_clean_point_as_it_was() -> None:
    world = cold_with_work()
    before = frozen(world.record("crab-1"))
    for _ in range(3):
        # Room for an overlay or two, and none for RAM.
        world.storage.free = Size(sum(disk.length for disk in world.storage.disks.values()) + 600_000)
        assert type(warm_one(world).error) is NoRoom
        result = warm_one(world, terms=FORCED)
        assert (result.outcome, type(result.error)) == ("failed", NoSpace)
        assert frozen(world.record("crab-1")) == before == chain(world)
        assert world.guest("crab-1").is_up and not world.guest("crab-1").memory.timers_stopped
        assert unsound(world) == []


def test_ram_that_does_not_come_back_leaves_nothing_behind_wherever_it_is_killed() -> None:
    def prepare() -> World:
        world = cold_with_work()
        world.hypervisor.behave("crab-1", forgets_nonce=True)
        return world

    for world, process in killed(prepare, lambda w, p: warm.warm(w.process(p), ["crab-1"], from_now=False)):
        repair_all(world.fleet)
        assert unsound(world) == []
        record = world.record("crab-1")
        assert record.kept == (), process.changes
        held = [record.top, *([record.shed.volume] if record.shed else [])]
        assert any(world.storage.content(volume).get("work") == "mine" for volume in held)


def test_warming_again_and_again_leaves_no_ram_image_and_no_booted_layer_behind() -> None:
    world = cold_with_work()
    for kernel in ("6.2", "6.3", "6.4", "6.5"):
        world.hypervisor.kernel = kernel
        assert warm_one(world).outcome == "warmed"
        assert frozen(world.record("crab-1")) == chain(world)
        assert len(chain(world)) == 2
        molt_one(world)
        molt_one(world)
        images = [name for name in world.storage.names() if name.endswith(".ram")]
        clean = world.record("crab-1").clean
        assert clean and images == [clean.ram]
        assert world.record("crab-1").trash == ()
        assert unsound(world) == []


def test_a_booted_layer_that_the_shed_one_stands_on_waits_without_a_word() -> None:
    world = cold_with_work()
    warm_one(world)
    world.guest("crab-1").write("work", "of tuesday")
    world.hypervisor.kernel = "6.2"
    world.progress.events.clear()
    warm_one(world)
    start.start(world.fleet, ["crab-1"])
    assert world.progress.texts("warn") == ()
    undo.undo(world.fleet, "crab-1")
    assert world.guest("crab-1").read("work") == "of tuesday"
    molt_one(world)
    molt_one(world)
    assert world.record("crab-1").trash == ()
    assert unsound(world) == []


# Cold ones


def test_work_after_an_interrupted_freeze_is_not_lost_when_the_guest_is_shut_down(world: World) -> None:
    world.add_clone("crab-1", start=False, warm=False)
    other = a_world()
    other.add_clone("crab-1", start=False, warm=False)
    kill_at(Effect.CLEAN_FROZEN, lambda w, p: start.start(w.process(p), ["crab-1"]), other, world)
    world.guest("crab-1").write("work", "mine")
    world.hypervisor.destroy("crab-1")
    start.start(world.fleet, ["crab-1"])
    assert world.guest("crab-1").read("work") == "mine"
    assert unsound(world) == []


# Layers gone back to


@pytest.mark.parametrize("how", ["undo", "kept restore"])
def test_a_layer_that_does_not_boot_is_not_gone_back_to_and_the_clone_can_still_molt(clone: World, how: str) -> None:
    molt_one(clone, keep="monday" if how == "kept restore" else None)
    clone.guest("crab-1").write("works", "yes")
    clone.hypervisor.behave("crab-1", needs="works")
    result = undo.undo(clone.fleet, "crab-1") if how == "undo" else kept.restore(clone.fleet, "crab-1", "monday")
    assert (result.outcome, result.error and result.error.exit_code) == ("failed", ExitCode.TIMEOUT)
    record = clone.record("crab-1")
    assert (record.pending, record.top) == (None, "crab-1.2.qcow2")
    assert len(record.kept) + (record.shed is not None) == 1
    (started,) = start.start(clone.fleet, ["crab-1"])
    assert (started.outcome, clone.guest("crab-1").read("works")) == ("started", "yes")
    assert unsound(clone) == []


def test_an_interrupted_undo_that_cannot_be_finished_does_not_stop_a_molt(clone: World) -> None:
    molt_one(clone)
    process = Process(kill_at_effect=2)
    with effects_told_to(process), pytest.raises(Killed):
        undo.undo(clone.process(process), "crab-1")
    shed = clone.record("crab-1").shed
    assert shed
    broken = clone.storage.disks.pop(shed.volume)
    molt_one(clone)
    assert clone.hypervisor.get("crab-1").is_active
    clone.storage.disks[broken.name] = broken


@pytest.mark.parametrize("how", ["undo", "kept restore"])
def test_somebodys_snapshot_stops_going_back(clone: World, how: str) -> None:
    molt_one(clone, keep="monday" if how == "kept restore" else None)
    clone.hypervisor.machines["crab-1"].snapshots = ("before-lunch",)
    result = undo.undo(clone.fleet, "crab-1") if how == "undo" else kept.restore(clone.fleet, "crab-1", "monday")
    assert result.error and result.error.exit_code is ExitCode.WRONG_STATE
    assert clone.record("crab-1").pending is None
    assert clone.hypervisor.get("crab-1").is_active


def test_a_stopped_clone_is_warmed_to_running(clone: World) -> None:
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    clone.hypervisor.kernel = "7.0"
    assert warm_one(clone).outcome == "warmed"
    assert clone.hypervisor.get("crab-1").is_active
