"""Molts: back to the clean point, warm when that can be, cold and said when it cannot; and undo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from fakes import Killed, Process, World, a_world, effects_told_to
from fakes.hypervisor import FakeHypervisor
from moltfleet.model.domain import CommandResult, VirtType
from moltfleet.model.effects import Effect
from moltfleet.model.errors import ExitCode, GuestUnreachable, InvalidInput, NoSpace, NotFound, ToolFailed
from moltfleet.model.records import Verb
from moltfleet.model.requests import MoltRequest, StopRequest
from moltfleet.model.results import MoltResult
from moltfleet.operations import molt, parallel, start, stop, undo


def molt_one(world: World, name: str = "crab-1", **options: object) -> MoltResult:
    (result,) = molt.molt(world.fleet, [name], MoltRequest(**options))  # type: ignore[arg-type]
    return result


def test_a_warm_molt_brings_disk_and_memory_back(clone: World) -> None:
    boot_id = clone.guest("crab-1").memory.boot_id
    clone.guest("crab-1").write("dirt", "yes")
    result = molt_one(clone)
    assert (result.outcome, result.mode, result.reason, result.error) == ("molted", "warm", "", None)
    guest = clone.guest("crab-1")
    assert (guest.read("dirt"), guest.memory.boot_id) == ("", boot_id)


def test_a_molt_steps_the_clock_and_starts_the_timers_again(clone: World) -> None:
    clone.clock.sleep(86_400)
    molt_one(clone)
    memory = clone.guest("crab-1").memory
    assert memory.clock_ahead_s == pytest.approx(0.0, abs=0.5)
    assert not memory.timers_stopped


def test_each_molt_writes_a_new_overlay_and_sheds_the_one_before(clone: World) -> None:
    for number in (2, 3, 4):
        molt_one(clone)
        record = clone.record("crab-1")
        assert record.top == f"crab-1.{number}.qcow2"
        assert record.shed and record.shed.volume == f"crab-1.{number - 1}.qcow2"
    assert "crab-1.2.qcow2" not in clone.storage.names()


def test_a_cold_molt_boots(clone: World) -> None:
    boot_id = clone.guest("crab-1").memory.boot_id
    clone.guest("crab-1").write("dirt", "yes")
    result = molt_one(clone, cold=True)
    assert (result.outcome, result.mode, result.reason) == ("molted", "cold", "asked for")
    assert clone.guest("crab-1").read("dirt") == ""
    assert clone.guest("crab-1").memory.boot_id != boot_id


def test_a_molt_keeps_the_identity(clone: World) -> None:
    before = {key: clone.guest("crab-1").read(key) for key in ("machine-id", "host-key", "hostname", "instance-id")}
    molt_one(clone, cold=True)
    assert {key: clone.guest("crab-1").read(key) for key in before} == before


def test_the_golden_and_a_sibling_are_untouched(clone: World) -> None:
    clone.add_clone("crab-2")
    clone.guest("crab-2").write("work", "mine")
    golden = dict(clone.storage.disks["base.g1.qcow2"].written)
    molt_one(clone)
    assert clone.guest("crab-2").read("work") == "mine"
    assert clone.storage.disks["base.g1.qcow2"].written == golden


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda w: setattr(w.hypervisor, "kernel", "6.2.0"), "kernel"),
        (lambda w: setattr(w.hypervisor, "facts", replace(w.hypervisor.facts, qemu_version=8_000_000)), "qemu"),
        (lambda w: edit(w), "definition"),
    ],
)
def test_a_changed_fingerprint_makes_the_molt_cold_and_says_what_changed(
    clone: World, change: object, named: str
) -> None:
    change(clone)  # type: ignore[operator]
    result = molt_one(clone)
    assert (result.outcome, result.mode) == ("molted", "cold")
    assert result.reason == f"changed since the clean point: {named}"


def edit(world: World) -> None:
    machine = world.hypervisor.machines["crab-1"]
    machine.spec = replace(machine.spec, vcpus=7)


def test_a_restore_that_fails_goes_cold_on_yet_another_overlay(clone: World) -> None:
    clone.hypervisor.images.clear()
    result = molt_one(clone)
    assert (result.outcome, result.mode) == ("molted", "cold")
    assert "cannot read domain image" in result.reason
    assert clone.record("crab-1").top == "crab-1.3.qcow2"
    assert "crab-1.2.qcow2" not in clone.storage.names()


def test_a_guest_without_the_nonce_goes_cold(clone: World) -> None:
    clone.hypervisor.behave("crab-1", forgets_nonce=True)
    result = molt_one(clone)
    assert (result.outcome, result.mode) == ("molted", "cold")
    assert "nonce" in result.reason


def test_a_clock_that_stays_wrong_goes_cold(clone: World) -> None:
    clone.hypervisor.behave("crab-1", clock_error_s=3.0)
    assert "Clock of 'crab-1' is off" in molt_one(clone).reason


def test_on_a_host_without_a_processor_to_spare_the_way_to_the_guest_is_allowed_for(clone: World) -> None:
    clone.hypervisor.behave("crab-1", way_s=1.0)
    assert molt_one(clone).mode == "warm"
    assert clone.guest("crab-1").memory.clock_ahead_s == pytest.approx(0.0, abs=0.5)


@pytest.mark.parametrize("way", [0.0, 2.0])
def test_a_slow_way_back_is_not_taken_for_a_late_clock(clone: World, way: float) -> None:
    clone.hypervisor.behave("crab-1", way_s=way, way_back_s=5.0)
    assert molt_one(clone).mode == "warm"
    assert clone.guest("crab-1").memory.clock_ahead_s == pytest.approx(0.0, abs=0.5)


def test_without_an_agent_half_of_the_way_is_allowed_for(clone: World) -> None:
    clone.hypervisor.behave("crab-1", has_agent=False, way_s=1.0)
    assert molt_one(clone).mode == "warm"


def test_a_guest_that_hangs_after_its_restore_goes_cold_after_a_deadline(clone: World) -> None:
    clone.hypervisor.behave("crab-1", hangs=True)
    result = molt_one(clone)
    # It hangs after a boot, too: then the molt has failed, and says where.
    assert (result.outcome, result.error and result.error.exit_code) == ("failed", ExitCode.TIMEOUT)


def test_ram_that_failed_twice_is_suspect_and_not_tried_again(clone: World) -> None:
    clone.hypervisor.behave("crab-1", forgets_nonce=True)
    molt_one(clone)
    molt_one(clone)
    record = clone.record("crab-1")
    assert record.clean and record.clean.failures == 2
    assert molt_one(clone).reason == "its RAM image failed 2 times"


def test_a_warm_molt_that_works_forgets_earlier_failures(clone: World) -> None:
    clone.hypervisor.behave("crab-1", forgets_nonce=True)
    molt_one(clone)
    clone.hypervisor.behave("crab-1", forgets_nonce=False)
    molt_one(clone)
    record = clone.record("crab-1")
    assert record.clean and record.clean.failures == 0


def test_a_chain_that_skips_a_layer_is_noticed_and_the_guest_does_not_go_on(clone: World) -> None:
    clone.hypervisor.skips_a_layer.add("crab-1")
    result = molt_one(clone)
    assert (result.outcome, result.mode) == ("molted", "cold")
    assert "other layers" in result.reason
    clone.hypervisor.violations.clear()


def test_a_full_pool_fails_the_molt_and_leaves_the_clone_at_work(clone: World) -> None:
    clone.guest("crab-1").write("work", "mine")
    clone.storage.fill()
    result = molt_one(clone)
    assert isinstance(result.error, NoSpace)
    assert clone.guest("crab-1").read("work") == "mine"


def test_a_full_pool_says_nothing_against_the_ram_image(clone: World) -> None:
    clone.storage.fill()
    molt_one(clone)
    record = clone.record("crab-1")
    assert record.clean and record.clean.failures == 0


def test_a_written_frozen_layer_voids_the_clean_point_and_nothing_is_lost(clone: World) -> None:
    clone.clock.sleep(1)
    clone.guest("crab-1").write("work", "mine")
    clone.storage.write(clone.storage.path_of("crab-1.clean.qcow2"), "blockcommit", "yes")
    result = molt_one(clone)
    assert result.error and result.error.exit_code is ExitCode.WRONG_STATE
    assert "layer 'crab-1.clean.qcow2' was written to" in result.error.brief
    assert clone.guest("crab-1").read("work") == "mine"


def test_a_missing_frozen_layer_is_said(clone: World) -> None:
    del clone.storage.disks["crab-1.clean.qcow2"]
    result = molt_one(clone)
    assert result.error and "layer 'crab-1.clean.qcow2' is gone" in result.error.brief


def test_a_snapshot_of_somebody_stops_a_molt_unless_it_may_go(clone: World) -> None:
    clone.hypervisor.machines["crab-1"].snapshots = ("before-lunch",)
    result = molt_one(clone)
    assert result.error and result.error.exit_code is ExitCode.WRONG_STATE
    assert clone.hypervisor.snapshot_names("crab-1") == ("before-lunch",)
    assert molt_one(clone, discard_snapshots=True).outcome == "molted"
    assert clone.hypervisor.snapshot_names("crab-1") == ()


def test_a_managed_save_is_not_resumed(clone: World) -> None:
    clone.hypervisor.machines["crab-1"].has_managed_save = True
    molt_one(clone)
    assert not clone.hypervisor.machines["crab-1"].has_managed_save


def test_a_kept_layer_has_its_name_and_stays_through_later_molts(clone: World) -> None:
    clone.guest("crab-1").write("work", "mine")
    assert molt_one(clone, keep="monday").kept == "monday"
    molt_one(clone)
    molt_one(clone)
    (layer,) = clone.record("crab-1").kept
    assert layer.label == "monday"
    assert clone.storage.content(layer.volume)["work"] == "mine"


def test_a_kept_layer_without_a_name_gets_the_time(clone: World) -> None:
    kept = molt_one(clone, keep="").kept
    assert kept and kept.startswith("2026-11-20t")


def test_a_label_is_used_once(clone: World) -> None:
    molt_one(clone, keep="monday")
    result = molt_one(clone, keep="monday")
    assert isinstance(result.error, InvalidInput)


@pytest.mark.parametrize("label", ["../x", "Über", "a b", "<&>"])
def test_a_bad_label_is_refused_before_anything_happens(clone: World, label: str) -> None:
    with pytest.raises(InvalidInput):
        molt.molt(clone.fleet, ["crab-1"], MoltRequest(keep=label))


def test_a_clone_without_clean_point_is_refused_with_the_way_to_one(world: World) -> None:
    world.add_clone("crab-1", start=False)
    result = molt_one(world)
    assert result.error and result.error.exit_code is ExitCode.WRONG_STATE
    assert result.error.hint == "Its first start takes one: moltfleet start crab-1"


def test_a_busy_clone_names_its_holder_and_leaves_the_others(clone: World) -> None:
    clone.add_clone("crab-2")
    clone.locks.hold_by_other("crab-1", verb="molt", user="bob")
    first, second = molt.molt(clone.fleet, [], MoltRequest())
    assert first.error and first.error.exit_code is ExitCode.WRONG_STATE and "bob" in first.error.brief
    assert second.outcome == "molted"


def test_an_unknown_name_is_refused_before_any_molt(clone: World) -> None:
    with pytest.raises(NotFound, match="No clone is named 'crab-9'"):
        molt.molt(clone.fleet, ["crab-1", "crab-9"], MoltRequest())
    assert clone.record("crab-1").top == "crab-1.1.qcow2"


def test_a_foreign_domain_is_no_clone(clone: World) -> None:
    clone.hypervisor.add_foreign("theirs")
    with pytest.raises(NotFound):
        molt.molt(clone.fleet, ["theirs"], MoltRequest())


def test_a_stopped_clone_is_molted_to_running(clone: World) -> None:
    stop.stop(clone.fleet, ["crab-1"], StopRequest(now=True))
    assert molt_one(clone).mode == "warm"
    assert clone.hypervisor.get("crab-1").is_active


def test_a_dry_run_says_how_each_clone_would_molt_and_changes_nothing(clone: World) -> None:
    clone.add_clone("crab-2", warm=False)
    clone.add_clone("crab-3", start=False)
    before = clone.storage.names()
    lines = molt.plan_molt(clone.fleet, [], MoltRequest())
    assert [line.split(":")[1].split()[0] for line in lines] == ["warm", "cold", "has"]
    assert clone.storage.names() == before


def test_the_seconds_of_a_molt_add_up(clone: World) -> None:
    seconds = molt_one(clone, cold=True).seconds
    parts = seconds.overlay + seconds.destroy + seconds.restore + seconds.ready
    assert 0 < parts <= seconds.total + 0.001


# Undo


def test_undo_brings_the_work_back_and_undoes_itself(clone: World) -> None:
    clone.guest("crab-1").write("work", "mine")
    molt_one(clone)
    assert undo.undo(clone.fleet, "crab-1").outcome == "undone"
    assert clone.guest("crab-1").read("work") == "mine"
    assert undo.undo(clone.fleet, "crab-1").outcome == "undone"
    assert clone.guest("crab-1").read("work") == ""


def test_undo_without_a_shed_layer_is_refused(clone: World) -> None:
    result = undo.undo(clone.fleet, "crab-1")
    assert result.error and result.error.brief == "Clone 'crab-1' has no shed layer"


def test_undo_with_a_vanished_layer_leaves_the_clone_as_it_is(clone: World) -> None:
    molt_one(clone)
    del clone.storage.disks["crab-1.1.qcow2"]
    result = undo.undo(clone.fleet, "crab-1")
    assert result.error and "is gone" in result.error.brief
    assert clone.hypervisor.get("crab-1").is_active


def test_undo_takes_back_a_molt_that_cannot_be_finished(clone: World) -> None:
    clone.guest("crab-1").write("work", "mine")
    clone.hypervisor.behave("crab-1", needs="work")
    assert molt_one(clone).outcome == "failed"
    pending = clone.record("crab-1").pending
    assert pending and pending.verb is Verb.MOLT
    assert undo.undo(clone.fleet, "crab-1").outcome == "undone"
    assert clone.guest("crab-1").read("work") == "mine"
    assert clone.record("crab-1").pending is None


@pytest.mark.parametrize("options", [{}, {"cold": True}])
def test_a_molt_whose_last_word_was_lost_does_not_cost_later_work(clone: World, options: dict[str, bool]) -> None:
    """Killed at its very end, the clone runs and is worked in; the next command must not take that for the molt's."""
    undisturbed = Process()
    with effects_told_to(undisturbed):
        molt.molt(clone.process(undisturbed), ["crab-1"], MoltRequest(**options))  # type: ignore[arg-type]
    process = Process(kill_at_effect=undisturbed.effects.index(Effect.MOLT_READIED) + 1)
    with effects_told_to(process), pytest.raises(Killed):
        molt.molt(clone.process(process), ["crab-1"], MoltRequest(**options))  # type: ignore[arg-type]
    clone.guest("crab-1").write("later work", "mine")
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    assert clone.storage.content(clone.record("crab-1").top).get("later work") == "mine"


def test_an_interrupted_molt_is_not_finished_on_a_layer_that_was_written_meanwhile(clone: World) -> None:
    clone.guest("crab-1").write("work", "mine")
    process = Process(kill_at_effect=4)
    with effects_told_to(process), pytest.raises(Killed):
        molt.molt(clone.process(process), ["crab-1"], MoltRequest())
    assert process.effects[-1] is Effect.MOLT_DESTROYED
    clone.clock.sleep(1)
    clone.storage.write(clone.storage.path_of("crab-1.clean.qcow2"), "blockcommit", "yes")
    (result,) = start.start(clone.fleet, ["crab-1"])
    assert result.error and "was written to" in result.error.brief
    (result,) = start.start(clone.fleet, ["crab-1"])
    assert (result.outcome, clone.guest("crab-1").read("work")) == ("started", "mine")


def test_a_failed_tool_keeps_its_words(clone: World) -> None:
    clone.hypervisor.behave("crab-1", shows_banner=False)
    result = molt_one(clone)
    assert result.error is not None and not isinstance(result.error, ToolFailed)
    assert result.error.exit_code is ExitCode.TIMEOUT
    assert result.error.hint and "virsh console crab-1" in result.error.hint


@pytest.mark.parametrize(("emulated", "asked", "expected"), [(False, None, 4), (True, None, 1), (True, 3, 3)])
def test_emulated_clones_that_molt_do_not_crowd_each_other(
    monkeypatch: pytest.MonkeyPatch, emulated: bool, asked: int | None, expected: int
) -> None:
    world = a_world(clones=("crab-1", "crab-2", "crab-3"), jobs=4)
    virt_type = VirtType.QEMU if emulated else VirtType.KVM
    world.hypervisor.facts = replace(world.hypervisor.facts, virt_type=virt_type, cpus=2)
    seen: list[int] = []

    def each(targets: Sequence[str], act: Callable[[str], MoltResult], *, jobs: int) -> tuple[MoltResult, ...]:
        seen.append(jobs)
        return parallel.each(targets, act, jobs=jobs)

    monkeypatch.setattr(molt, "each", each)
    results = molt.molt(world.fleet, ["crab-*"], MoltRequest(jobs=asked, cold=True))
    assert ([result.outcome for result in results], seen) == (["molted"] * 3, [expected])


def test_a_clone_that_goes_while_others_are_counted_does_not_keep_them_from_their_molt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = a_world(clones=("crab-1", "crab-2"), jobs=4)
    monkeypatch.setattr(molt, "clone_names", lambda fleet, patterns: ("crab-1", "crab-2", "gone"))
    results = molt.molt(world.fleet, ["*"], MoltRequest(cold=True))
    assert [result.outcome for result in results] == ["molted", "molted", "failed"]


def test_a_silent_agent_is_waited_for_once_and_the_time_is_told_when_it_is_sent(
    clone: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[str] = []

    def says_nothing(self: FakeHypervisor, name: str, *_: object, **__: object) -> CommandResult:
        waits.append(name)
        self.clock.sleep(15)
        raise GuestUnreachable("no agent is connected")

    monkeypatch.setattr(FakeHypervisor, "agent_run", says_nothing)
    result = molt_one(clone)
    assert (result.error, result.mode, waits) == (None, "warm", ["crab-1"])
