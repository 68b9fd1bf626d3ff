"""Snapshots: what is frozen stays through molts and is gone back to by booting; chains are told and made short."""

from __future__ import annotations

import pytest

from fakes import Killed, Process, World, effects_told_to
from fakes.soundness import repair_all, unsound
from moltfleet.model.domain import DomainState
from moltfleet.model.effects import Effect
from moltfleet.model.errors import (
    AlreadyExists,
    Busy,
    InvalidInput,
    MoltfleetError,
    NoCapacity,
    NoSpace,
    NotFound,
    ToolFailed,
    WrongState,
)
from moltfleet.model.requests import MoltRequest, StopRequest
from moltfleet.model.results import MoltResult
from moltfleet.model.snapshots import LONG_CHAIN, MOST_SNAPSHOTS
from moltfleet.operations import delete, kept, molt, snapshots, start, stop, undo, warm


@pytest.fixture
def taken(clone: World) -> World:
    """crab-1 with snapshot "noon", of work of the morning, and work of the evening on top."""
    write(clone, "of the morning")
    snapshots.create(clone.fleet, "crab-1", "noon")
    write(clone, "of the evening")
    return clone


def write(world: World, work: str) -> None:
    world.guest("crab-1").write("work", work)


def work(world: World) -> str:
    return world.guest("crab-1").read("work")


def revert(world: World, name: str = "noon", **options: object) -> MoltResult:
    return snapshots.revert(world.fleet, "crab-1", name, **options)  # type: ignore[arg-type]


def molt_it(world: World) -> MoltResult:
    (result,) = molt.molt(world.fleet, ["crab-1"], MoltRequest())
    return result


def names(world: World) -> list[tuple[str, bool]]:
    return [(view.name, view.is_below) for view in snapshots.list_snapshots(world.fleet, ())[0]]


def length(world: World) -> int:
    (chain,) = snapshots.list_snapshots(world.fleet, ("crab-1",))[1]
    return chain.layers


def test_a_snapshot_is_taken_while_the_clone_goes_on(clone: World) -> None:
    running = clone.hypervisor.machines["crab-1"].running
    top = clone.record("crab-1").top
    write(clone, "of the morning")
    view, chain = snapshots.create(clone.fleet, "crab-1", "noon")
    assert (view.name, view.is_below, chain.layers) == ("noon", True, 3)
    record = clone.record("crab-1")
    assert record.snapshots[0].stamp.volume == top != record.top
    assert clone.hypervisor.machines["crab-1"].running is running
    assert work(clone) == "of the morning"
    assert unsound(clone) == []


def test_going_back_boots_the_snapshot_and_undo_brings_the_rest_back(taken: World) -> None:
    result = revert(taken)
    assert (result.outcome, result.mode, result.kept) == ("reverted", "cold", None)
    assert work(taken) == "of the morning"
    assert unsound(taken) == []
    undo.undo(taken.fleet, "crab-1")
    assert work(taken) == "of the evening"


def test_a_snapshot_can_be_gone_back_to_again_and_again(taken: World) -> None:
    for _ in range(3):
        assert revert(taken).outcome == "reverted"
        assert work(taken) == "of the morning"
        write(taken, "of the evening")
    assert unsound(taken) == []


def test_what_a_revert_throws_away_can_be_kept(taken: World) -> None:
    assert revert(taken, keep="evening").kept == "evening"
    kept.restore(taken.fleet, "crab-1", "evening")
    assert work(taken) == "of the evening"
    assert unsound(taken) == []


def test_a_snapshot_stays_through_molts_and_the_clean_point_is_clean(taken: World) -> None:
    assert molt_it(taken).mode == "warm"
    assert work(taken) == ""
    assert names(taken) == [("noon", False)]
    assert molt_it(taken).mode == "warm"
    assert revert(taken).outcome == "reverted"
    assert work(taken) == "of the morning"
    assert unsound(taken) == []


def test_snapshots_on_snapshots_each_hold_what_was_then(taken: World) -> None:
    snapshots.create(taken.fleet, "crab-1", "night")
    write(taken, "of the night")
    assert names(taken) == [("noon", True), ("night", True)]
    revert(taken, "noon")
    assert (work(taken), names(taken)) == ("of the morning", [("noon", True), ("night", False)])
    revert(taken, "night")
    assert work(taken) == "of the evening"
    assert unsound(taken) == []


def test_a_deleted_snapshots_layer_goes_when_nothing_stands_on_it(taken: World) -> None:
    volume = taken.record("crab-1").snapshots[0].stamp.volume
    assert snapshots.plan_delete(taken.fleet, "crab-1", "noon")[0].endswith("; its layer stays for what stands on it")
    snapshots.delete(taken.fleet, "crab-1", "noon")
    assert (names(taken), volume in taken.storage.names()) == ([], True)
    assert work(taken) == "of the evening"
    molt_it(taken)
    assert volume in taken.storage.names()
    molt_it(taken)
    assert volume not in taken.storage.names()
    assert unsound(taken) == []


def test_a_snapshot_that_nothing_stands_on_is_deleted_with_its_layer(taken: World) -> None:
    volume = taken.record("crab-1").snapshots[0].stamp.volume
    molt_it(taken)
    molt_it(taken)
    assert snapshots.plan_delete(taken.fleet, "crab-1", "noon")[0].endswith(" with its layer")
    snapshots.delete(taken.fleet, "crab-1", "noon")
    assert volume not in taken.storage.names()


def test_a_clone_that_is_off_is_frozen_as_it_is_and_stays_off(clone: World) -> None:
    write(clone, "of the morning")
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    snapshots.create(clone.fleet, "crab-1", "noon")
    assert clone.hypervisor.get("crab-1").state is DomainState.SHUT_OFF
    assert unsound(clone) == []
    start.start(clone.fleet, ["crab-1"])
    assert work(clone) == "of the morning"
    assert unsound(clone) == []


def test_without_an_agent_it_is_refused_and_offline_shuts_the_guest_down_for_it(clone: World) -> None:
    clone.hypervisor.behave("crab-1", has_agent=False)
    with pytest.raises(WrongState, match="Guest agent of 'crab-1' does not answer") as caught:
        snapshots.create(clone.fleet, "crab-1", "noon")
    assert caught.value.hint == "--offline shuts the guest down for it, and starts it again."
    before = clone.guest("crab-1").memory.boot_id
    snapshots.create(clone.fleet, "crab-1", "noon", offline=True)
    assert clone.guest("crab-1").memory.boot_id != before
    assert unsound(clone) == []


def test_bad_requests_are_refused_and_change_nothing(taken: World) -> None:
    before = taken.record("crab-1")
    cases: list[tuple[type[MoltfleetError], str, str]] = [
        (AlreadyExists, "crab-1", "noon"),
        (InvalidInput, "crab-1", "../x"),
        (InvalidInput, "crab-1", ""),
        (NotFound, "crab-2", "other"),
    ]
    for error, name, label in cases:
        with pytest.raises(error):
            snapshots.create(taken.fleet, name, label)
        with pytest.raises(error):
            snapshots.plan_create(taken.fleet, name, label, offline=False)
    taken.hypervisor.suspend("crab-1")
    with pytest.raises(WrongState, match="is paused"):
        snapshots.create(taken.fleet, "crab-1", "other")
    taken.hypervisor.resume("crab-1")
    missing = revert(taken, "dawn")
    assert isinstance(missing.error, NotFound) and missing.error.hint == "There are: noon."
    with pytest.raises(NotFound):
        snapshots.delete(taken.fleet, "crab-1", "dawn")
    taken.locks.hold_by_other("crab-1", verb="molt")
    with pytest.raises(Busy):
        snapshots.create(taken.fleet, "crab-1", "other")
    assert taken.record("crab-1") == before


def test_a_clone_without_a_clean_point_has_no_snapshots(world: World) -> None:
    world.add_clone("crab-1", start=False)
    with pytest.raises(WrongState, match="has no clean point"):
        snapshots.create(world.fleet, "crab-1", "noon")


def test_somebodys_own_snapshot_stops_ours(clone: World) -> None:
    clone.hypervisor.machines["crab-1"].snapshots = ("theirs",)
    with pytest.raises(WrongState, match="snapshot\\(s\\) of somebody's"):
        snapshots.create(clone.fleet, "crab-1", "noon")


def test_a_freeze_that_fails_leaves_the_clone_on_its_layer(clone: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ToolFailed("libvirt failed to freeze the disk")

    before = clone.record("crab-1")
    monkeypatch.setattr(type(clone.hypervisor), "freeze_disk", fail)
    with pytest.raises(ToolFailed):
        snapshots.create(clone.fleet, "crab-1", "noon")
    monkeypatch.undo()
    after = clone.record("crab-1")
    assert (after.top, after.snapshots, after.pending) == (before.top, (), None)
    assert unsound(clone) == []


def test_a_full_pool_takes_no_snapshot_and_the_clone_runs_on(clone: World) -> None:
    write(clone, "of the morning")
    clone.storage.fill()
    with pytest.raises(NoSpace):
        snapshots.create(clone.fleet, "crab-1", "noon")
    assert work(clone) == "of the morning"
    assert unsound(clone) == []


def test_a_snapshot_that_was_written_to_is_not_gone_back_to(taken: World) -> None:
    molt_it(taken)
    molt_it(taken)
    taken.clock.sleep(60)
    volume = taken.record("crab-1").snapshots[0].stamp.volume
    taken.storage.write(taken.storage.path_of(volume), "virus", "yes")
    result = revert(taken)
    assert isinstance(result.error, WrongState)
    assert "is void: layer" in result.error.brief
    snapshots.delete(taken.fleet, "crab-1", "noon")
    assert unsound(taken) == []


def test_a_snapshot_that_does_not_boot_leaves_the_clone_off_on_what_it_had(taken: World) -> None:
    write(taken, "of the evening")
    taken.guest("crab-1").write("needed", "yes")
    before = taken.record("crab-1")
    taken.hypervisor.behave("crab-1", needs="needed")
    assert revert(taken).outcome == "failed"
    after = taken.record("crab-1")
    assert (after.top, after.shed, after.pending) == (before.top, before.shed, None)
    start.start(taken.fleet, ["crab-1"])
    assert work(taken) == "of the evening"
    assert unsound(taken) == []


def test_a_clean_point_of_now_goes_through_snapshots(taken: World) -> None:
    warm.warm(taken.fleet, ["crab-1"], from_now=True)
    write(taken, "later")
    assert molt_it(taken).mode == "warm"
    assert work(taken) == "of the evening"
    assert revert(taken).outcome == "reverted"
    assert work(taken) == "of the morning"
    assert unsound(taken) == []


def test_deleting_a_clone_takes_its_snapshots_along(taken: World) -> None:
    molt_it(taken)
    delete.delete(taken.fleet, ["crab-1"])
    assert not [name for name in taken.storage.names() if name.startswith("crab-1")]


def test_a_long_chain_is_told_and_flattened_into_one_layer(clone: World) -> None:
    for number in range(LONG_CHAIN - 2):
        write(clone, f"of hour {number}")
        snapshots.create(clone.fleet, "crab-1", f"hour-{number}")
    assert length(clone) == LONG_CHAIN
    assert any("stands on 10 layers of its own" in text for text in clone.progress.texts("warn"))
    write(clone, "of now")
    assert snapshots.flatten(clone.fleet, "crab-1").outcome == "flattened"
    assert (length(clone), work(clone)) == (1, "of now")
    assert clone.storage.disks[clone.record("crab-1").top].backing is None
    assert unsound(clone) == []
    assert revert(clone, "hour-3").outcome == "reverted"
    assert work(clone) == "of hour 3"
    assert molt_it(clone).mode == "warm"
    assert (length(clone), work(clone)) == (2, "")
    assert unsound(clone) == []


def test_a_flattened_clone_is_snapshotted_molted_undone_and_deleted_like_any(taken: World) -> None:
    snapshots.flatten(taken.fleet, "crab-1")
    snapshots.create(taken.fleet, "crab-1", "flat")
    write(taken, "later")
    assert revert(taken, "flat").outcome == "reverted"
    assert work(taken) == "of the evening"
    molt_it(taken)
    undo.undo(taken.fleet, "crab-1")
    assert work(taken) == "of the evening"
    stop.stop(taken.fleet, ["crab-1"], StopRequest())
    start.start(taken.fleet, ["crab-1"])
    assert unsound(taken) == []
    delete.delete(taken.fleet, ["crab-1"])
    assert not [name for name in taken.storage.names() if name.startswith("crab-1")]


def test_a_copy_that_does_not_fit_is_refused_while_the_clone_runs_on(taken: World) -> None:
    taken.storage.fill()
    result = snapshots.flatten(taken.fleet, "crab-1")
    assert isinstance(result.error, NoCapacity)
    assert work(taken) == "of the evening"
    assert unsound(taken) == []


def test_there_is_an_end_to_snapshots(clone: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MOST_SNAPSHOTS", 2)
    for name in ("one", "two"):
        snapshots.create(clone.fleet, "crab-1", name)
    with pytest.raises(WrongState, match="has 2 snapshots already"):
        snapshots.create(clone.fleet, "crab-1", "three")


def test_as_many_snapshots_as_may_be_fit_into_a_record(clone: World) -> None:
    from moltfleet.adapters.libvirt.metadata import to_text

    for number in range(MOST_SNAPSHOTS):
        snapshots.create(clone.fleet, "crab-1", f"pre-run-2026-11-21t2151{number:02}z")
    molt_it(clone)
    assert len(to_text(clone.record("crab-1"))) < 16 * 1024


def test_killed_between_freezing_and_the_record_the_snapshot_is_finished(clone: World) -> None:
    write(clone, "of the morning")
    process = Process()
    numbers = {Effect.CLEAN_OVERLAID: 2, Effect.CLEAN_FROZEN: 3}
    for effect, number in numbers.items():
        process = Process(kill_at_effect=number)
        with effects_told_to(process), pytest.raises(Killed):
            snapshots.create(clone.process(process), "crab-1", f"at-{number}")
        assert process.effects[-1] is effect
        repair_all(clone.fleet)
        assert unsound(clone) == []
    assert names(clone) == [("at-3", True)]
    assert work(clone) == "of the morning"


def test_names_before_a_run_are_of_the_moment_and_fit(clone: World) -> None:
    label = snapshots.new_label(clone.fleet)
    assert label.startswith("pre-run-20") and label.endswith("z")
    snapshots.create(clone.fleet, "crab-1", label)
    assert names(clone) == [(label, True)]
