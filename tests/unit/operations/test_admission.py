"""Room on the host: who is let in, who is refused with what arithmetic, who never is, and what is kept meanwhile."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from fakes import World, a_calm_host, a_world
from fakes.clock import FakeClock
from fakes.hypervisor import FakeHypervisor
from fakes.soundness import unsound
from moltfleet.model.effects import Effect
from moltfleet.model.errors import ExitCode, MoltfleetError
from moltfleet.model.load import Candidate
from moltfleet.model.requests import (
    AdmissionRequest,
    BuildRequest,
    CreateRequest,
    MoltRequest,
    StartRequest,
    StopRequest,
)
from moltfleet.model.results import ActResult
from moltfleet.model.size import Size
from moltfleet.operations import (
    admission,
    create,
    create_plan,
    golden_build,
    kept,
    molt,
    restart,
    start,
    stop,
    undo,
    warm,
)
from moltfleet.operations.admission import NoRoom

# Clones of 2 GiB, and 256 MiB for each one's QEMU.
ONE = Size.of_mib(2304)


def host_for(world: World, clones: float) -> None:
    """Give the host so much memory that so many clones fit beside its reserve of 10 GiB; nothing else uses any."""
    total = Size.of_gib(10) + ONE * clones
    world.meter.load = replace(a_calm_host(), total=total, available=total)


def a_host(clones: float, *names: str) -> World:
    """A host for so many clones, with these on it, defined and never started."""
    world = a_world()
    for name in names:
        world.add_clone(name, start=False)
    host_for(world, clones)
    return world


def ready_and_off(world: World, *names: str) -> None:
    """Add clones that were ready, and were stopped."""
    for name in names:
        world.add_clone(name)
        stop.stop(world.fleet, [name], StopRequest(now=True))


def start_them(world: World, *names: str, jobs: int | None = 8, **terms: object) -> tuple[ActResult, ...]:
    request = StartRequest(jobs=jobs, admission=AdmissionRequest(**terms))  # type: ignore[arg-type]
    return start.start(world.fleet, names, request)


def running(world: World) -> list[str]:
    return [domain.name for domain in world.hypervisor.domains() if domain.is_active]


def refused(error: MoltfleetError | None, rule: str) -> NoRoom:
    assert isinstance(error, NoRoom), error
    assert error.exit_code is ExitCode.NO_CAPACITY
    assert f"rule {rule}: " in error.brief
    return error


@contextmanager
def at(effect: Effect, act: Callable[[], None]) -> Iterator[None]:
    """Do something at the moment of an effect."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.effect is effect:  # type: ignore[attr-defined]
                act()

    logger, handler = logging.getLogger("moltfleet.effects"), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


# Who is let in


@pytest.mark.parametrize("jobs", [None, 8])
def test_as_many_start_as_fit_and_the_others_are_refused(jobs: int | None) -> None:
    names = [f"crab-{number}" for number in range(6)]
    world = a_host(3.9, *names)
    results = start_them(world, *names, jobs=jobs)
    assert len(running(world)) == 3
    outcomes = [result.outcome for result in results]
    assert (outcomes.count("started"), outcomes.count("failed")) == (3, 3)
    for result in results:
        if result.error:
            refused(result.error, "committed")
    assert unsound(world) == []


def test_a_refusal_shows_its_arithmetic_and_the_largest_clone_that_fits() -> None:
    world = a_host(1.5, "crab-1", "crab-2")
    _, (result,) = start_them(world, "crab-1"), start_them(world, "crab-2")
    error = refused(result.error, "committed")
    assert error.brief == (
        "No room for 'crab-2' (2 GiB), rule committed: 1 active domain 2.25 GiB (memory and QEMU's own, libvirt)"
        " + 0.00 GiB reserved for starts + 2.25 GiB for this clone = 4.50 GiB; limit 3.38 GiB ="
        " 13.38 GiB (/proc/meminfo) - 10.00 GiB reserve (default): 1.1 GiB short"
    )
    assert error.hint and error.hint.startswith("The largest clone that fits now has 896 MiB. ")
    assert (error.excerpt, result.detail) == (None, error.brief)


def test_every_rule_against_it_is_told() -> None:
    world = a_host(0.5, "crab-1")
    world.meter.load = replace(world.meter.load, available=Size(0))
    (result,) = start_them(world, "crab-1")
    error = refused(result.error, "committed")
    assert error.excerpt and error.excerpt.startswith("rule live: 0.00 GiB available")
    assert error.hint and error.hint.startswith("No clone fits now. ")


def test_a_refused_clone_is_as_it_was() -> None:
    world = a_world()
    ready_and_off(world, "crab-1")
    host_for(world, 0)
    before = world.record("crab-1")
    (result,) = start_them(world, "crab-1")
    refused(result.error, "committed")
    assert (world.record("crab-1"), running(world)) == (before, [])
    assert world.locks.held("") == ()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"available": Size.of_gib(2)}, "live"),
        ({"pressure": 10.0}, "pressure"),
        ({"oom_kills": 1}, "pressure"),
    ],
)
def test_every_rule_stands_in_the_way(change: dict[str, object], rule: str) -> None:
    world = a_host(9, "crab-1")
    world.meter.load = replace(world.meter.load, **change)  # type: ignore[arg-type]
    (result,) = start_them(world, "crab-1")
    refused(result.error, rule)
    assert running(world) == []


def test_a_pool_without_room_for_what_a_clone_writes_stands_in_the_way() -> None:
    world = a_host(9, "crab-1")
    world.storage.fill()
    (result,) = start_them(world, "crab-1")
    error = refused(result.error, "disk")
    assert error.hint and error.hint.startswith("No clone fits now. moltfleet kept delete and cleanup free space; ")


def test_everybody_s_domains_count_paused_ones_too() -> None:
    world = a_host(1.5, "crab-1")
    world.hypervisor.add_foreign("theirs")
    world.hypervisor.start("theirs")
    machine = world.hypervisor.machines["theirs"].running
    assert machine is not None
    machine.is_paused = True
    (result,) = start_them(world, "crab-1")
    refused(result.error, "committed")


def test_what_others_keep_room_for_counts_until_they_let_go() -> None:
    world = a_host(1.5, "crab-1")
    world.locks.note_by_other("room.theirs", json.dumps({"name": "theirs", "memory": ONE.bytes, "disk": 0}))
    (result,) = start_them(world, "crab-1")
    refused(result.error, "committed")
    world.locks.release_by_other("room.theirs")
    (result,) = start_them(world, "crab-1")
    assert result.outcome == "started"


def test_the_last_one_that_fits_is_let_in_with_a_warning() -> None:
    world = a_host(2.5, "crab-1", "crab-2")
    start_them(world, "crab-1")
    assert world.progress.texts("warn") == ()
    start_them(world, "crab-2")
    (warning,) = world.progress.texts("warn")
    assert warning.startswith("'crab-2': No room for another clone of 2 GiB is left")


def test_what_is_measured_for_a_check_is_remembered_for_later_ones() -> None:
    world = a_host(9, "crab-1")
    start_them(world, "crab-1")
    assert world.meter.remembered > 0


# What is kept meanwhile


def test_room_is_kept_from_before_the_start_until_the_guest_is_ready() -> None:
    world = a_host(9, "crab-1")
    seen: dict[Effect, list[str]] = {}

    def look(effect: Effect) -> Callable[[], None]:
        return lambda: seen.update({effect: [r.name for r in world.fleet.reservations.current()]})

    effects = (Effect.CREATE_STARTED, Effect.CREATE_READIED, Effect.CLEAN_SAVED, Effect.CLEAN_RESUMED)
    with (
        at(effects[0], look(effects[0])),
        at(effects[1], look(effects[1])),
        at(effects[2], look(effects[2])),
        at(effects[3], look(effects[3])),
    ):
        start_them(world, "crab-1")
    assert seen == {effect: ["crab-1"] for effect in effects}
    assert world.fleet.reservations.current() == ()


def test_what_is_kept_is_memory_with_qemu_s_own_and_disk_with_the_ram_image() -> None:
    world = a_host(9, "crab-1")
    kept_for: list[tuple[Size, Size]] = []
    with at(
        Effect.CREATE_STARTED,
        lambda: kept_for.extend((r.amount, r.disk) for r in world.fleet.reservations.current()),
    ):
        start_them(world, "crab-1")
    # Twice the 128 MiB that the golden used when idle.
    assert kept_for == [(ONE, Size.of_gib(1) + Size.of_mib(256))]


def test_a_start_that_fails_lets_go_of_its_room() -> None:
    world = a_host(9, "crab-1")
    world.hypervisor.behave("crab-1", shows_banner=False)
    (result,) = start_them(world, "crab-1")
    assert result.error is not None
    assert world.fleet.reservations.current() == ()
    # The domain runs on, and counts by itself.
    assert running(world) == ["crab-1"]


# What grows between the check and the start


def test_a_guest_that_grows_while_a_clone_is_made_is_noticed_before_the_clone_starts() -> None:
    world = a_world(clones=("crab-1",))
    host_for(world, 2.5)

    def grow() -> None:
        world.hypervisor.resident["crab-1"] = Size.of_gib(4)

    with at(Effect.CREATE_OVERLAID, grow):
        (result,) = create.create(world.fleet, CreateRequest("base", name="crab-2"))
    refused(result.error, "committed")
    assert (running(world), unsound(world)) == (["crab-1"], [])
    assert "crab-2" not in world.hypervisor.machines


def test_a_guest_that_grows_right_before_a_start_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_world(clones=("crab-1",))
    ready_and_off(world, "crab-2")
    host_for(world, 2.5)
    before = world.record("crab-2")
    set_disk = FakeHypervisor.set_disk

    def grow(self: FakeHypervisor, name: str, volume: str) -> None:
        set_disk(self, name, volume)
        self.resident["crab-1"] = Size.of_gib(4)

    monkeypatch.setattr(FakeHypervisor, "set_disk", grow)
    (result,) = start_them(world, "crab-2")
    refused(result.error, "committed")
    assert (running(world), world.record("crab-2")) == (["crab-1"], before)


# Who never is refused: what runs already


def crowded(world: World) -> None:
    """Take the host's memory away from what runs on it."""
    host_for(world, 0)
    world.meter.load = replace(world.meter.load, available=Size(0), pressure=99.0, oom_kills=3)


@pytest.mark.parametrize("cold", [False, True])
def test_a_running_clone_molts_however_full_the_host_is(clone: World, *, cold: bool) -> None:
    crowded(clone)
    (result,) = molt.molt(clone.fleet, ["crab-1"], MoltRequest(cold=cold))
    assert (result.outcome, result.mode) == ("molted", "cold" if cold else "warm")


def test_a_molt_of_a_running_clone_measures_nothing(clone: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(FakeHypervisor, "memory_use", refuse)
    (result,) = molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    assert result.outcome == "molted"


def test_room_is_kept_while_a_molt_has_the_clone_off(clone: World) -> None:
    kept_for: list[str] = []
    with at(Effect.MOLT_DESTROYED, lambda: kept_for.extend(r.name for r in clone.fleet.reservations.current())):
        molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    assert kept_for == ["crab-1"]


def test_a_molt_in_a_full_pool_is_not_stopped_before_it_gives_way(clone: World) -> None:
    molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    clone.storage.fill()
    (result,) = molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    assert result.outcome == "molted"


def test_a_running_clone_restarts_undoes_and_goes_back_however_full_the_host_is(clone: World) -> None:
    molt.molt(clone.fleet, ["crab-1"], MoltRequest(keep="monday"))
    molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    crowded(clone)
    (restarted,) = restart.restart(clone.fleet, ["crab-1"], StopRequest())
    assert restarted.outcome == "restarted"
    assert undo.undo(clone.fleet, "crab-1").outcome == "undone"
    assert kept.restore(clone.fleet, "crab-1", "monday").outcome == "restored"


def test_a_running_clone_whose_definition_has_grown_is_asked_for_room(clone: World) -> None:
    machine = clone.hypervisor.machines["crab-1"]
    machine.spec = replace(machine.spec, memory=Size.of_gib(4))
    host_for(clone, 1.2)
    (result,) = molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    refused(result.error, "committed")
    assert clone.record("crab-1").pending is None
    assert running(clone) == ["crab-1"]


# Who is refused: whatever brings up what is off


@pytest.fixture
def off(world: World) -> World:
    """A host without room for the clone "crab-1", which is off, was molted, has a kept layer and no valid RAM."""
    world.add_clone("crab-1")
    molt.molt(world.fleet, ["crab-1"], MoltRequest(keep="monday"))
    molt.molt(world.fleet, ["crab-1"], MoltRequest())
    stop.stop(world.fleet, ["crab-1"], StopRequest(now=True))
    host_for(world, 0.5)
    return world


BRINGS_UP: dict[str, Callable[[World], MoltfleetError | None]] = {
    "start": lambda world: start.start(world.fleet, ["crab-1"])[0].error,
    "restart": lambda world: restart.restart(world.fleet, ["crab-1"], StopRequest())[0].error,
    "warm molt": lambda world: molt.molt(world.fleet, ["crab-1"], MoltRequest())[0].error,
    "cold molt": lambda world: molt.molt(world.fleet, ["crab-1"], MoltRequest(cold=True))[0].error,
    "undo": lambda world: undo.undo(world.fleet, "crab-1").error,
    "kept restore": lambda world: kept.restore(world.fleet, "crab-1", "monday").error,
}


@pytest.mark.parametrize("act", BRINGS_UP.values(), ids=BRINGS_UP)
def test_bringing_up_what_is_off_is_refused_before_anything_is_changed(
    off: World, act: Callable[[World], MoltfleetError | None]
) -> None:
    before, volumes = off.record("crab-1"), off.storage.names()
    refused(act(off), "committed")
    assert (off.record("crab-1"), off.storage.names(), running(off)) == (before, volumes, [])


def test_warming_is_refused_when_the_clone_would_have_to_boot(off: World) -> None:
    off.hypervisor.kernel = "7.0"
    (result,) = warm.warm(off.fleet, ["crab-1"], from_now=False)
    refused(result.error, "committed")
    assert running(off) == []


def test_a_clone_that_is_warm_already_needs_no_room(off: World) -> None:
    (result,) = warm.warm(off.fleet, ["crab-1"], from_now=False)
    assert result.outcome == "unchanged"


def test_a_repair_that_would_boot_is_refused_and_the_clone_can_still_be_stopped(clone: World) -> None:
    clone.hypervisor.behave("crab-1", shows_banner=False)
    molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    clone.hypervisor.destroy("crab-1")
    clone.hypervisor.behave("crab-1", shows_banner=True)
    host_for(clone, 0.5)
    (result,) = stop.stop(clone.fleet, ["crab-1"], StopRequest())
    assert (result.outcome, running(clone)) == ("unchanged", [])
    assert "could not be repaired before its stop: No room for 'crab-1'" in clone.progress.texts("warn")[-1]
    assert clone.record("crab-1").pending is not None


def test_a_clone_that_does_not_fit_is_not_even_made(world: World) -> None:
    host_for(world, 0.5)
    volumes = world.storage.names()
    (result,) = create.create(world.fleet, CreateRequest("base", name="crab-1"))
    refused(result.error, "committed")
    assert "crab-1" not in world.hypervisor.machines
    assert world.storage.names() == volumes


def test_of_several_new_clones_as_many_are_made_as_fit(world: World) -> None:
    host_for(world, 2.5)
    results = create.create(world.fleet, CreateRequest("base", name="crab", count=4))
    assert [result.outcome for result in results] == ["created", "created", "failed", "failed"]
    assert running(world) == ["crab-1", "crab-2"]


def test_a_dry_run_of_create_tells_that_it_would_be_refused(world: World) -> None:
    plan = create_plan.plan_create(world.fleet, CreateRequest("base", name="crab-1"))
    assert create_plan.foresee(world.fleet, plan) == plan.lines()
    host_for(world, 0.5)
    refusal = create_plan.foresee(world.fleet, plan)[-1]
    assert refusal.startswith("crab-1: would be refused now, rule committed: 0 active domains")


def test_a_clone_that_is_not_to_run_is_made_with_a_warning(world: World) -> None:
    host_for(world, 0.5)
    (result,) = create.create(world.fleet, CreateRequest("base", name="crab-1", start=False))
    assert result.outcome == "created"
    assert world.progress.texts("warn")[-1].startswith("'crab-1' could not be started now: rule committed: ")


def test_a_build_needs_room_too(world: World) -> None:
    host_for(world, 0.5)
    with pytest.raises(NoRoom) as caught:
        golden_build.build(world.fleet, BuildRequest("two", "debian-12", profile="minimal"))
    refused(caught.value, "committed")
    assert "two.build" not in world.hypervisor.machines


def test_a_build_needs_room_for_one_guest_at_a_time(world: World) -> None:
    host_for(world, 1.5)
    patient = AdmissionRequest(wait_s=float("inf"))
    build = BuildRequest("two", "debian-12", profile="minimal", memory=Size.of_gib(2), admission=patient)
    golden_build.build(world.fleet, build)
    assert world.hypervisor.get("two").is_golden
    assert running(world) == []


def _after(world: World, seconds: float, act: Callable[[], None]) -> None:
    """Do something once so much time has passed on the fake clock."""
    began, sleep = world.clock.now(), FakeClock.sleep
    done: list[bool] = []

    def sleeping(self: FakeClock, duration: float) -> None:
        sleep(self, duration)
        if not done and self.now() - began >= seconds:
            done.append(True)
            act()

    # The clock has no slots: what is set on it shadows its class.
    world.clock.sleep = sleeping.__get__(world.clock)  # type: ignore[method-assign]


# Past the rules


def test_a_forced_start_goes_past_the_rules_and_is_noted_in_the_clone_s_record(off: World) -> None:
    (result,) = start_them(off, "crab-1", force="the demo is in five minutes")
    assert result.outcome == "started"
    forced = off.record("crab-1").forced
    assert forced is not None
    assert (forced.reason, forced.by, forced.rules) == (
        "the demo is in five minutes",
        "alice",
        ("committed",),
    )
    assert forced.at.startswith("2026-11-20T")
    assert "No room for 'crab-1', rule committed: " in off.progress.texts("warn")[-1]


@pytest.mark.parametrize("act", ["molt", "undo", "restart", "kept restore"])
def test_every_act_can_be_forced(off: World, act: str) -> None:
    terms = AdmissionRequest(force="it has to be")
    error = {
        "molt": lambda: molt.molt(off.fleet, ["crab-1"], MoltRequest(admission=terms))[0].error,
        "undo": lambda: undo.undo(off.fleet, "crab-1", terms).error,
        "restart": lambda: restart.restart(off.fleet, ["crab-1"], StopRequest(), terms)[0].error,
        "kept restore": lambda: kept.restore(off.fleet, "crab-1", "monday", terms).error,
    }[act]()
    assert error is None
    forced = off.record("crab-1").forced
    assert forced is not None and forced.reason == "it has to be"


def test_a_clone_made_by_force_says_so(world: World) -> None:
    host_for(world, 0.5)
    terms = AdmissionRequest(force="testing")
    (result,) = create.create(world.fleet, CreateRequest("base", name="crab-1", admission=terms))
    assert result.outcome == "created"
    forced = world.record("crab-1").forced
    assert forced is not None and forced.reason == "testing"


def test_force_that_was_not_needed_is_not_noted() -> None:
    world = a_host(9, "crab-1")
    start_them(world, "crab-1", force="to be sure")
    assert world.record("crab-1").forced is None


def test_what_was_forced_in_counts_against_the_next_one(off: World) -> None:
    start_them(off, "crab-1", force="the demo is in five minutes")
    off.add_clone("crab-2", start=False)
    (result,) = start_them(off, "crab-2")
    refused(result.error, "committed")


# Waiting


def test_a_start_that_waits_says_for_what_and_goes_on_when_there_is_room() -> None:
    world = a_host(1.5, "crab-1", "crab-2")
    start_them(world, "crab-1")
    _after(world, 30, lambda: world.hypervisor.destroy("crab-1"))
    began = world.clock.now()
    (result,) = start_them(world, "crab-2", wait_s=600)
    assert result.outcome == "started"
    assert 30 <= world.clock.now() - began < 60
    assert "Waiting for room for crab-2" in world.progress.texts("start")
    assert any(text.startswith("rule committed: ") for text in world.progress.texts("detail"))
    assert any(text.startswith("No room for 'crab-2'") for text in world.progress.texts("say"))


def test_waiting_ends_in_time_with_the_refusal() -> None:
    world = a_host(0.5, "crab-1")
    began = world.clock.now()
    (result,) = start_them(world, "crab-1", wait_s=30)
    refused(result.error, "committed")
    assert world.clock.now() - began == 30


def test_ctrl_c_ends_the_waiting_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_host(0.5, "crab-1")
    before = world.record("crab-1")

    def interrupt(self: FakeClock, seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeClock, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start_them(world, "crab-1", wait_s=float("inf"))
    assert (world.record("crab-1"), world.locks.held(""), running(world)) == (before, (), [])


# Looking only


def test_looking_whether_a_clone_would_fit_keeps_nothing(world: World) -> None:
    candidate = Candidate("crab-1", Size.of_gib(2), 2, emulated=False)
    assert admission.find_objection(world.fleet, candidate) is None
    host_for(world, 0.5)
    refused(admission.find_objection(world.fleet, candidate), "committed")
    assert world.fleet.reservations.current() == ()


def test_a_dry_run_of_starts_tells_which_would_be_refused(off: World) -> None:
    off.add_clone("crab-2", start=False)
    lines = start.plan_start(off.fleet, ["crab-1", "crab-2"])
    assert [line.partition(",")[0] for line in lines] == ["crab-1: would be refused", "crab-2: would be refused"]
    host_for(off, 9)
    assert start.plan_start(off.fleet, ["crab-1"]) == ("crab-1: would be started",)
    start_them(off, "crab-1")
    assert start.plan_start(off.fleet, ["crab-1"]) == ("crab-1: runs already",)
