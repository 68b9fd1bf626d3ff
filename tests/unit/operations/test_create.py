"""Creating clones: names, sizes, networks, and that a failure at any step leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from fakes import Process, World, ok
from fakes.soundness import unsound
from moltfleet.model.domain import VirtType
from moltfleet.model.errors import (
    AlreadyExists,
    Busy,
    DeadlinePassed,
    ExitCode,
    GuestFailed,
    InvalidInput,
    NoCapacity,
    NotFound,
    ToolFailed,
    WrongState,
)
from moltfleet.model.recipe import HostKeyPair
from moltfleet.model.records import GoldenRecord, Phase
from moltfleet.model.requests import BuildRequest, CreateRequest
from moltfleet.model.results import ActResult
from moltfleet.model.size import Size
from moltfleet.operations import create, create_plan, golden_build, golden_delete


def make(world: World, **options: object) -> tuple[ActResult, ...]:
    return create.create(world.fleet, CreateRequest("base", **options))  # type: ignore[arg-type]


def names(results: tuple[ActResult, ...]) -> list[str]:
    return [result.clone for result in results]


def test_a_clone_is_ready_warm_and_tells_its_address(world: World) -> None:
    (result,) = make(world, name="crab-1")
    assert (result.outcome, result.detail, result.error) == ("created", "192.168.150.2", None)
    record = world.record("crab-1")
    assert record.phase is Phase.READY
    assert record.clean and record.clean.ram == "crab-1.clean.1.ram"
    assert unsound(world) == []


def test_no_clean_point_is_made_of_a_guest_whose_watchdog_does_not_run(world: World) -> None:
    world.hypervisor.behave("crab-1", answers={"is-active --quiet moltfleet-watchdog": ok("stopped\n")})
    (result,) = make(world, name="crab-1")
    assert isinstance(result.error, GuestFailed)
    assert result.error.brief == "Guest tools of 'crab-1' do not work: the watchdog does not run"
    assert "crab-1" not in world.hypervisor.machines
    assert unsound(world) == []


def test_a_clone_goes_on_above_its_clean_point_in_the_same_boot(world: World) -> None:
    make(world, name="crab-1")
    record = world.record("crab-1")
    assert record.clean and world.guest("crab-1").memory.boot_id == record.clean.boot_id
    assert record.top == "crab-1.1.qcow2"
    assert not world.guest("crab-1").memory.timers_stopped


def test_cloud_init_is_off_in_the_clean_point(world: World) -> None:
    make(world, name="crab-1")
    assert world.storage.content("crab-1.clean.qcow2")["cloud-init.disabled"] == "yes"


def test_the_clean_point_was_taken_with_every_login_closed(world: World) -> None:
    make(world, name="crab-1")
    assert world.guests.sessions and all(session.is_closed for session in world.guests.sessions)


def test_clones_without_a_name_are_called_after_their_golden(world: World) -> None:
    assert names(make(world, count=3, start=False)) == ["base-1", "base-2", "base-3"]
    assert names(make(world, start=False)) == ["base-4"]


def test_several_clones_share_a_stem_and_gaps_are_filled(world: World) -> None:
    make(world, name="crab-2", start=False)
    assert names(make(world, name="crab", count=2, start=False)) == ["crab-1", "crab-3"]


def test_twenty_at_once_get_twenty_of_everything(world: World) -> None:
    wide = World(jobs=8)
    wide.add_golden()
    results = create.create(wide.fleet, CreateRequest("base", name="crab", count=20, start=False))
    assert [result.outcome for result in results] == ["created"] * 20
    records = [wide.record(name) for name in names(results)]
    for values in (
        {record.attachment.mac for record in records},
        {record.attachment.address for record in records},
        {record.instance_id for record in records},
        {record.host_keys for record in records},
        {wide.hypervisor.get(name).uuid for name in names(results)},
    ):
        assert len(values) == 20


def test_two_at_once_without_a_name_get_two_names(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have planned before either has begun."""
    both = threading.Barrier(2)

    def wait_for_the_other() -> tuple[str, ...]:
        both.wait(timeout=10)
        return ()

    monkeypatch.setattr(world.keys, "user_public_keys", wait_for_the_other)
    results: list[ActResult] = []
    creating = [threading.Thread(target=lambda: results.extend(make(world, start=False, count=2))) for _ in range(2)]
    for thread in creating:
        thread.start()
    for thread in creating:
        thread.join()
    assert [result.error for result in results] == [None] * 4
    assert sorted(names(tuple(results))) == ["base-1", "base-2", "base-3", "base-4"]
    assert set(names(tuple(results))) | {"base"} == set(world.hypervisor.machines)


def test_a_generated_name_that_another_command_holds_is_passed_over(world: World) -> None:
    world.locks.hold_by_other("base-1", verb="create")
    assert names(make(world, start=False)) == ["base-2"]
    (asked_for,) = make(world, name="base-1", start=False)
    assert isinstance(asked_for.error, Busy)


def golden_record(world: World) -> GoldenRecord:
    record = world.hypervisor.get("base").record
    assert isinstance(record, GoldenRecord)
    return record


def test_a_golden_that_is_being_deleted_gets_no_more_clones(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.fleet.storage, "delete", refuse)
    with pytest.raises(ToolFailed):
        golden_delete.delete_golden(world.fleet, "base")
    with pytest.raises(WrongState, match="Golden 'base' is being deleted") as caught:
        make(world, name="crab-1")
    assert caught.value.hint == "Finish that first: moltfleet golden delete base"
    with pytest.raises(WrongState, match="is being deleted"):
        golden_build.build(world.fleet, BuildRequest("base", "debian-12", profile="minimal"))
    monkeypatch.undo()
    golden_delete.delete_golden(world.fleet, "base")
    assert world.storage.names() == frozenset()


def refuse(*_: object, **__: object) -> bool:
    raise ToolFailed("libvirt failed to delete it")


def after_planning(world: World, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen between a create's plan and its first effect."""

    def happen() -> HostKeyPair:
        monkeypatch.undo()
        act()
        return world.keys.new_host_key()

    monkeypatch.setattr(world.keys, "new_host_key", happen)


def test_a_golden_that_vanishes_after_the_plan_is_noticed_before_anything_is_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_planning(world, monkeypatch, lambda: golden_delete.delete_golden(world.fleet, "base"))
    (result,) = make(world, name="crab-1")
    assert isinstance(result.error, NotFound)
    assert (world.storage.names(), set(world.hypervisor.machines)) == (frozenset(), set())


def test_a_golden_made_anew_after_the_plan_is_another_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_anew() -> None:
        world.clock.sleep(5)
        golden_delete.delete_golden(world.fleet, "base")
        world.add_golden("base")

    after_planning(world, monkeypatch, make_anew)
    (result,) = make(world, name="crab-1")
    assert result.error and result.error.brief == "Golden 'base' was made anew meanwhile"


def test_a_new_generation_after_the_plan_harms_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    request = BuildRequest("base", "debian-12", profile="minimal")
    after_planning(world, monkeypatch, lambda: golden_build.build(world.fleet, request))
    (result,) = make(world, name="crab-1")
    assert (result.error, world.record("crab-1").generation, golden_record(world).latest.number) == (None, 1, 2)


@pytest.mark.parametrize("taken", ["base", "theirs", "crab-1"])
def test_a_taken_name_is_refused_whoever_has_it(clone: World, taken: str) -> None:
    clone.hypervisor.add_foreign("theirs")
    before = clone.storage.names()
    with pytest.raises(AlreadyExists, match=f"'{taken}' is taken by a"):
        make(clone, name=taken)
    assert clone.storage.names() == before


@pytest.mark.parametrize(
    "name",
    ["", "a" * 49, "Crab", "crab_1", "crab.1", "-crab", "crab-", "../crab", "<&\"'/..", "crab 1", "ｃrab", "a\n"],
)
def test_a_name_that_is_no_host_name_is_refused(world: World, name: str) -> None:
    with pytest.raises(InvalidInput):
        make(world, name=name)


@pytest.mark.parametrize("name", ["fleet", "pool", "network"])
def test_a_name_of_our_own_locks_is_refused(world: World, name: str) -> None:
    with pytest.raises(InvalidInput, match="is one of moltfleet's own"):
        make(world, name=name)


@pytest.mark.parametrize("count", [0, -1, 201])
def test_an_impossible_count_is_refused(world: World, count: int) -> None:
    with pytest.raises(InvalidInput, match="not between 1 and 200"):
        make(world, count=count)


def test_a_golden_that_does_not_exist_is_named_with_those_that_do(world: World) -> None:
    with pytest.raises(NotFound, match="No golden is named 'nope'") as caught:
        create.create(world.fleet, CreateRequest("nope"))
    assert caught.value.hint == "There are: base."


@pytest.mark.parametrize(
    ("options", "kind", "code"),
    [
        ({"memory": Size.of_mib(16)}, InvalidInput, ExitCode.USAGE),
        ({"memory": Size.of_gib(65)}, NoCapacity, ExitCode.NO_CAPACITY),
        ({"vcpus": 513}, InvalidInput, ExitCode.USAGE),
        ({"vcpus": -1}, InvalidInput, ExitCode.USAGE),
        ({"disk": Size.of_gib(1)}, InvalidInput, ExitCode.USAGE),
        ({"network": "nope"}, NotFound, ExitCode.NOT_FOUND),
        ({"network": ""}, InvalidInput, ExitCode.USAGE),
    ],
)
def test_what_can_never_work_leaves_nothing(
    world: World, options: dict[str, object], kind: type[Exception], code: ExitCode
) -> None:
    before = world.storage.names()
    try:
        (result,) = make(world, name="crab-1", **options)
        error: BaseException | None = result.error
    except kind as raised:
        error = raised
    assert isinstance(error, kind) and error.exit_code is code  # type: ignore[attr-defined]
    assert world.storage.names() == before and "crab-1" not in world.hypervisor.machines


def test_sizes_come_from_the_golden_unless_asked_for(world: World) -> None:
    make(world, name="crab-1", start=False)
    make(world, name="crab-2", start=False, memory=Size.of_gib(4), vcpus=3, disk=Size.of_gib(20))
    first, second = world.hypervisor.get("crab-1"), world.hypervisor.get("crab-2")
    assert (first.memory, first.vcpus) == (Size.of_gib(2), 2)
    assert (second.memory, second.vcpus) == (Size.of_gib(4), 3)
    assert world.storage.get("crab-1.clean.qcow2").capacity == Size.of_gib(10)
    assert world.storage.get("crab-2.clean.qcow2").capacity == Size.of_gib(20)


def test_a_linked_clone_stands_on_the_golden_and_a_full_one_alone(world: World) -> None:
    make(world, name="crab-1")
    make(world, name="crab-2", linked=False)
    assert world.storage.get("crab-1.clean.qcow2").backing == world.storage.path_of("base.g1.qcow2")
    assert world.storage.get("crab-2.clean.qcow2").backing is None
    assert world.guest("crab-2").read("golden") == "base g1"


def test_without_start_nothing_runs_and_there_is_no_clean_point_yet(world: World) -> None:
    make(world, name="crab-1", start=False)
    record = world.record("crab-1")
    assert (record.phase, record.clean, world.hypervisor.get("crab-1").is_active) == (Phase.DEFINED, None, False)


def test_a_cold_clean_point_has_no_ram(world: World) -> None:
    make(world, name="crab-1", warm=False)
    record = world.record("crab-1")
    assert record.clean and record.clean.ram is None
    assert not [name for name in world.storage.names() if name.endswith(".ram")]


def test_ram_that_cannot_be_saved_makes_a_cold_clean_point_and_is_said(world: World) -> None:
    process = Process(fail_at=7, error=ToolFailed("libvirt failed to save crab-1: no"))
    fleet = world.process(process)
    (result,) = create.create(fleet, CreateRequest("base", name="crab-1"))
    record = world.record("crab-1")
    assert result.error is None and record.clean and record.clean.ram is None
    assert "gets a cold clean point" in world.progress.texts("warn")[-1]
    assert not world.guest("crab-1").memory.timers_stopped
    assert unsound(world) == []


def test_the_seed_is_private(world: World) -> None:
    make(world, name="crab-1", start=False)
    assert world.storage.disks["crab-1.seed.iso"].is_private


def test_the_fleet_key_and_the_users_own_are_let_in(world: World) -> None:
    make(world, name="crab-1", user_keys=("ssh-ed25519 AAAAother other",))
    assert world.guest("crab-1").read("authorized").splitlines() == [
        "ssh-ed25519 AAAAfleet fleet",
        "ssh-ed25519 AAAAother other",
    ]


def test_a_clone_on_another_network_has_no_address_beforehand(world: World) -> None:
    (result,) = make(world, name="crab-1", network="default")
    assert (result.error, world.record("crab-1").attachment.kind) == (None, "libvirt")


def test_a_clone_in_user_mode_is_reached_on_loopback(world: World) -> None:
    (result,) = make(world, name="crab-1", network="user")
    attachment = world.record("crab-1").attachment
    assert result.error is None
    assert (attachment.kind, attachment.ssh_port > 1024) == ("user", True)


def test_a_full_network_refuses_the_clone_that_finds_no_slot(world: World) -> None:
    world.networks.slots = 2
    results = make(world, name="crab", count=3, start=False)
    assert [result.outcome for result in results] == ["created", "created", "failed"]
    assert results[2].error and results[2].error.exit_code is ExitCode.NO_CAPACITY
    assert "crab-3" not in world.hypervisor.machines


def test_emulation_is_said_once(world: World) -> None:
    import dataclasses

    world.hypervisor.facts = dataclasses.replace(world.hypervisor.facts, virt_type=VirtType.QEMU)
    make(world, name="crab", count=3, start=False)
    assert len([text for text in world.progress.texts("warn") if "emulated" in text]) == 1


def test_a_failure_of_one_leaves_the_others(world: World) -> None:
    world.hypervisor.behave("crab-2", shows_banner=False)
    results = make(world, name="crab", count=3)
    assert [result.outcome for result in results] == ["created", "failed", "created"]
    assert set(world.hypervisor.machines) == {"base", "crab-1", "crab-3"}
    assert unsound(world) == []


@pytest.mark.parametrize("options", [{}, {"linked": False}, {"warm": False}, {"start": False}])
def test_a_failure_at_any_step_leaves_a_whole_clone_or_nothing(options: dict[str, bool]) -> None:
    undisturbed = Process()
    first = World()
    first.add_golden()
    create.create(first.process(undisturbed), CreateRequest("base", name="crab-1", **options))  # type: ignore[arg-type]
    for number in range(1, len(undisturbed.changes) + 1):
        world = World()
        world.add_golden()
        process = Process(fail_at=number, error=ToolFailed("libvirt failed"))
        (result,) = create.create(world.process(process), CreateRequest("base", name="crab-1", **options))  # type: ignore[arg-type]
        step = undisturbed.changes[number - 1]
        assert unsound(world) == [], step
        assert ("crab-1" in world.hypervisor.machines) == (result.error is None), step


def test_ctrl_c_takes_the_clone_away_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(world.storage, "create_overlay", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make(world, name="crab-1")
    assert "crab-1" not in world.hypervisor.machines
    assert unsound(world) == []


def test_a_guest_that_never_comes_up_is_taken_away_and_the_rung_is_named(world: World) -> None:
    world.hypervisor.behave("crab-1", shows_banner=False)
    (result,) = make(world, name="crab-1")
    assert isinstance(result.error, DeadlinePassed)
    assert result.error.brief == "SSH server of 'crab-1' at 192.168.150.2:22 did not answer within 180 s"
    assert "crab-1" not in world.hypervisor.machines


def test_a_dry_run_says_what_would_be_made(world: World) -> None:
    lines = create_plan.plan_create(world.fleet, CreateRequest("base", name="crab", count=2)).lines()
    assert lines[0] == (
        "crab-1: linked clone of base g1, 2 GiB memory, 2 vCPUs, 10 GiB disk, network moltfleet, "
        "with a warm clean point"
    )
    assert len(lines) == 2 and set(world.hypervisor.machines) == {"base"}
