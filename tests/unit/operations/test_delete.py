"""Taking away: everything that is one's own, nothing that is not, and nothing that somebody stands on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes import Disk, Killed, Process, World, effects_told_to
from fakes.soundness import unsound
from moltfleet.model.errors import Busy, ExitCode, InUse, NotFound, ToolFailed
from moltfleet.model.records import GoldenRecord, Layer, Phase
from moltfleet.model.requests import BuildRequest, CreateRequest, MoltRequest
from moltfleet.operations import create, delete, golden_build, golden_delete, molt, repair


def overlay(world: World, name: str, backing: str) -> None:
    """Let somebody make an overlay of their own in our pool."""
    world.storage.put(Disk(name, "qcow2", 1 << 30, backing=world.storage.path_of(backing)))


def test_a_deleted_clone_leaves_nothing(clone: World) -> None:
    molt.molt(clone.fleet, ["crab-1"], MoltRequest(keep="monday"))
    molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    (result,) = delete.delete(clone.fleet, ["crab-1"])
    assert (result.outcome, result.error) == ("deleted", None)
    assert clone.storage.names() == {"base.g1.qcow2", "base.g1.json"}
    assert set(clone.hypervisor.machines) == {"base"}


def test_its_address_is_free_again(clone: World) -> None:
    address = clone.record("crab-1").attachment.address
    delete.delete(clone.fleet, ["crab-1"])
    assert clone.add_clone("crab-2", start=False).attachment.address == address


def test_nothing_of_others_is_touched(clone: World) -> None:
    clone.hypervisor.add_foreign("theirs", disk="/pool/crab-1.9.qcow2")
    clone.storage.put(Disk("crab-1.9.qcow2", "qcow2", 1 << 30))
    clone.add_clone("crab-11")
    theirs = {name for name in clone.storage.names() if name.startswith("crab-11.")}
    delete.delete(clone.fleet, ["crab-1"])
    assert {"crab-1.9.qcow2", *theirs} <= clone.storage.names()
    assert set(clone.hypervisor.machines) == {"base", "theirs", "crab-11"}


def test_a_foreign_domain_is_no_clone(clone: World) -> None:
    clone.hypervisor.add_foreign("theirs")
    with pytest.raises(NotFound):
        delete.delete(clone.fleet, ["theirs"])
    with pytest.raises(NotFound):
        delete.delete(clone.fleet, ["base"])


def test_a_clone_that_somebody_stands_on_is_refused_before_anything_happens(clone: World) -> None:
    overlay(clone, "theirs.qcow2", "crab-1.clean.qcow2")
    before = clone.record("crab-1")
    (result,) = delete.delete(clone.fleet, ["crab-1"])
    assert isinstance(result.error, InUse) and "theirs.qcow2" in result.error.brief
    assert clone.record("crab-1") == before and clone.hypervisor.get("crab-1").is_active


def test_a_failure_of_one_leaves_the_others(clone: World) -> None:
    clone.add_clone("crab-2")
    overlay(clone, "theirs.qcow2", "crab-1.clean.qcow2")
    first, second = delete.delete(clone.fleet, ["crab-*"])
    assert (first.outcome, second.outcome) == ("failed", "deleted")


def test_a_busy_clone_names_its_holder(clone: World) -> None:
    clone.locks.hold_by_other("crab-1", verb="molt", user="bob")
    (result,) = delete.delete(clone.fleet, ["crab-1"])
    assert isinstance(result.error, Busy) and "bob" in result.error.brief


def test_a_clone_whose_volumes_are_gone_can_still_be_deleted(clone: World) -> None:
    for name in [name for name in clone.storage.names() if name.startswith("crab-1")]:
        del clone.storage.disks[name]
    (result,) = delete.delete(clone.fleet, ["crab-1"])
    assert result.error is None and "crab-1" not in clone.hypervisor.machines


def test_layers_go_before_what_they_stand_on_whatever_their_names(clone: World) -> None:
    record = clone.record("crab-1")
    overlay(clone, "crab-1.10.qcow2", "crab-1.1.qcow2")
    overlay(clone, "a.qcow2", "crab-1.10.qcow2")
    kept = (Layer("crab-1.10.qcow2", "2026-11-20T10:00:00Z", "monday"), Layer("a.qcow2", "2026-11-20T10:00:00Z", "b"))
    clone.hypervisor.write_record("crab-1", replace(record, kept=kept))
    delete.delete(clone.fleet, ["crab-1"])
    assert clone.storage.names() == {"base.g1.qcow2", "base.g1.json"}


def test_a_shed_layer_that_somebody_stands_on_stays_and_is_not_forgotten(clone: World) -> None:
    molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    overlay(clone, "theirs.qcow2", "crab-1.1.qcow2")
    (result,) = molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    assert result.outcome == "molted"
    assert "crab-1.1.qcow2" in clone.storage.names() & clone.record("crab-1").volumes()
    assert "left alone" in clone.progress.texts("warn")[-1]
    del clone.storage.disks["theirs.qcow2"]
    molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    assert "crab-1.1.qcow2" not in clone.storage.names()
    assert unsound(clone) == []


def test_a_dry_run_names_the_volumes_and_changes_nothing(clone: World) -> None:
    before = clone.storage.names()
    (line,) = delete.plan_delete(clone.fleet, ["crab-1"])
    assert "crab-1.clean.1.ram" in line and "crab-1.seed.iso" in line and "base" not in line
    assert clone.storage.names() == before


@pytest.mark.parametrize("number", range(1, 12))
def test_a_deletion_that_failed_halfway_is_finished_by_the_next(number: int) -> None:
    world = World()
    world.add_golden()
    world.add_clone("crab-1")
    process = Process(fail_at=number, error=ToolFailed("libvirt failed"))
    delete.delete(world.process(process), ["crab-1"])
    if "crab-1" in world.hypervisor.machines:
        (result,) = delete.delete(world.fleet, ["crab-1"])
        assert result.error is None
    assert world.storage.names() == {"base.g1.qcow2", "base.g1.json"}


# Goldens


def test_a_golden_goes_with_all_its_generations(world: World) -> None:
    for _ in range(2):
        golden_build.build(world.fleet, BuildRequest("two", "debian-12", profile="minimal"))
    golden_delete.delete_golden(world.fleet, "two")
    assert "two" not in world.hypervisor.machines
    assert not [name for name in world.storage.names() if name.startswith("two")]


@pytest.mark.parametrize("linked", [True, False])
def test_a_golden_with_clones_is_refused_naming_them(world: World, linked: bool) -> None:
    world.add_clone("crab-1", linked=linked)
    world.add_clone("crab-2", start=False)
    with pytest.raises(InUse, match=r"in use by 2 clone\(s\): crab-1, crab-2") as caught:
        golden_delete.delete_golden(world.fleet, "base")
    assert caught.value.exit_code is ExitCode.WRONG_STATE
    assert caught.value.hint == "Delete them first: moltfleet cleanup base"
    assert "base.g1.qcow2" in world.storage.names()


def test_a_golden_under_somebodys_overlay_is_refused_before_anything_happens(world: World) -> None:
    overlay(world, "theirs.qcow2", "base.g1.qcow2")
    with pytest.raises(InUse, match=r"theirs\.qcow2"):
        golden_delete.delete_golden(world.fleet, "base")
    record = world.hypervisor.get("base").record
    assert isinstance(record, GoldenRecord) and not record.deleting


def test_an_unknown_golden_is_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="No golden is named 'nope'"):
        golden_delete.delete_golden(world.fleet, "nope")


def test_a_golden_that_is_being_built_is_busy(world: World) -> None:
    world.locks.hold_by_other("base", verb="build")
    with pytest.raises(Busy):
        golden_delete.delete_golden(world.fleet, "base")


def test_a_dry_run_of_a_golden_names_its_volumes(world: World) -> None:
    assert golden_delete.plan_delete_golden(world.fleet, "base") == (
        "base: would delete the golden and base.g1.json, base.g1.qcow2",
    )


# Sweeping


def interrupted(world: World, effects: int) -> None:
    process = Process(kill_at_effect=effects)
    with effects_told_to(process), pytest.raises(Killed):
        create.create(world.process(process), CreateRequest("base", name="crab-1"))


def test_the_next_create_clears_an_interrupted_one_away_and_says_so(world: World) -> None:
    interrupted(world, 3)
    world.add_clone("crab-2")
    assert "crab-1" not in world.hypervisor.machines
    assert "Clearing away the interrupted creation of 'crab-1'" in world.progress.texts("say")
    assert unsound(world) == []


def test_a_create_that_is_still_at_work_is_left_alone(world: World) -> None:
    interrupted(world, 3)
    world.locks.hold_by_other("crab-1", verb="create")
    repair.sweep(world.fleet)
    assert world.record("crab-1").phase is Phase.CREATING


def test_a_create_that_ends_between_the_look_and_the_lock_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(world, 3)
    listed = world.hypervisor.domains()
    world.hypervisor.write_record("crab-1", replace(world.record("crab-1"), phase=Phase.READY))
    monkeypatch.setattr(type(world.hypervisor), "domains", lambda _: listed)
    repair.sweep(world.fleet)
    assert "crab-1" in world.hypervisor.machines


def test_what_cannot_be_swept_does_not_stop_the_command(world: World) -> None:
    interrupted(world, 3)
    overlay(world, "theirs.qcow2", "crab-1.clean.qcow2")
    world.add_clone("crab-2")
    assert world.record("crab-2").phase is Phase.READY
    assert [text for text in world.progress.texts("warn") if "'crab-1'" in text]


def test_a_sweep_of_nothing_changes_nothing(clone: World) -> None:
    process = Process()
    repair.sweep(clone.process(process))
    assert process.changes == []
