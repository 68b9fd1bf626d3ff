"""The doctor on a fleet with every defect it knows: each is found and mended, or told, and no more is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from fakes import Disk, Killed, Process, World, a_world
from fakes.soundness import unsound
from moltfleet.model.doctor import Finding
from moltfleet.model.errors import InvalidInput, MoltfleetError
from moltfleet.model.logins import GIT_IDENTITY, GIT_SIGNING, SIGNING_KEY, SyncRequest
from moltfleet.model.nightly import Night, Outcome, Scope
from moltfleet.model.recipe import Script
from moltfleet.model.records import GoldenRecord
from moltfleet.model.requests import NEWEST, BuildRequest, CreateRequest, MoltRequest, StopRequest, UpdateRequest
from moltfleet.operations import (
    create,
    delete,
    doctor,
    golden_build,
    golden_delete,
    golden_prune,
    golden_update,
    kept,
    molt,
    snapshots,
    stop,
    sync_auth,
    undo,
    warm,
)
from moltfleet.operations.fleet import Fleet

CODEX = ".codex/auth.json"
HALF = "image.0123456789abcdef.qcow2"


def a_lived_in_world() -> World:
    """Clones with work on several layers, one of them stopped; images of a build; somebody else's domain and file."""
    world = a_world(clones=("crab-1", "crab-2", "crab-3"))
    golden_build.build(world.fleet, BuildRequest("two", "debian-12", profile="minimal"))
    for work in ("monday's", "shed"):
        world.guest("crab-1").write("work", work)
        molt.molt(world.fleet, ["crab-1"], MoltRequest(keep="monday" if work == "monday's" else None))
    for name in ("crab-1", "crab-2"):
        world.guest(name).write("work", "today's")
    stop.stop(world.fleet, ["crab-2"], StopRequest())
    world.hypervisor.add_foreign("theirs")
    world.hypervisor.start("theirs")
    world.storage.put(Disk("theirs.iso", "raw", 1 << 20))
    return world


@pytest.fixture
def lived() -> World:
    return a_lived_in_world()


def findings(world: World) -> tuple[Finding, ...]:
    return doctor.diagnose(world.fleet).findings


def found(world: World) -> list[tuple[str, str]]:
    return [(finding.kind, finding.subject) for finding in findings(world)]


def mend(world: World) -> list[str]:
    return [mended.outcome for mended in doctor.mend(world.fleet, doctor.diagnose(world.fleet))]


def wrong(world: World) -> list[str]:
    """What is unsound, somebody else's things aside."""
    return [line for line in unsound(world) if not line.startswith("theirs")]


def state(world: World) -> dict[str, object]:
    """Everything that outlives a process, by its name."""
    machines = {f"domain {name}": (m.record, m.disk, m.running) for name, m in world.hypervisor.machines.items()}
    disks = {d.name: (d.backing, d.mtime, dict(d.written), d.data) for d in world.storage.disks.values()}
    return machines | disks


# Planting


def add(name: str, *, backing: str | None = None) -> Callable[[World], None]:
    def plant(world: World) -> None:
        behind = world.storage.path_of(backing) if backing else None
        world.storage.put(Disk(name, "qcow2", 1 << 30, backing=behind, data=b"old" * 1000))

    return plant


def undefined_by_hand(world: World) -> None:
    """What 'virsh undefine' leaves of a clone: a chain of layers, a seed, saved RAM."""
    world.add_clone("crab-9")
    for label in ("one", None):
        molt.molt(world.fleet, ["crab-9"], MoltRequest(keep=label))
    world.hypervisor.destroy("crab-9")
    world.hypervisor.undefine("crab-9")


def lose(name: Callable[[World], str]) -> Callable[[World], None]:
    def plant(world: World) -> None:
        del world.storage.disks[name(world)]

    return plant


def killed(act: Callable[[Fleet], object], changes: int) -> Callable[[World], None]:
    def plant(world: World) -> None:
        process = Process(kill_after=changes)
        with suppress(Killed, MoltfleetError):
            act(world.process(process))
        assert process.is_dead

    return plant


def prune_and_die(world: World) -> None:
    update = UpdateRequest("two", scripts=(Script("x.sh", b"true"),))
    golden_update.update(world.fleet, update)
    killed(lambda fleet: golden_prune.prune(fleet, ("two",)), 1)(world)


def lose_a_snapshot(world: World) -> None:
    """One that a clone does not stand on any more."""
    snapshots.create(world.fleet, "crab-3", "noon")
    for _ in range(2):
        molt.molt(world.fleet, ["crab-3"], MoltRequest())
    del world.storage.disks[world.record("crab-3").snapshots[0].stamp.volume]


def edit(name: str, **changes: object) -> Callable[[World], None]:
    def plant(world: World) -> None:
        world.hypervisor.write_record(name, replace(world.record(name), **changes))  # type: ignore[arg-type]

    return plant


def leave_trash(world: World) -> None:
    add("crab-1.88.qcow2")(world)
    edit("crab-1", trash=("crab-1.88.qcow2",))(world)


def forget_to_undo(world: World) -> None:
    world.clock.sleep(25 * 3600)


def half_uploaded(world: World) -> None:
    world.storage.put(Disk(HALF, "raw", 1 << 30, data=b"half of it"))


def create_one(fleet: Fleet) -> object:
    return create.create(fleet, CreateRequest("base", name="crab-9"))


def molt_one(fleet: Fleet) -> object:
    return molt.molt(fleet, ["crab-3"], MoltRequest())


# What is planted: the findings that come of it, and what of the fleet mending may change.
MENDABLE: dict[str, tuple[Callable[[World], None], set[tuple[str, str]], set[str]]] = {
    "an overlay": (add("old-1.3.qcow2", backing="base.g1.qcow2"), {("orphan", "old-1.3.qcow2")}, set()),
    "a seed": (add("old-1.seed.iso"), {("orphan", "old-1.seed.iso")}, set()),
    "saved RAM": (add("old-1.clean.2.ram"), {("orphan", "old-1.clean.2.ram")}, set()),
    "a generation": (add("old.g2.qcow2"), {("orphan", "old.g2.qcow2")}, set()),
    "a manifest": (add("old.g2.json"), {("orphan", "old.g2.json")}, set()),
    "a build's disk": (add("old.build.1.qcow2"), {("orphan", "old.build.1.qcow2")}, set()),
    "all of a clone": (
        undefined_by_hand,
        {
            ("orphan", f"crab-9.{rest}")
            for rest in ("seed.iso", "clean.qcow2", "clean.1.ram", "1.qcow2", "2.qcow2", "3.qcow2")
        },
        set(),
    ),
    "half an image": (half_uploaded, {("unfinished-upload", HALF)}, set()),
    "an interrupted creation": (killed(create_one, 3), {("unfinished", "crab-9")}, set()),
    "an interrupted molt": (killed(molt_one, 2), {("unfinished", "crab-3")}, {"domain crab-3"}),
    "an interrupted deletion": (
        killed(lambda fleet: delete.delete(fleet, ["crab-3"]), 3),
        {("unfinished", "crab-3")},
        {"domain crab-3", "crab-3.seed.iso", "crab-3.clean.qcow2", "crab-3.clean.1.ram", "crab-3.1.qcow2"},
    ),
    "an interrupted build": (
        killed(lambda fleet: golden_build.build(fleet, BuildRequest("new", "ubuntu-24.04", profile="minimal")), 12),
        {("unfinished", "new.build")},
        set(),
    ),
    "a golden that was to go": (
        killed(lambda fleet: golden_delete.delete_golden(fleet, "two"), 1),
        {("unfinished", "two")},
        {"domain two", "two.g1.qcow2", "two.g1.json"},
    ),
    "an interrupted pruning": (
        prune_and_die,
        {("unfinished", "two")},
        {"domain two", "two.g1.qcow2", "two.g1.json", "two.g2.qcow2", "two.g2.json"},
    ),
    "a snapshot's file": (
        lose_a_snapshot,
        {("missing-layer", "crab-3")},
        {"domain crab-3", "crab-3.2.qcow2", "crab-3.3.qcow2", "crab-3.4.qcow2"},
    ),
    "trash": (leave_trash, {("leftover", "crab-1")}, {"domain crab-1"}),
    "an old shed layer": (forget_to_undo, {("expired", "crab-1")}, {"domain crab-1", "crab-1.2.qcow2"}),
    "a shed layer's file": (
        lose(lambda world: world.record("crab-1").shed.volume),  # type: ignore[union-attr]
        {("missing-layer", "crab-1")},
        {"domain crab-1", "crab-1.2.qcow2"},
    ),
    "a kept layer's file": (
        lose(lambda world: world.record("crab-1").kept[0].volume),
        {("missing-layer", "crab-1")},
        {"domain crab-1", "crab-1.1.qcow2"},
    ),
    "saved RAM's file": (
        lose(lambda _: "crab-2.clean.1.ram"),
        {("missing-layer", "crab-2")},
        {"domain crab-2", "crab-2.clean.1.ram"},
    ),
}


def test_a_healthy_fleet_gives_no_finding(lived: World) -> None:
    diagnosis = doctor.diagnose(lived.fleet)
    assert diagnosis.findings == ()
    assert diagnosis.notes == ("The pool holds 0 B of somebody's, which are left alone: theirs.iso",)


# Commands clear away what others left unfinished, so that only one such defect can be planted beside the others.
SIDE_BY_SIDE = [name for name in MENDABLE if name not in ("an interrupted deletion", "an interrupted creation",
    "an interrupted build", "an interrupted pruning", "a snapshot's file", "a shed layer's file")]  # fmt: skip


def test_looking_changes_nothing(lived: World) -> None:
    for name in SIDE_BY_SIDE:
        MENDABLE[name][0](lived)
    process = Process()
    doctor.plan_mend(doctor.diagnose(lived.process(process)))
    assert process.changes == []


@pytest.mark.parametrize("defect", MENDABLE)
def test_what_was_planted_is_found_and_mended_and_nothing_else_is_touched(lived: World, defect: str) -> None:
    plant, expected, may_change = MENDABLE[defect]
    before = state(lived)
    plant(lived)
    assert set(found(lived)) == expected
    assert all(finding.remedy and finding.fix and finding.why for finding in findings(lived))
    assert set(mend(lived)) == {"mended"}
    assert findings(lived) == ()
    assert wrong(lived) == []
    after = state(lived)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    # A build's base image is a cache, and an overlay made again has the next number.
    assert {name for name in changed if not name.startswith("image.")} <= may_change | {"crab-3.1.qcow2"}


def test_all_defects_at_once_are_found_and_mended(lived: World) -> None:
    for name in SIDE_BY_SIDE:
        MENDABLE[name][0](lived)
    assert set(found(lived)) == set().union(*(MENDABLE[name][1] for name in SIDE_BY_SIDE))
    assert set(mend(lived)) <= {"mended", "gone"}
    assert findings(lived) == ()
    assert lived.guest("crab-1").read("work") == "today's"


def test_bytes_to_win_are_those_that_mending_gives_back(lived: World) -> None:
    undefined_by_hand(lived)
    leave_trash(lived)
    half_uploaded(lived)
    used = sum(disk.length for disk in lived.storage.disks.values())
    diagnosis = doctor.diagnose(lived.fleet)
    doctor.mend(lived.fleet, diagnosis)
    assert diagnosis.frees.bytes == used - sum(disk.length for disk in lived.storage.disks.values())


@pytest.mark.parametrize(
    ("act", "work"),
    [
        (create_one, None),
        (molt_one, None),
        (lambda fleet: undo.undo(fleet, "crab-1"), "crab-1"),
        (lambda fleet: delete.delete(fleet, ["crab-3"]), None),
        (lambda fleet: kept.delete(fleet, "crab-1", "monday"), "crab-1"),
        (lambda fleet: golden_build.build(fleet, BuildRequest("two", "debian-12", profile="minimal")), "crab-1"),
    ],
    ids=["create", "molt", "undo", "delete", "kept delete", "build"],
)
def test_whatever_was_killed_anywhere_is_found_and_mended(act: Callable[[Fleet], object], work: str | None) -> None:
    undisturbed = Process()
    act(a_lived_in_world().process(undisturbed))
    for number in range(1, len(undisturbed.changes)):
        world = a_lived_in_world()
        killed(act, number)(world)
        mend(world)
        assert (number, wrong(world)) == (number, [])
        assert (number, found(world)) == (number, [])
        if work:
            assert "today's" in {disk.written.get("work") for disk in world.storage.disks.values()}


# What only a person can decide


def running_top(world: World) -> str:
    return world.record("crab-1").top


def write_into(name: str) -> Callable[[World], None]:
    def plant(world: World) -> None:
        world.clock.sleep(1)
        world.storage.write(world.storage.path_of(name), "by hand", "yes")

    return plant


def put_on_top(world: World) -> None:
    """What 'virsh snapshot-create-as --disk-only --no-metadata' does to a running clone."""
    machine = world.hypervisor.machines["crab-1"]
    assert machine.running
    world.storage.create_overlay("crab-1.theirs", backing=world.record("crab-1").top)
    machine.running.chain = (world.storage.path_of("crab-1.theirs"), *machine.running.chain)
    machine.disk = world.storage.path_of("crab-1.theirs")


def snapshot(world: World) -> None:
    world.hypervisor.machines["crab-1"].snapshots = ("theirs",)


def new_kernel(world: World) -> None:
    world.hypervisor.kernel = "6.2.0"


def newer(world: World) -> None:
    world.hypervisor.machines["crab-2"].is_newer = True


def undefine_golden(world: World) -> None:
    del world.hypervisor.machines["base"]


def twin(**changes: Callable[[World], object]) -> Callable[[World], None]:
    return lambda world: edit("crab-2", **{key: value(world) for key, value in changes.items()})(world)


def same_address(world: World) -> object:
    ours, theirs = world.record("crab-2").attachment, world.record("crab-1").attachment
    return replace(ours, address=theirs.address)


def same_mac(world: World) -> object:
    ours, theirs = world.record("crab-2").attachment, world.record("crab-1").attachment
    return replace(ours, mac=theirs.mac.upper())


def night(**changes: object) -> Callable[[World], None]:
    def plant(world: World) -> None:
        began = "2026-11-20T03:30:00Z"
        was = Night(began, "2026-11-20T07:30:00Z", Scope.LEAKING, "0.1.0", outcome=Outcome.OK, ended_at=began)
        world.nights.write(replace(was, **changes))  # type: ignore[arg-type]

    return plant


def share_a_login(world: World, *, names: tuple[str, ...] = ("crab-1", "crab-3")) -> None:
    """Two clones are given a login that renews itself, and others that do not."""
    allowed = world.config.logins.model_copy(update={"allow": ("codex", "claude", "gh", "git", "signing")})
    world.config = world.config.model_copy(update={"logins": allowed})
    world.fleet = world.process()
    world.host_logins.has(CODEX, json.dumps({"last_refresh": world.clock.now(), "refresh_token": "secret"}))
    for path in (".config/gh/hosts.yml", GIT_IDENTITY, GIT_SIGNING, SIGNING_KEY):
        world.host_logins.has(path, "the same for all")
    assert {one.outcome for one in sync_auth.sync_auth(world.fleet, names, SyncRequest())} == {"synced"}


TOLD: dict[str, tuple[Callable[[World], None], set[tuple[str, str]], str]] = {
    "a running clone's top": (lose(running_top), {("missing-layer", "crab-1")}, "save its work now"),
    "a stopped clone's top": (
        lose(lambda world: world.record("crab-2").top),
        {("missing-layer", "crab-2")},
        "moltfleet molt crab-2",
    ),
    "a clean layer": (lose(lambda _: "crab-2.clean.qcow2"), {("missing-layer", "crab-2")}, "moltfleet delete crab-2"),
    "a seed that is gone": (lose(lambda _: "crab-2.seed.iso"), {("missing-layer", "crab-2")}, "moltfleet delete"),
    "a golden's image": (lose(lambda _: "two.g1.qcow2"), {("missing-layer", "two")}, "moltfleet golden build two"),
    "a changed golden": (write_into("two.g1.qcow2"), {("void", "two")}, "moltfleet golden build two"),
    "a changed clean layer": (write_into("crab-3.clean.qcow2"), {("void", "crab-3")}, "create it anew"),
    "a new kernel": (
        new_kernel,
        {("stale", "crab-1"), ("stale", "crab-2"), ("stale", "crab-3")},
        "moltfleet warm crab-1",
    ),
    "somebody's snapshot": (snapshot, {("foreign", "crab-1")}, "moltfleet molt crab-1 --discard-snapshots"),
    "somebody's layer": (put_on_top, {("foreign", "crab-1")}, "moltfleet molt crab-1 --discard-snapshots"),
    "a golden that runs": (lambda world: world.hypervisor.start("two"), {("foreign", "two")}, "virsh destroy two"),
    "a newer record": (newer, {("unreadable", "crab-2")}, "Update moltfleet"),
    "a golden's domain": (undefine_golden, {("lost-golden", "base.g1.qcow2")}, "crab-1, crab-2, crab-3"),
    "a failed night": (night(outcome=Outcome.FAILED), {("night", "night")}, "moltfleet nightly"),
    "a killed night": (night(outcome=Outcome.RUNNING), {("night", "night")}, "moltfleet nightly"),
    "one address twice": (twin(attachment=same_address), {("duplicate", "crab-1")}, "moltfleet delete crab-2"),
    "one MAC twice": (twin(attachment=same_mac), {("duplicate", "crab-1")}, "moltfleet delete crab-2"),
    "one host key twice": (
        twin(host_keys=lambda world: world.record("crab-1").host_keys),
        {("duplicate", "crab-1")},
        "moltfleet delete crab-2",
    ),
    "one instance id twice": (
        twin(instance_id=lambda world: world.record("crab-1").instance_id),
        {("duplicate", "crab-1")},
        "moltfleet delete crab-2",
    ),
    "one login twice": (
        share_a_login,
        {("shared-login", "crab-1")},
        "moltfleet sync-auth crab-3 --forget --only codex",
    ),
    "no host key": (edit("crab-2", host_keys=()), {("unpinned", "crab-2")}, "moltfleet delete crab-2"),
    "no manifest": (lose(lambda _: "two.g1.json"), {("unsealed", "two")}, "moltfleet golden build two"),
}


@pytest.mark.parametrize("defect", TOLD)
def test_what_only_a_person_can_decide_is_told_with_its_way_out_and_left_alone(lived: World, defect: str) -> None:
    plant, expected, way_out = TOLD[defect]
    plant(lived)
    before = state(lived)
    assert set(found(lived)) == expected
    assert any(way_out in finding.fix for finding in findings(lived))
    assert mend(lived) == []
    assert state(lived) == before


@pytest.mark.parametrize(
    ("defect", "act"),
    [
        ("a stopped clone's top", lambda fleet: molt.molt(fleet, ["crab-2"], MoltRequest())),
        ("a clean layer", lambda fleet: delete.delete(fleet, ["crab-2"])),
        ("a new kernel", lambda fleet: warm.warm(fleet, ["crab-*"], from_now=False)),
        ("somebody's layer", lambda fleet: molt.molt(fleet, ["crab-1"], MoltRequest(discard_snapshots=True))),
        ("somebody's snapshot", lambda fleet: molt.molt(fleet, ["crab-1"], MoltRequest(discard_snapshots=True))),
        ("one address twice", lambda fleet: delete.delete(fleet, ["crab-2"])),
        ("one login twice", lambda fleet: sync_auth.sync_auth(fleet, ["crab-3"], SyncRequest(("codex",), "forget"))),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_the_way_out_that_is_told_is_one(lived: World, defect: str, act: Callable[[Fleet], object]) -> None:
    TOLD[defect][0](lived)
    act(lived.fleet)
    # A molt sheds the layer that is gone.
    mend(lived)
    assert findings(lived) == ()


def test_a_login_that_is_shared_is_told_by_its_name_alone(lived: World) -> None:
    share_a_login(lived)
    process = Process()
    diagnosis = doctor.diagnose(lived.process(process))
    (finding,) = diagnosis.findings
    assert finding.fact == "crab-3 is given the same login 'codex', which renews itself"
    assert "secret" not in str(diagnosis)
    assert process.changes == []


def test_a_login_in_one_clone_is_nobody_elses(lived: World) -> None:
    share_a_login(lived, names=("crab-1",))
    assert found(lived) == []


def test_what_another_user_gave_is_another_login(lived: World) -> None:
    share_a_login(lived, names=("crab-1",))
    lived.host_logins.me = "bob@host"
    share_a_login(lived, names=("crab-3",))
    assert found(lived) == []


@pytest.mark.parametrize("has", [None, '{"OPENAI_API_KEY": "sk-secret", "tokens": null, "last_refresh": null}'])
def test_what_this_machine_has_not_or_what_does_not_renew_itself_is_no_shared_login(
    lived: World, has: str | None
) -> None:
    share_a_login(lived)
    del lived.host_logins.files[CODEX]
    if has:
        lived.host_logins.has(CODEX, has)
    assert found(lived) == []


def test_a_login_that_is_not_allowed_any_more_is_not_told_as_shared(lived: World) -> None:
    share_a_login(lived)
    narrower = lived.config.logins.model_copy(update={"allow": ("gh",)})
    lived.config = lived.config.model_copy(update={"logins": narrower})
    lived.fleet = lived.process()
    assert found(lived) == []


def test_a_login_that_cannot_be_read_is_noted(lived: World, monkeypatch: pytest.MonkeyPatch) -> None:
    share_a_login(lived)
    fault = InvalidInput("Login file x is not a file")
    monkeypatch.setattr(lived.host_logins, "read", lambda entry: (_ for _ in ()).throw(fault))
    diagnosis = doctor.diagnose(lived.fleet)
    assert (diagnosis.findings, fault.brief in diagnosis.notes) == ((), True)


def test_a_night_that_did_not_come_is_missed_after_a_day(lived: World) -> None:
    edit("crab-1", shed=None)(lived)
    del lived.storage.disks["crab-1.2.qcow2"]
    night()(lived)
    assert found(lived) == []
    lived.clock.sleep(100 * 86400)
    assert found(lived) == [("night", "night")]


# What must not be touched


def test_what_a_command_works_on_is_left_to_it(lived: World) -> None:
    killed(molt_one, 2)(lived)
    leave_trash(lived)
    for name in ("crab-1", "crab-3"):
        lived.locks.hold_by_other(name)
    assert found(lived) == []


def test_an_upload_under_way_is_left_to_it(lived: World) -> None:
    half_uploaded(lived)
    lived.locks.hold_by_other(HALF, verb="upload")
    assert found(lived) == []


def test_a_volume_that_somebodys_domain_uses_is_none_of_ours(lived: World) -> None:
    add("old-1.3.qcow2", backing="base.g1.qcow2")(lived)
    add("old-1.clean.qcow2")(lived)
    lived.hypervisor.add_foreign("mine", disk=lived.storage.path_of("old-1.3.qcow2"))
    add("their.qcow2", backing="old-1.clean.qcow2")(lived)
    assert found(lived) == []


def test_while_a_record_cannot_be_read_no_volume_is_deleted(lived: World) -> None:
    newer(lived)
    add("old-1.clean.2.ram")(lived)
    diagnosis = doctor.diagnose(lived.fleet)
    assert [finding.kind for finding in diagnosis.findings] == ["unreadable"]
    assert "Volumes are not judged, as the metadata of 'crab-2' may explain any of them" in diagnosis.notes


def test_a_record_that_became_unreadable_meanwhile_keeps_its_volumes(lived: World) -> None:
    add("old-1.clean.2.ram")(lived)
    diagnosis = doctor.diagnose(lived.fleet)
    newer(lived)
    assert [mended.outcome for mended in doctor.mend(lived.fleet, diagnosis)] == ["gone"]
    assert "old-1.clean.2.ram" in lived.storage.names()


def test_saved_ram_that_was_forgotten_is_made_anew(lived: World) -> None:
    lose(lambda _: "crab-3.clean.1.ram")(lived)
    mend(lived)
    (warmed,) = warm.warm(lived.fleet, ["crab-3"], from_now=False)
    assert warmed.outcome == "warmed"
    (molted,) = molt.molt(lived.fleet, ["crab-3"], MoltRequest())
    assert molted.mode == "warm"
    assert findings(lived) == ()


def test_what_was_explained_since_is_not_deleted(lived: World) -> None:
    add("crab-1.88.qcow2")(lived)
    diagnosis = doctor.diagnose(lived.fleet)
    edit("crab-1", trash=("crab-1.88.qcow2",))(lived)
    (mended,) = doctor.mend(lived.fleet, diagnosis)
    assert mended.outcome == "gone"
    assert "crab-1.88.qcow2" in lived.storage.names()


def test_one_that_cannot_be_mended_leaves_the_others(lived: World) -> None:
    leave_trash(lived)
    add("old-1.seed.iso")(lived)
    diagnosis = doctor.diagnose(lived.fleet)
    lived.locks.hold_by_other("crab-1")
    first, second = doctor.mend(lived.fleet, diagnosis)
    assert (first.outcome, second.outcome) == ("failed", "mended")
    assert first.error and first.error.code == "busy"
    assert "old-1.seed.iso" not in lived.storage.names()


def test_without_a_pool_nothing_is_made_and_the_rest_is_looked_at(lived: World) -> None:
    lived.storage.has_pool = False
    twin(instance_id=lambda world: world.record("crab-1").instance_id)(lived)
    diagnosis = doctor.diagnose(lived.fleet)
    assert [finding.kind for finding in diagnosis.findings] == ["pool", "duplicate"]
    assert diagnosis.notes == ()


def test_a_golden_that_was_built_twice_has_both_generations_looked_at(lived: World) -> None:
    golden_build.build(lived.fleet, BuildRequest("two", "debian-12", profile="minimal"))
    record = lived.hypervisor.get("two").record
    assert isinstance(record, GoldenRecord) and len(record.generations) == 2
    write_into("two.g1.qcow2")(lived)
    del lived.storage.disks["two.g2.json"]
    assert found(lived) == [("void", "two"), ("unsealed", "two")]


def test_moved_clones_snapshots_and_flat_ones_are_healthy(lived: World) -> None:
    update = UpdateRequest("base", scripts=(Script("x.sh", b"true"),))
    snapshots.create(lived.fleet, "crab-1", "noon")
    golden_update.update(lived.fleet, update)
    (moved,) = molt.molt(lived.fleet, ["crab-1"], MoltRequest(to=NEWEST))
    snapshots.create(lived.fleet, "crab-3", "noon")
    flat = snapshots.flatten(lived.fleet, "crab-3")
    assert (moved.error, flat.error) == (None, None)
    assert found(lived) == []


def test_a_snapshot_that_was_written_to_and_a_long_chain_are_told(lived: World) -> None:
    for number in range(8):
        snapshots.create(lived.fleet, "crab-3", f"hour-{number}")
    assert found(lived) == [("long-chain", "crab-3")]
    lived.clock.sleep(60)
    volume = lived.record("crab-3").snapshots[-1].stamp.volume
    lived.storage.write(lived.storage.path_of(volume), "virus", "yes")
    assert found(lived) == [("void", "crab-3"), ("long-chain", "crab-3")]
    assert all(finding.remedy is None for finding in findings(lived))
