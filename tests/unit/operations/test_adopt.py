"""What scripts left becomes ours or is refused with a reason, goes back when wanted, and never loses a byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from fakes import World, a_world
from fakes.hypervisor import FakeHypervisor
from fakes.storage import Disk
from fakes.takeover import CLONE, GOLDEN, HOST_KEY, FakeTakeover, scripts_were_here
from moltfleet.model.adoption import Adoptee, AdoptRequest
from moltfleet.model.domain import CommandResult, DomainState
from moltfleet.model.errors import DeadlinePassed, GuestFailed, HostUnavailable, MoltfleetError, NotFound, ToolFailed
from moltfleet.model.layerhead import LayerHead
from moltfleet.model.records import CloneRecord, GoldenRecord, Phase, SyncedLogins
from moltfleet.model.requests import CreateRequest, MoltRequest, StopRequest, UpdateRequest
from moltfleet.model.takeover import ForeignDisk
from moltfleet.operations import (
    adopt,
    adopt_undo,
    create,
    doctor,
    golden_delete,
    golden_update,
    listing,
    molt,
    snapshots,
    start,
    stop,
)
from moltfleet.operations.adopt_pin import parse_host_keys
from moltfleet.operations.adopt_plan import plan_adopt

OTHER = "moltdown-clone-ubuntu2404-agent-20250202-080000"
BOTH = AdoptRequest((GOLDEN,))
DISK = f"/pool/{GOLDEN}.qcow2"


@pytest.fixture
def world() -> World:
    made = a_world(golden=None)
    scripts_were_here(made, CLONE, OTHER)
    return made


@pytest.fixture
def takeover(world: World) -> FakeTakeover:
    return FakeTakeover(world.hypervisor)


def plan(world: World, takeover: FakeTakeover, *names: str) -> dict[str, Adoptee]:
    return {row.name: row for row in plan_adopt(world.fleet, takeover, AdoptRequest(names or (GOLDEN,))).rows}


def adopt_all(world: World, takeover: FakeTakeover, request: AdoptRequest = BOTH) -> dict[str, str]:
    return {row.name: row.outcome for row in adopt.adopt(world.fleet, takeover, request)}


def refusal(row: Adoptee) -> MoltfleetError:
    assert row.outcome == "refused" and row.error is not None and row.error.hint
    assert "\n" not in row.error.brief
    return row.error


def files(world: World) -> dict[str, tuple[dict[str, str], bytes, str | None]]:
    return {name: (dict(d.written), d.data, d.backing) for name, d in world.storage.disks.items()}


# What is found and planned


def test_a_plan_changes_nothing_at_all(world: World, takeover: FakeTakeover) -> None:
    before = files(world)
    rows = plan(world, takeover)
    assert {name: row.outcome for name, row in rows.items()} == dict.fromkeys((GOLDEN, CLONE, OTHER), "adoptable")
    assert files(world) == before
    assert all(world.hypervisor.get(name).record is None for name in rows)


def test_without_a_name_what_the_scripts_made_is_found_and_nothing_else(world: World, takeover: FakeTakeover) -> None:
    world.storage.put(Disk("theirs.qcow2", "qcow2", 1 << 30))
    world.hypervisor.add_foreign("theirs", disk="/pool/theirs.qcow2")
    assert set(plan_names(world, takeover)) == {GOLDEN, CLONE, OTHER}
    world.hypervisor.machines[GOLDEN].snapshots = ()
    assert set(plan_names(world, takeover)) == {GOLDEN, CLONE, OTHER}


def plan_names(world: World, takeover: FakeTakeover) -> list[str]:
    return [row.name for row in plan_adopt(world.fleet, takeover, AdoptRequest()).rows]


def test_a_clone_of_any_name_is_found_by_what_it_stands_on(world: World, takeover: FakeTakeover) -> None:
    world.storage.put(Disk("worker-1.qcow2", "qcow2", 1 << 30, backing=DISK))
    world.hypervisor.add_foreign("worker-1", disk="/pool/worker-1.qcow2")
    assert plan(world, takeover)["worker-1"].outcome == "adoptable"


def test_an_unknown_domain_is_not_found(world: World, takeover: FakeTakeover) -> None:
    with pytest.raises(NotFound):
        plan(world, takeover, "nope")


def test_a_clone_is_no_golden(world: World, takeover: FakeTakeover) -> None:
    adopt_all(world, takeover)
    assert "clone of moltfleet's already" in refusal(plan(world, takeover, CLONE)[CLONE]).brief


# What becomes of them


def test_definitions_change_and_not_a_byte_of_any_disk(world: World, takeover: FakeTakeover) -> None:
    before = files(world)
    assert adopt_all(world, takeover) == dict.fromkeys((GOLDEN, CLONE, OTHER), "adopted")
    assert files(world) == before
    golden, clone = world.hypervisor.get(GOLDEN).record, world.record(CLONE)
    assert isinstance(golden, GoldenRecord)
    assert (golden.latest.volume, golden.latest.manifest) == (f"{GOLDEN}.qcow2", "")
    assert world.hypervisor.machines[GOLDEN].spec.is_disk_readonly
    assert (clone.phase, clone.top, clone.golden_volume) == (Phase.DEFINED, f"{CLONE}.qcow2", f"{GOLDEN}.qcow2")
    assert clone.linked and clone.host_keys == ()


def test_once_more_changes_nothing(world: World, takeover: FakeTakeover) -> None:
    adopt_all(world, takeover)
    record = world.record(CLONE)
    assert adopt_all(world, takeover) == {GOLDEN: "unchanged"}
    assert world.record(CLONE) == record


def test_an_adopted_clone_starts_molts_and_keeps_its_work(world: World, takeover: FakeTakeover) -> None:
    adopt_all(world, takeover)
    (started,) = start.start(world.fleet, [CLONE])
    assert started.error is None
    assert world.record(CLONE).host_keys == (HOST_KEY,)
    world.guest(CLONE).write("leak", "everywhere")
    (molted,) = molt.molt(world.fleet, [CLONE], MoltRequest())
    assert (molted.error, molted.mode) == (None, "warm")
    assert (world.guest(CLONE).read("leak"), world.guest(CLONE).read("work")) == ("", "of a day")
    assert world.hypervisor.violations == []


def test_a_full_clone_needs_no_golden_below_it() -> None:
    world = a_world(golden=None)
    scripts_were_here(world, CLONE, full=True)
    takeover = FakeTakeover(world.hypervisor)
    assert adopt_all(world, takeover)[CLONE] == "adopted"
    assert not world.record(CLONE).linked
    (started,) = start.start(world.fleet, [CLONE])
    (molted,) = molt.molt(world.fleet, [CLONE], MoltRequest())
    assert (started.error, molted.error) == (None, None)
    assert world.guest(CLONE).read("work") == "of a day"


def test_new_clones_can_be_made_and_the_doctor_tells_that_nobody_sealed_it(
    world: World, takeover: FakeTakeover
) -> None:
    adopt_all(world, takeover)
    (made,) = create.create(world.fleet, CreateRequest(GOLDEN, name="crab-1"))
    assert made.error is None
    kinds = {(f.kind, f.subject) for f in doctor.diagnose(world.fleet, None).findings}
    assert ("unsealed", GOLDEN) in kinds
    assert listing.show_golden(world.fleet, GOLDEN)[1] == {}


def test_the_next_generation_is_sealed_boots_as_the_adopted_one_and_leaves_that_alone(
    world: World, takeover: FakeTakeover
) -> None:
    takeover.changes = {GOLDEN: {"is_uefi": True}}
    adopt_all(world, takeover)
    before = dict(world.storage.disks[f"{GOLDEN}.qcow2"].written)
    world.hypervisor.behave(f"{GOLDEN}.build", newer="1.7")
    golden_update.update(world.fleet, UpdateRequest(GOLDEN))
    golden = world.hypervisor.get(GOLDEN).record
    assert isinstance(golden, GoldenRecord) and golden.adopted is not None
    assert [g.volume for g in golden.generations] == [f"{GOLDEN}.qcow2", f"{GOLDEN}.g2.qcow2"]
    assert (golden.latest.manifest, golden.firmware) == (f"{GOLDEN}.g2.json", "efi")
    assert world.storage.disks[f"{GOLDEN}.qcow2"].written == before
    (made,) = create.create(world.fleet, CreateRequest(GOLDEN, name="crab-1"))
    assert (made.error, world.hypervisor.machines["crab-1"].spec.firmware) == (None, "efi")
    assert "built since: g2" in refusal(give_back(world, takeover)[GOLDEN]).brief


def test_an_external_snapshot_makes_a_generation_of_each_layer(world: World, takeover: FakeTakeover) -> None:
    top = world.storage.put(Disk(f"{GOLDEN}.dev-ready", "qcow2", 10 << 30, backing=DISK))
    world.hypervisor.machines[GOLDEN].disk = top.path
    world.storage.disks[f"{OTHER}.qcow2"].backing = top.path
    assert set(adopt_all(world, takeover).values()) == {"adopted"}
    golden = world.hypervisor.get(GOLDEN).record
    assert isinstance(golden, GoldenRecord)
    assert [g.volume for g in golden.generations] == [f"{GOLDEN}.qcow2", f"{GOLDEN}.dev-ready"]
    assert (world.record(CLONE).generation, world.record(OTHER).generation) == (1, 2)
    for name in (CLONE, OTHER):
        (started,) = start.start(world.fleet, [name])
        assert started.error is None
    stop.stop(world.fleet, [], StopRequest())


def test_an_adopted_golden_can_be_deleted_layer_by_layer(world: World, takeover: FakeTakeover) -> None:
    top = world.storage.put(Disk(f"{GOLDEN}.dev-ready", "qcow2", 10 << 30, backing=DISK))
    world.hypervisor.machines[GOLDEN].disk = top.path
    for name in (CLONE, OTHER):
        world.hypervisor.undefine(name)
        del world.storage.disks[f"{name}.qcow2"]
    adopt_all(world, takeover)
    golden_delete.delete_golden(world.fleet, GOLDEN)
    assert world.storage.names() == frozenset()


# What is refused, and why


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state": DomainState.RUNNING}, "is running"),
        ({"state": DomainState.PAUSED}, "is paused"),
        ({"has_managed_save": True}, "managed save image"),
        ({"is_persistent": False}, "is transient"),
        ({"disks": ()}, "has 0 hard disks"),
        ({"disks": (ForeignDisk("vda", "virtio", "qcow2", None),)}, "is no file"),
        ({"disks": (ForeignDisk("vda", "virtio", "raw", "/pool/a"),)}, "is raw, not qcow2"),
        ({"disks": (ForeignDisk("sda", "sata", "qcow2", "/pool/a"),)}, "on bus 'sata'"),
        ({"disks": (ForeignDisk("vda", "virtio", "qcow2", "/pool/a"),) * 2}, "has 2 hard disks"),
    ],
)
def test_what_our_operations_could_not_work_on_is_refused(
    world: World, takeover: FakeTakeover, changes: dict[str, object], said: str
) -> None:
    for name in (GOLDEN, CLONE):
        takeover.changes = {name: changes}
        assert said in refusal(plan(world, takeover)[name]).brief
        assert plan(world, takeover)[OTHER].outcome == ("refused" if name == GOLDEN else "adoptable")


def test_a_clone_with_snapshots_or_without_a_card_is_refused_and_a_golden_is_not(
    world: World, takeover: FakeTakeover
) -> None:
    takeover.changes = {CLONE: {"snapshots": ("pre-run-1", "x")}, OTHER: {"card": None}, GOLDEN: {"card": None}}
    rows = plan(world, takeover)
    assert "has 2 snapshot(s) of its own, the first 'pre-run-1'" in refusal(rows[CLONE]).brief
    assert "has no network card" in refusal(rows[OTHER]).brief
    assert rows[GOLDEN].outcome == "adoptable"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (
            LayerHead(1, f"/pool/{OTHER}.qcow2", "qcow2"),
            f"stands on /pool/{OTHER}.qcow2, which is no disk of its golden",
        ),
        (LayerHead(1, f"/elsewhere/{CLONE}.1.qcow2", "qcow2"), "which is no disk of its golden"),
        (LayerHead(1, f"/pool/{CLONE}.qcow2", "qcow2"), "which is no disk of its golden"),
        (LayerHead(1, "/etc/shadow", "qcow2"), "stands on /etc/shadow, which is no disk of its golden"),
        (LayerHead(1, "json:{}", "qcow2"), "no plain path"),
        (LayerHead(1, DISK, "raw"), "records format 'raw'"),
        (LayerHead(1, DISK, None), "records no format"),
        (LayerHead(1, DISK, "qcow2", flaw="keeps its data in another file"), "keeps its data in another file"),
        ("is no qcow2 image of version 2 or 3", "is no qcow2 image"),
    ],
)
def test_a_hostile_head_is_not_believed(world: World, takeover: FakeTakeover, head: LayerHead | str, said: str) -> None:
    takeover.others = {f"/pool/{CLONE}.qcow2": head}
    assert said in refusal(plan(world, takeover)[CLONE]).brief
    assert adopt_all(world, takeover)[CLONE] == "refused"
    assert world.hypervisor.get(CLONE).record is None


def test_a_golden_whose_head_names_a_file_of_the_host_takes_no_clone_with_it(
    world: World, takeover: FakeTakeover
) -> None:
    takeover.others = {DISK: LayerHead(1, "/etc/shadow", "qcow2")}
    rows = plan(world, takeover)
    assert "not in the pool: /etc/shadow" in refusal(rows[GOLDEN]).brief
    assert {rows[CLONE].outcome, rows[OTHER].outcome} == {"refused"}


def test_a_disk_that_libvirt_cannot_read_refuses_its_own_domain_alone(world: World, takeover: FakeTakeover) -> None:
    takeover.others = {f"/pool/{CLONE}.qcow2": ToolFailed("libvirt failed to read the head")}
    rows = plan(world, takeover)
    assert "cannot be read through libvirt" in refusal(rows[CLONE]).brief
    assert (rows[GOLDEN].outcome, rows[OTHER].outcome) == ("adoptable", "adoptable")
    takeover.others = {f"/pool/{CLONE}.qcow2": HostUnavailable("Connection was lost")}
    with pytest.raises(HostUnavailable):
        plan(world, takeover)


def test_a_chain_that_names_itself_ends(world: World, takeover: FakeTakeover) -> None:
    takeover.others = {DISK: LayerHead(1, DISK, "qcow2")}
    assert "stands on itself" in refusal(plan(world, takeover)[GOLDEN]).brief


def test_a_missing_layer_is_told(world: World, takeover: FakeTakeover) -> None:
    del world.storage.disks[f"{GOLDEN}.qcow2"]
    rows = plan(world, takeover)
    assert "is missing" in refusal(rows[GOLDEN]).brief
    refusal(rows[CLONE])


def test_relative_names_are_those_of_the_layers_own_directory(world: World, takeover: FakeTakeover) -> None:
    takeover.others = {f"/pool/{CLONE}.qcow2": LayerHead(10 << 30, f"{GOLDEN}.qcow2", "qcow2")}
    assert plan(world, takeover)[CLONE].outcome == "adoptable"


def test_what_somebody_stands_on_is_no_clone(world: World, takeover: FakeTakeover) -> None:
    world.storage.put(Disk("child.qcow2", "qcow2", 10 << 30, backing=f"/pool/{CLONE}.qcow2"))
    world.hypervisor.add_foreign("child", disk="/pool/child.qcow2")
    rows = plan(world, takeover)
    assert f"stands on the disk of '{CLONE}'" in refusal(rows[CLONE]).brief
    assert f"stands on /pool/{CLONE}.qcow2" in refusal(rows["child"]).brief


def test_a_disk_that_two_domains_write_to_is_no_golden(world: World, takeover: FakeTakeover) -> None:
    world.hypervisor.add_foreign("twin", disk=DISK)
    assert "that of domain 'twin', too" in refusal(plan(world, takeover)[GOLDEN]).brief


def test_a_name_that_is_no_host_name_is_told_how_to_change(world: World, takeover: FakeTakeover) -> None:
    world.hypervisor.add_foreign("Big_VM", disk=DISK.replace(GOLDEN, "big"))
    error = refusal(plan(world, takeover, "Big_VM")["Big_VM"])
    assert error.hint is not None and "virsh domrename Big_VM" in error.hint


# Files beside the pool


def elsewhere(world: World, takeover: FakeTakeover, *, linked: bool) -> None:
    """Let disks lie in /images, and a hard link of each be in the pool or not."""
    for name in (GOLDEN, CLONE):
        world.hypervisor.machines[name].disk = f"/images/{name}.qcow2"
        if linked:
            takeover.links[f"/images/{name}.qcow2"] = f"/pool/{name}.qcow2"
        else:
            takeover.others[f"/images/{name}.qcow2"] = LayerHead(1)
            del world.storage.disks[f"{name}.qcow2"]
    world.hypervisor.undefine(OTHER)
    world.storage.disks.pop(f"{OTHER}.qcow2")


def test_a_disk_beside_the_pool_is_refused_with_the_link_that_helps(world: World, takeover: FakeTakeover) -> None:
    elsewhere(world, takeover, linked=False)
    rows = plan(world, takeover)
    assert "is not in the pool: /images/" in refusal(rows[GOLDEN]).brief
    assert rows[GOLDEN].commands == (f"sudo ln /images/{GOLDEN}.qcow2 /pool/{GOLDEN}.qcow2",)


def test_all_that_helps_is_told_at_once(world: World, takeover: FakeTakeover) -> None:
    elsewhere(world, takeover, linked=False)
    takeover.others[f"/images/{CLONE}.qcow2"] = LayerHead(1, f"/images/{GOLDEN}.qcow2", "qcow2")
    rows = plan(world, takeover)
    assert rows[GOLDEN].commands + rows[CLONE].commands == (
        f"sudo ln /images/{GOLDEN}.qcow2 /pool/{GOLDEN}.qcow2",
        f"sudo ln /images/{CLONE}.qcow2 /pool/{CLONE}.qcow2",
        f"sudo qemu-img rebase -u -F qcow2 -b /pool/{GOLDEN}.qcow2 /pool/{CLONE}.qcow2",
    )
    takeover.others[f"/images/{CLONE}.qcow2"] = LayerHead(1, "/etc/shadow", "qcow2")
    assert plan(world, takeover)[CLONE].commands == ()


def test_before_there_is_a_pool_its_directory_is_made_first(world: World, takeover: FakeTakeover) -> None:
    elsewhere(world, takeover, linked=False)
    world.storage.has_pool = False
    assert plan(world, takeover)[GOLDEN].commands[0] == "sudo install -d -m 0711 /var/lib/libvirt/images/moltfleet"


def test_a_linked_clone_that_still_names_the_old_path_is_told_to_name_the_new_one(
    world: World, takeover: FakeTakeover
) -> None:
    elsewhere(world, takeover, linked=True)
    takeover.others[f"/pool/{CLONE}.qcow2"] = LayerHead(1, f"/images/{GOLDEN}.qcow2", "qcow2")
    row = plan(world, takeover)[CLONE]
    refusal(row)
    assert row.commands == (f"sudo qemu-img rebase -u -F qcow2 -b {DISK} /pool/{CLONE}.qcow2",)


def test_hard_links_are_adopted_and_everything_goes_back_to_the_old_path(world: World, takeover: FakeTakeover) -> None:
    elsewhere(world, takeover, linked=True)
    assert adopt_all(world, takeover) == {GOLDEN: "adopted", CLONE: "adopted"}
    assert world.hypervisor.machines[CLONE].disk == f"/pool/{CLONE}.qcow2"
    adopt_undo.undo(world.fleet, takeover, ())
    assert world.hypervisor.machines[CLONE].disk == f"/images/{CLONE}.qcow2"
    assert world.hypervisor.machines[GOLDEN].disk == f"/images/{GOLDEN}.qcow2"


def test_another_file_system_gets_a_pool_of_its_own(world: World, takeover: FakeTakeover) -> None:
    elsewhere(world, takeover, linked=False)
    takeover.far.add(f"/images/{GOLDEN}.qcow2")
    row = plan(world, takeover)[GOLDEN]
    assert "another file system" in refusal(row).brief
    assert row.commands == ()


def test_a_disk_that_cannot_be_seen_gets_no_command_that_would_not_help(world: World, takeover: FakeTakeover) -> None:
    elsewhere(world, takeover, linked=False)
    takeover.hidden.add(f"/images/{GOLDEN}.qcow2")
    row = plan(world, takeover)[GOLDEN]
    assert "nor to be seen from here" in refusal(row).brief
    assert row.commands == ()


# The way back


def give_back(world: World, takeover: FakeTakeover, *names: str) -> dict[str, Adoptee]:
    return {row.name: row for row in adopt_undo.undo(world.fleet, takeover, names)}


def test_what_was_never_started_goes_back_as_it_was(world: World, takeover: FakeTakeover) -> None:
    before, disks = files(world), {n: m.disk for n, m in world.hypervisor.machines.items()}
    adopt_all(world, takeover)
    rows = give_back(world, takeover, GOLDEN)
    assert [(row.outcome, row.left) for row in rows.values()] == [("returned", ())] * 3
    assert files(world) == before
    assert {n: m.disk for n, m in world.hypervisor.machines.items()} == disks
    assert all(world.hypervisor.get(name).record is None for name in disks)


def test_a_molted_clone_goes_back_with_its_present_state_and_loses_nothing(
    world: World, takeover: FakeTakeover
) -> None:
    adopt_all(world, takeover)
    start.start(world.fleet, [CLONE])
    molt.molt(world.fleet, [CLONE], MoltRequest())
    world.guest(CLONE).write("more", "work")
    stop.stop(world.fleet, [CLONE], StopRequest())
    before = files(world)
    row = give_back(world, takeover)[CLONE]
    assert row.outcome == "returned"
    assert files(world) == before
    disk = world.hypervisor.machines[CLONE].disk
    seen = world.storage.view(world.storage.chain(disk))
    assert (seen["work"], seen["more"]) == ("of a day", "work")
    assert row.left == (f"{CLONE}.1.qcow2", f"{CLONE}.clean.1.ram")


def test_what_went_back_after_a_molt_can_be_adopted_and_molted_again(world: World, takeover: FakeTakeover) -> None:
    adopt_all(world, takeover)
    start.start(world.fleet, [CLONE])
    molt.molt(world.fleet, [CLONE], MoltRequest())
    world.guest(CLONE).write("more", "work")
    stop.stop(world.fleet, [CLONE], StopRequest())
    give_back(world, takeover, CLONE)
    assert adopt_all(world, takeover) == {GOLDEN: "unchanged", CLONE: "adopted"}
    assert world.record(CLONE).volumes() == {f"{CLONE}.qcow2", f"{CLONE}.2.qcow2"}
    (started,) = start.start(world.fleet, [CLONE])
    world.guest(CLONE).write("leak", "everywhere")
    (molted,) = molt.molt(world.fleet, [CLONE], MoltRequest())
    assert (started.error, molted.error) == (None, None)
    seen = [world.guest(CLONE).read(key) for key in ("work", "more", "leak")]
    assert seen == ["of a day", "work", ""]
    assert world.hypervisor.violations == []


def test_one_clone_alone_goes_back_and_can_be_adopted_again(world: World, takeover: FakeTakeover) -> None:
    adopt_all(world, takeover)
    assert set(give_back(world, takeover, CLONE)) == {CLONE}
    assert adopt_all(world, takeover) == {GOLDEN: "unchanged", CLONE: "adopted"}


def test_a_golden_does_not_go_back_from_under_its_clones(world: World, takeover: FakeTakeover) -> None:
    adopt_all(world, takeover)
    start.start(world.fleet, [CLONE])
    rows = give_back(world, takeover)
    assert {name: row.outcome for name, row in rows.items()} == {
        CLONE: "refused",
        OTHER: "returned",
        GOLDEN: "refused",
    }
    assert "is running" in refusal(rows[CLONE]).brief
    stop.stop(world.fleet, [CLONE], StopRequest())
    create.create(world.fleet, CreateRequest(GOLDEN, name="crab-1"))
    rows = give_back(world, takeover)
    assert "1 clone(s) that were made of it: crab-1" in refusal(rows[GOLDEN]).brief
    assert rows[CLONE].outcome == "returned"


def test_kept_layers_hold_a_clone_back(world: World, takeover: FakeTakeover) -> None:
    adopt_all(world, takeover)
    start.start(world.fleet, [CLONE])
    molt.molt(world.fleet, [CLONE], MoltRequest(keep="monday"))
    stop.stop(world.fleet, [CLONE], StopRequest())
    assert "1 kept layer" in refusal(give_back(world, takeover)[CLONE]).brief


def test_snapshots_hold_a_clone_back_until_they_are_deleted(world: World, takeover: FakeTakeover) -> None:
    adopt_all(world, takeover)
    start.start(world.fleet, [CLONE])
    snapshots.create(world.fleet, CLONE, "monday")
    stop.stop(world.fleet, [CLONE], StopRequest())
    error = refusal(give_back(world, takeover)[CLONE])
    assert "1 snapshot(s), which nobody would find again" in error.brief
    snapshots.delete(world.fleet, CLONE, "monday")
    assert give_back(world, takeover)[CLONE].outcome == "returned"


def test_synced_logins_are_told_before_a_clone_goes_back(world: World, takeover: FakeTakeover) -> None:
    adopt_all(world, takeover)
    synced = replace(world.record(CLONE), logins=SyncedLogins(names=("claude",), by="me@here"))
    world.hypervisor.write_record(CLONE, synced)
    rows = {row.name: row for row in adopt_undo.plan_undo(world.fleet, ())}
    assert any(f"moltfleet sync-auth {CLONE} --forget" in note for note in rows[CLONE].notes)


def test_what_was_not_adopted_is_not_given_back() -> None:
    world = a_world(clones=("crab-1",))
    with pytest.raises(NotFound):
        adopt_undo.plan_undo(world.fleet, ("crab-1",))
    assert adopt_undo.plan_undo(world.fleet, ()) == ()


# Host keys


def test_a_silent_agent_leaves_the_clone_as_it_was_and_says_what_helps(world: World, takeover: FakeTakeover) -> None:
    adopt_all(world, takeover)
    world.hypervisor.behave(CLONE, has_agent=False)
    (result,) = start.start(world.fleet, [CLONE])
    assert isinstance(result.error, DeadlinePassed)
    assert result.error.hint is not None and "apt install qemu-guest-agent" in result.error.hint
    clone = world.record(CLONE)
    assert (clone.phase, clone.host_keys, clone.clean) == (Phase.DEFINED, (), None)
    world.hypervisor.behave(CLONE, has_agent=True)
    (again,) = start.start(world.fleet, [CLONE])
    assert again.error is None
    assert isinstance(world.hypervisor.get(CLONE).record, CloneRecord)


def test_a_guest_without_a_key_is_told(world: World, takeover: FakeTakeover) -> None:
    adopt_all(world, takeover)
    world.hypervisor.behave(CLONE, answers={})
    (result,) = start.start(world.fleet, [CLONE])
    assert isinstance(result.error, GuestFailed)


def test_an_agent_that_answers_before_the_guest_has_made_its_keys_is_asked_again(
    world: World, takeover: FakeTakeover, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt_all(world, takeover)
    asked: list[str] = []
    agent_run = FakeHypervisor.agent_run

    def without_keys_at_first(self: FakeHypervisor, name: str, argv: Sequence[str], **rest: Any) -> CommandResult:
        if any("ssh_host" in word for word in argv):
            asked.append(name)
        return CommandResult(1, b"", b"No such file") if len(asked) < 3 else agent_run(self, name, argv, **rest)

    monkeypatch.setattr(FakeHypervisor, "agent_run", without_keys_at_first)
    (started,) = start.start(world.fleet, [CLONE])
    assert (started.error, len(asked)) == (None, 3)
    assert world.record(CLONE).host_keys == (HOST_KEY,)


def test_only_public_keys_are_taken_from_what_a_guest_says() -> None:
    hostile = ["", "ssh-ed25519", "ssh-ed25519 !!!", "ssh-rsa AAAAC3NzaC1lZDI1NTE5", "* ssh-ed25519 AAAA", "x" * 9000]
    told = "\n".join((*hostile, f"{HOST_KEY} root@vm\x1b[31m", f"{HOST_KEY[:-4]}BBBB again"))
    assert parse_host_keys(told) == (HOST_KEY,)
