"""The process is killed after every effect, and after every single change, of every act; then the next command comes.

Afterwards the fleet is sound, what people had is still there, and a second repair finds nothing to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import pytest

from fakes import Killed, Process, World, a_world, effects_told_to
from fakes.guestlogins import HOME
from fakes.soundness import repair_all, unsound
from fakes.takeover import GOLDEN, scripts_were_here, takeover_of
from moltfleet.config import Logins
from moltfleet.model.adoption import AdoptRequest
from moltfleet.model.effects import Effect
from moltfleet.model.errors import MoltfleetError, ToolFailed
from moltfleet.model.logins import SyncRequest
from moltfleet.model.records import GoldenRecord, Layer, Phase
from moltfleet.model.requests import NEWEST, BuildRequest, CreateRequest, MoltRequest, StopRequest, UpdateRequest
from moltfleet.operations import (
    adopt,
    adopt_undo,
    create,
    delete,
    golden_build,
    golden_delete,
    golden_prune,
    golden_update,
    kept,
    molt,
    molting,
    restart,
    snapshots,
    start,
    stop,
    sync_auth,
    undo,
    warm,
)
from moltfleet.operations.fleet import Fleet

LOGIN = ".codex/auth.json"
RENEWED = '{"last_refresh": 1763629260}'


@dataclass(frozen=True, slots=True)
class Scenario:
    """An act on a prepared host, and what it is to lead to.

    ``keeps`` are the clones whose "work" file must survive it, wherever it goes.
    """

    prepare: Callable[[World], None]
    act: Callable[[Fleet], object]
    goal: Callable[[World], bool]
    keeps: tuple[str, ...] = field(default=())


def with_clone(**behaviour: object) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        world.hypervisor.behave("crab-1", **behaviour)
        world.add_clone("crab-1")
        world.guest("crab-1").write("work", "of a day")

    return prepare


def with_molted_clone(world: World) -> None:
    with_clone()(world)
    molt.molt(world.fleet, ["crab-1"], MoltRequest())
    world.guest("crab-1").write("more", "work")


def with_clone_whose_ram_fails(world: World) -> None:
    with_clone()(world)
    world.hypervisor.behave("crab-1", forgets_nonce=True)


def with_stopped_clone(world: World) -> None:
    with_clone()(world)
    stop.stop(world.fleet, ["crab-1"], StopRequest())


def with_defined_clone(**behaviour: object) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        world.hypervisor.behave("crab-1", **behaviour)
        world.add_clone("crab-1", start=False)

    return prepare


def with_logins(world: World) -> None:
    """Renewed since they were given, so that a molt has to bring them back."""
    before_logins(world)
    sync_clone(world.fleet)
    world.guest("crab-1").write(HOME + LOGIN, f"{world.clock.now()}\n{RENEWED}")


def before_logins(world: World) -> None:
    world.config = world.config.model_copy(update={"logins": Logins(allow=("codex",))})
    world.fleet = world.process()
    world.host_logins.has(LOGIN, '{"last_refresh": 1}')
    with_clone()(world)


def sync_clone(fleet: Fleet) -> object:
    return sync_auth.sync_auth(fleet, ["crab-1"], SyncRequest())


def with_kept_layer(world: World) -> None:
    with_clone()(world)
    molt.molt(world.fleet, ["crab-1"], MoltRequest(keep="monday"))
    world.guest("crab-1").write("more", "work")


def with_cold_clone(world: World) -> None:
    world.add_clone("crab-1", warm=False)
    world.guest("crab-1").write("work", "of a day")


def with_stale_clone(world: World) -> None:
    with_clone()(world)
    world.hypervisor.kernel = "6.2.0"


def with_clone_warmed_anew(world: World) -> None:
    with_cold_clone(world)
    warm.warm(world.fleet, ["crab-1"], from_now=False)
    world.guest("crab-1").write("more", "work")
    world.hypervisor.kernel = "6.2.0"


def with_golden(world: World) -> None:
    golden_build.build(world.fleet, BuildRequest("two", "debian-12", profile="minimal"))


def with_clone_of_an_old_generation(world: World) -> None:
    with_golden(world)
    world.add_clone("crab-1", golden="two")
    world.guest("crab-1").write("work", "of a day")


def with_an_old_golden(world: World) -> None:
    with_clone_of_an_old_generation(world)
    world.hypervisor.behave("two.build", newer="1.7")


def with_a_newer_generation(world: World) -> None:
    with_an_old_golden(world)
    golden_update.update(world.fleet, UpdateRequest("two"))


def with_shed_and_kept_layers_and_a_newer_generation(world: World) -> None:
    with_a_newer_generation(world)
    molt.molt(world.fleet, ["crab-1"], MoltRequest(keep="monday"))
    world.guest("crab-1").write("more", "work")
    molt.molt(world.fleet, ["crab-1"], MoltRequest())


def with_a_moved_clone(world: World) -> None:
    with_a_newer_generation(world)
    molt.molt(world.fleet, ["crab-1"], MoltRequest(to=NEWEST))


def with_a_generation_to_spare(world: World) -> None:
    with_an_old_golden(world)
    golden_update.update(world.fleet, UpdateRequest("two"))
    world.hypervisor.behave("two.build", newer="1.8")
    golden_update.update(world.fleet, UpdateRequest("two"))


def with_what_scripts_made(world: World) -> None:
    scripts_were_here(world, "crab-1", "crab-2")


def with_adopted_clones(world: World) -> None:
    with_what_scripts_made(world)
    adopt_all(world.fleet)


def with_a_snapshot(world: World) -> None:
    with_clone()(world)
    snapshots.create(world.fleet, "crab-1", "noon")
    world.guest("crab-1").write("more", "work")


def with_a_stopped_clone_that_has_a_snapshot(world: World) -> None:
    with_a_snapshot(world)
    stop.stop(world.fleet, ["crab-1"], StopRequest())


def nothing(_: World) -> None:
    pass


def create_clone(**options: object) -> Callable[[Fleet], object]:
    return lambda fleet: create.create(fleet, CreateRequest("base", name="crab-1", **options))  # type: ignore[arg-type]


def molt_clone(**options: object) -> Callable[[Fleet], object]:
    return lambda fleet: molt.molt(fleet, ["crab-1"], MoltRequest(**options))  # type: ignore[arg-type]


def adopt_all(fleet: Fleet) -> object:
    return adopt.adopt(fleet, takeover_of(fleet), AdoptRequest((GOLDEN,)))


def give_all_back(fleet: Fleet) -> object:
    return adopt_undo.undo(fleet, takeover_of(fleet), ())


def warm_clone(fleet: Fleet) -> object:
    return warm.warm(fleet, ["crab-1"], from_now=False)


def start_and_freeze(fleet: Fleet) -> None:
    """Killed in the middle of a save, the guest stays off; only a running one has a state to freeze."""
    start.start(fleet, ["crab-1"])
    warm.warm(fleet, ["crab-1"], from_now=True)


def build(name: str) -> Callable[[Fleet], object]:
    return lambda fleet: golden_build.build(fleet, BuildRequest(name, "debian-12", profile="minimal"))


def no_agent(world: World) -> None:
    for name in ("crab-1", "two.build"):
        world.hypervisor.behave(name, has_agent=False)


def forgetful(world: World) -> None:
    world.hypervisor.behave("crab-1", forgets_nonce=True)


def is_ready(world: World) -> bool:
    clone = world.record("crab-1") if "crab-1" in world.hypervisor.machines else None
    if clone is None or clone.phase is not Phase.READY or clone.clean is None:
        return False
    return world.hypervisor.machines["crab-1"].running is not None and world.guest("crab-1").is_up


def is_awake(world: World) -> bool:
    """Ready, and the work after a restore was done."""
    return is_ready(world) and not world.guest("crab-1").memory.timers_stopped


def is_defined(world: World) -> bool:
    return "crab-1" in world.hypervisor.machines and world.record("crab-1").phase is Phase.DEFINED


def is_clean(world: World) -> bool:
    return is_awake(world) and world.guest("crab-1").read("work") + world.guest("crab-1").read("more") == ""


def has_logins(world: World) -> bool:
    """Guest and host have the same, whichever that is."""
    held = world.guest("crab-1").read(HOME + LOGIN).partition("\n")[2]
    return is_awake(world) and held == world.host_logins.files[LOGIN].content.decode()


def is_clean_and_logged_in(world: World) -> bool:
    return is_clean(world) and has_logins(world) and RENEWED in world.guest("crab-1").read(HOME + LOGIN)


def is_back(world: World) -> bool:
    return is_awake(world) and world.guest("crab-1").read("work") == "of a day"


def is_warm(world: World) -> bool:
    clone = world.record("crab-1")
    return is_clean(world) and clone.clean is not None and not molting.cold_reason(world.fleet, "crab-1", clone.clean)


def is_the_clean_point(world: World) -> bool:
    clone = world.record("crab-1")
    return clone.clean is not None and world.storage.content(clone.clean.volume).get("work") == "of a day"


def is_adopted(world: World) -> bool:
    return all(world.hypervisor.get(name).record is not None for name in (GOLDEN, "crab-1", "crab-2"))


def is_given_back(world: World) -> bool:
    return all(world.hypervisor.get(name).record is None for name in (GOLDEN, "crab-1", "crab-2"))


def is_forgotten(world: World) -> bool:
    return world.record("crab-1").kept == ()


def is_gone(name: str) -> Callable[[World], bool]:
    return lambda world: name not in world.hypervisor.machines


def is_moved(world: World) -> bool:
    return is_clean(world) and world.record("crab-1").generation == 2


def is_frozen(world: World) -> bool:
    snapshots = {snapshot.name: snapshot.stamp.volume for snapshot in world.record("crab-1").snapshots}
    return "now" in snapshots and world.storage.content(snapshots["now"]).get("work") == "of a day"


def is_reverted(world: World) -> bool:
    return is_back(world) and world.guest("crab-1").read("more") == ""


def is_flat(world: World) -> bool:
    top = world.storage.disks[world.record("crab-1").top]
    return is_back(world) and world.guest("crab-1").read("more") == "work" and top.backing is None


def has_no_snapshot(world: World) -> bool:
    return world.record("crab-1").snapshots == ()


def is_pruned(world: World) -> bool:
    record = world.hypervisor.machines["two"].record
    return isinstance(record, GoldenRecord) and [g.number for g in record.generations] == [1, 3] and not record.going


def is_built(name: str, generation: int) -> Callable[[World], bool]:
    def check(world: World) -> bool:
        machine = world.hypervisor.machines.get(name)
        return (
            machine is not None
            and isinstance(machine.record, GoldenRecord)
            and (
                machine.record.latest.number >= generation
                and machine.disk == world.storage.path_of(machine.record.latest.volume)
            )
        )

    return check


WORK = ("crab-1",)
SCENARIOS = {
    "create": Scenario(nothing, create_clone(), is_awake),
    "create full": Scenario(nothing, create_clone(linked=False), is_awake),
    "create cold": Scenario(nothing, create_clone(warm=False), is_awake),
    "create without agent": Scenario(no_agent, create_clone(warm=False), is_awake),
    "create without start": Scenario(nothing, create_clone(start=False), is_defined),
    "create whose RAM does not come back": Scenario(forgetful, create_clone(), is_awake),
    "first start": Scenario(with_defined_clone(), lambda fleet: start.start(fleet, ["crab-1"]), is_awake),
    "first start without agent": Scenario(
        with_defined_clone(has_agent=False), lambda fleet: start.start(fleet, ["crab-1"]), is_awake
    ),
    "first start whose RAM does not come back": Scenario(
        with_defined_clone(forgets_nonce=True), lambda fleet: start.start(fleet, ["crab-1"]), is_ready
    ),
    "molt": Scenario(with_clone(), molt_clone(), is_clean, WORK),
    "second molt": Scenario(with_molted_clone, molt_clone(), is_clean),
    "molt and keep": Scenario(with_molted_clone, molt_clone(keep="monday"), is_clean, WORK),
    "cold molt": Scenario(with_clone(), molt_clone(cold=True), is_clean, WORK),
    "molt whose RAM does not come back": Scenario(with_clone_whose_ram_fails, molt_clone(), is_clean, WORK),
    "molt of a stopped clone": Scenario(with_stopped_clone, molt_clone(), is_clean, WORK),
    "molt to latest": Scenario(with_a_newer_generation, molt_clone(to=NEWEST), is_moved, WORK),
    "molt to latest and keep": Scenario(with_a_newer_generation, molt_clone(to=NEWEST, keep="old"), is_moved, WORK),
    "molt to latest with layers to go back to": Scenario(
        with_shed_and_kept_layers_and_a_newer_generation, molt_clone(to=NEWEST), is_moved, WORK
    ),
    "molt to an older generation": Scenario(
        with_a_moved_clone, molt_clone(to=1), lambda world: world.record("crab-1").generation == 1 and is_clean(world)
    ),
    "molt of a moved clone": Scenario(with_a_moved_clone, molt_clone(), is_moved),
    "undo of a move": Scenario(with_a_moved_clone, lambda fleet: undo.undo(fleet, "crab-1"), is_back, WORK),
    "sync-auth": Scenario(before_logins, sync_clone, has_logins, WORK),
    "molt with logins": Scenario(with_logins, molt_clone(), is_clean_and_logged_in, WORK),
    "cold molt with logins": Scenario(with_logins, molt_clone(cold=True), is_clean_and_logged_in, WORK),
    "snapshot": Scenario(with_clone(), lambda fleet: snapshots.create(fleet, "crab-1", "now"), is_frozen, WORK),
    "snapshot of a stopped clone": Scenario(
        with_stopped_clone, lambda fleet: snapshots.create(fleet, "crab-1", "now"), is_frozen, WORK
    ),
    "snapshot offline": Scenario(
        with_a_snapshot, lambda fleet: snapshots.create(fleet, "crab-1", "now", offline=True), is_frozen, WORK
    ),
    "snapshot revert": Scenario(
        with_a_snapshot, lambda fleet: snapshots.revert(fleet, "crab-1", "noon"), is_reverted, WORK
    ),
    "snapshot revert of a stopped clone": Scenario(
        with_a_stopped_clone_that_has_a_snapshot,
        lambda fleet: snapshots.revert(fleet, "crab-1", "noon"),
        is_reverted,
        WORK,
    ),
    "snapshot flatten": Scenario(with_a_snapshot, lambda fleet: snapshots.flatten(fleet, "crab-1"), is_flat, WORK),
    "snapshot delete": Scenario(
        with_a_snapshot, lambda fleet: snapshots.delete(fleet, "crab-1", "noon"), has_no_snapshot, WORK
    ),
    "molt of a clone with a snapshot": Scenario(with_a_snapshot, molt_clone(), is_clean, WORK),
    "undo": Scenario(with_molted_clone, lambda fleet: undo.undo(fleet, "crab-1"), is_back, WORK),
    "kept restore": Scenario(with_kept_layer, lambda fleet: kept.restore(fleet, "crab-1", "monday"), is_back, WORK),
    "kept delete": Scenario(with_kept_layer, lambda fleet: kept.delete(fleet, "crab-1", "monday"), is_forgotten),
    "warm": Scenario(with_cold_clone, warm_clone, is_warm, WORK),
    "warm a stale one": Scenario(with_stale_clone, warm_clone, is_warm, WORK),
    "warm one that was warmed": Scenario(with_clone_warmed_anew, warm_clone, is_warm),
    "warm from now": Scenario(with_clone(), start_and_freeze, is_the_clean_point, WORK),
    "restart": Scenario(with_clone(), lambda fleet: restart.restart(fleet, ["crab-1"], StopRequest()), is_back, WORK),
    "start": Scenario(with_stopped_clone, lambda fleet: start.start(fleet, ["crab-1"]), is_back, WORK),
    "delete": Scenario(with_molted_clone, lambda fleet: delete.delete(fleet, ["crab-1"]), is_gone("crab-1")),
    "adopt": Scenario(with_what_scripts_made, adopt_all, is_adopted),
    "adopt and give back": Scenario(with_adopted_clones, give_all_back, is_given_back),
    "first start of an adopted clone": Scenario(
        with_adopted_clones, lambda fleet: start.start(fleet, ["crab-1"]), is_back, WORK
    ),
    "golden build": Scenario(nothing, build("two"), is_built("two", 1)),
    "golden build without agent": Scenario(no_agent, build("two"), is_built("two", 1)),
    "golden build on a stage": Scenario(with_golden, build("three"), is_built("three", 1)),
    "golden rebuild": Scenario(with_clone_of_an_old_generation, build("two"), is_built("two", 2), WORK),
    "golden update": Scenario(
        with_an_old_golden, lambda fleet: golden_update.update(fleet, UpdateRequest("two")), is_built("two", 2), WORK
    ),
    "golden prune": Scenario(with_a_generation_to_spare, lambda fleet: golden_prune.prune(fleet, ()), is_pruned, WORK),
    "golden delete": Scenario(with_golden, lambda fleet: golden_delete.delete_golden(fleet, "two"), is_gone("two")),
}


def run(scenario: Scenario, process: Process) -> World:
    """Prepare a host and do the act in a process; whatever the act gives back is what its user would see."""
    world = a_world()
    scenario.prepare(world)
    # A failed act is told to its user, a killed one to nobody.
    with effects_told_to(process), contextlib.suppress(Killed, MoltfleetError):
        scenario.act(world.process(process))
    return world


@cache
def uninterrupted(name: str) -> Process:
    """What an act does when nothing disturbs it."""
    process = Process()
    run(SCENARIOS[name], process)
    return process


def kept_work(world: World, name: str) -> str:
    """Where the work of a clone is still read: on its top layer, or on a shed or kept one."""
    clone = world.record(name)
    layers: tuple[Layer | None, ...] = (clone.shed, *clone.kept)
    tops = [clone.top, *(layer.volume for layer in layers if layer)]
    return next((v for v in tops if world.storage.content(v).get("work") == "of a day"), "")


def check_after(world: World, scenario: Scenario) -> None:
    """Let the next commands come, and look at what they made of it."""
    repair_all(world.fleet)
    assert unsound(world) == []
    assert [name for name in scenario.keeps if not kept_work(world, name)] == []
    second = Process()
    repair_all(world.process(second))
    assert second.changes == []
    world.clock.sleep(60)
    if not scenario.goal(world):
        scenario.act(world.fleet)
        assert scenario.goal(world), "the same command once more does not lead there"
        assert unsound(world) == []


def every_effect() -> list[tuple[str, int]]:
    return [(name, n) for name in SCENARIOS for n in range(1, len(uninterrupted(name).effects) + 1)]


def described(case: object) -> str:
    return str(case).replace(" ", "-")


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_act_that_nobody_kills_leaves_a_sound_fleet(name: str) -> None:
    check_after(run(SCENARIOS[name], Process()), SCENARIOS[name])


def test_every_effect_has_an_act_that_is_killed_right_after_it() -> None:
    seen = {effect for name in SCENARIOS for effect in uninterrupted(name).effects}
    assert set(Effect) - seen == set()


@pytest.mark.parametrize(("name", "number"), every_effect(), ids=described)
def test_killed_after_an_effect_the_next_command_makes_the_fleet_sound(name: str, number: int) -> None:
    process = Process(kill_at_effect=number)
    world = run(SCENARIOS[name], process)
    assert process.is_dead
    check_after(world, SCENARIOS[name])


# One test for all changes of an act: several hundred tests of their own would cost more than what they do.


@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_after_any_change_the_next_command_makes_the_fleet_sound(name: str) -> None:
    for number in range(1, len(uninterrupted(name).changes) + 1):
        process = Process(kill_after=number)
        world = run(SCENARIOS[name], process)
        assert process.is_dead
        check_after(world, SCENARIOS[name])


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_call_that_fails_anywhere_leaves_what_the_next_command_makes_sound(name: str) -> None:
    for number in range(1, len(uninterrupted(name).changes) + 1):
        process = Process(fail_at=number, error=ToolFailed("libvirt failed"))
        check_after(run(SCENARIOS[name], process), SCENARIOS[name])


@pytest.mark.parametrize(
    "name", ["molt", "undo", "delete", "first start", "create", "golden delete", "kept delete", "warm", "warm from now"]
)
def test_a_repair_that_is_killed_itself_is_finished_by_the_one_after_it(name: str) -> None:
    for number in range(1, len(uninterrupted(name).changes) + 1):
        changes = 0
        while True:
            changes += 1
            world = run(SCENARIOS[name], Process(kill_after=number))
            repair = Process(kill_after=changes)
            with contextlib.suppress(Killed):
                repair_all(world.process(repair))
            if not repair.is_dead:
                break
            check_after(world, SCENARIOS[name])
