"""`molt --to`: another generation below, the same identity above, and a way back until the next molt."""

from __future__ import annotations

import pytest

from fakes import Killed, Process, World
from fakes.soundness import repair_all, unsound
from moltfleet.model.domain import DomainState
from moltfleet.model.errors import NoSpace, NotFound, WrongState
from moltfleet.model.records import Phase, Verb
from moltfleet.model.requests import NEWEST, BuildRequest, MoltRequest, StartRequest, StopRequest, UpdateRequest
from moltfleet.model.results import MoltResult
from moltfleet.operations import (
    delete,
    golden_build,
    golden_prune,
    golden_update,
    kept,
    listing,
    molt,
    start,
    stop,
    undo,
    warm,
)


@pytest.fixture
def two(world: World) -> World:
    """Golden "two" with generations 1 (jq 1.6, and warm crab-1 with work on it) and 2 (jq 1.7)."""
    golden_build.build(world.fleet, BuildRequest("two", "debian-12", profile="minimal"))
    world.add_clone("crab-1", golden="two")
    world.guest("crab-1").write("work", "of a day")
    world.hypervisor.behave("two.build", newer="1.7")
    golden_update.update(world.fleet, UpdateRequest("two"))
    return world


def molt_to(world: World, to: int | None = NEWEST, **options: object) -> MoltResult:
    (result,) = molt.molt(world.fleet, ["crab-1"], MoltRequest(to=to, **options))  # type: ignore[arg-type]
    return result


def in_guest(world: World, key: str) -> str:
    return world.guest("crab-1").read(key)


def test_a_moved_clone_runs_on_the_newest_generation_without_its_old_work(two: World) -> None:
    result = molt_to(two)
    assert (result.outcome, result.mode, result.reason) == ("molted", "cold", "moved from g1 to g2 of two")
    assert (in_guest(two, "jq"), in_guest(two, "work")) == ("1.7", "")
    assert two.hypervisor.machines["crab-1"].running.chain[-1] == two.storage.path_of("two.g2.qcow2")  # type: ignore[union-attr]
    assert unsound(two) == []


def test_a_moved_clone_keeps_its_identity(two: World) -> None:
    before, spec = two.record("crab-1"), two.hypervisor.machines["crab-1"].spec
    who = {key: in_guest(two, key) for key in ("host-key", "hostname", "instance-id", "authorized")}
    molt_to(two)
    after = two.record("crab-1")
    assert two.hypervisor.machines["crab-1"].spec is spec
    assert (after.attachment, after.host_keys, after.seed) == (before.attachment, before.host_keys, before.seed)
    assert (after.instance_id, after.created_at, after.golden) == (before.instance_id, before.created_at, "two")
    assert {key: in_guest(two, key) for key in who} == who


def test_a_moved_clone_has_a_warm_clean_point_there_and_is_behind_no_more(two: World) -> None:
    molt_to(two)
    (view,) = listing.list_clones(two.fleet)
    assert (view.generation, view.latest_generation, view.warm, view.health) == (2, 2, "warm", "ok")
    two.guest("crab-1").write("work", "of another day")
    assert molt_to(two, None).mode == "warm"
    assert (in_guest(two, "work"), in_guest(two, "jq")) == ("", "1.7")


def test_a_cold_clone_stays_a_cold_one(two: World) -> None:
    two.add_clone("crab-2", golden="base", warm=False)
    golden_build.build(two.fleet, BuildRequest("base", "debian-12", profile="minimal"))
    (result,) = molt.molt(two.fleet, ["crab-2"], MoltRequest(to=NEWEST))
    assert result.outcome == "molted"
    clean = two.record("crab-2").clean
    assert clean is not None and clean.ram is None


def test_undo_brings_the_old_disk_back_and_the_next_molt_is_of_the_new_generation(two: World) -> None:
    molt_to(two)
    assert undo.undo(two.fleet, "crab-1").outcome == "undone"
    assert (in_guest(two, "work"), in_guest(two, "jq")) == ("of a day", "")
    assert unsound(two) == []
    undo.undo(two.fleet, "crab-1")
    assert in_guest(two, "jq") == "1.7"
    undo.undo(two.fleet, "crab-1")
    assert molt_to(two, None).mode == "warm"
    assert (in_guest(two, "work"), in_guest(two, "jq")) == ("", "1.7")


def test_what_was_kept_of_an_older_generation_is_gone_back_to(two: World) -> None:
    molt_to(two, keep="old")
    assert two.record("crab-1").shed is None
    molt_to(two, None)
    assert kept.restore(two.fleet, "crab-1", "old").outcome == "restored"
    assert in_guest(two, "work") == "of a day"
    assert unsound(two) == []


def test_old_layers_go_with_what_still_stands_on_them(two: World) -> None:
    old = two.record("crab-1")
    assert old.clean is not None
    molt_to(two)
    (ram,) = (name for name in two.storage.names() if name.startswith("crab-1") and name.endswith(".ram"))
    clean = two.record("crab-1").clean
    assert clean is not None and clean.ram == ram
    assert old.clean.volume in two.storage.names()
    molt_to(two, None)
    assert not {old.top, old.clean.volume} & two.storage.names()
    assert two.record("crab-1").trash == ()


def test_a_generation_stays_as_long_as_a_shed_layer_stands_on_it(two: World) -> None:
    molt_to(two)
    assert golden_prune.prune(two.fleet, ("two",)) == ()
    molt_to(two, None)
    assert [spare.number for spare in golden_prune.prune(two.fleet, ("two",))] == [1]


def test_a_clone_can_be_moved_back_to_an_older_generation(two: World) -> None:
    molt_to(two)
    result = molt_to(two, 1)
    assert result.reason == "moved from g2 to g1 of two"
    assert (in_guest(two, "jq"), two.record("crab-1").generation) == ("", 1)
    assert unsound(two) == []


def test_one_that_is_there_already_just_molts(two: World) -> None:
    molt_to(two)
    two.guest("crab-1").write("work", "of another day")
    result = molt_to(two)
    assert (result.mode, result.reason, in_guest(two, "work")) == ("warm", "", "")


def test_a_full_clone_moves_onto_a_copy_of_its_own(two: World) -> None:
    two.add_clone("crab-2", golden="two", linked=False)
    golden_update.update(two.fleet, UpdateRequest("two"))
    molt.molt(two.fleet, ["crab-2"], MoltRequest(to=1))
    (result,) = molt.molt(two.fleet, ["crab-2"], MoltRequest(to=NEWEST))
    assert result.outcome == "molted"
    clean = two.record("crab-2").clean
    assert clean is not None
    assert two.storage.disks[clean.volume].backing is None
    assert unsound(two) == []


def test_the_new_disk_is_as_large_as_the_old_one(two: World) -> None:
    before = two.storage.get(two.record("crab-1").top).capacity
    molt_to(two)
    assert two.storage.get(two.record("crab-1").top).capacity == before


def test_a_stopped_clone_runs_after_its_move(two: World) -> None:
    stop.stop(two.fleet, ["crab-1"], StopRequest())
    assert molt_to(two).outcome == "molted"
    assert in_guest(two, "jq") == "1.7"


def test_a_generation_that_does_not_boot_leaves_the_clone_on_the_one_that_it_had(two: World) -> None:
    before = two.record("crab-1")
    two.hypervisor.behave("crab-1", needs="work")
    result = molt_to(two)
    assert (result.outcome, result.mode) == ("failed", "cold")
    after = two.record("crab-1")
    assert (after.generation, after.top, after.clean, after.shed) == (1, before.top, before.clean, None)
    assert two.hypervisor.get("crab-1").state is DomainState.SHUT_OFF
    assert any("left off, on the layer that it had" in text for text in two.progress.texts("warn"))
    assert unsound(two) == []
    start.start(two.fleet, ["crab-1"])
    assert in_guest(two, "work") == "of a day"


def test_cloud_init_that_fails_there_takes_the_move_back(two: World) -> None:
    two.hypervisor.behave("crab-1", cloud_init="error")
    assert "no such package" in molt_to(two).reason
    assert two.record("crab-1").generation == 1


def test_a_full_pool_takes_the_move_back_while_the_clone_runs_on(two: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise NoSpace("Pool is full")

    monkeypatch.setattr(two.storage, "create_overlay", full)
    result = molt_to(two)
    monkeypatch.undo()
    assert isinstance(result.error, NoSpace)
    assert in_guest(two, "work") == "of a day"
    assert unsound(two) == []


@pytest.mark.parametrize(("to", "hint"), [(7, "g1, g2"), (3, "g1, g2")])
def test_a_generation_that_is_not_there_is_named_with_those_that_are(two: World, to: int, hint: str) -> None:
    result = molt_to(two, to)
    assert isinstance(result.error, NotFound)
    assert result.error.brief == f"No generation of golden 'two' is named 'g{to}'"
    assert result.error.hint == f"There are: {hint}."
    assert in_guest(two, "work") == "of a day"


def test_a_clone_without_a_clean_point_is_not_moved(two: World) -> None:
    two.add_clone("crab-2", golden="two", start=False)
    golden_update.update(two.fleet, UpdateRequest("two"))
    (result,) = molt.molt(two.fleet, ["crab-2"], MoltRequest(to=1))
    assert isinstance(result.error, WrongState)


def test_a_clone_without_a_seed_is_not_moved(two: World) -> None:
    two.storage.delete("crab-1.seed.iso", owner="crab-1")
    result = molt_to(two)
    assert isinstance(result.error, WrongState)
    assert result.error.hint == "Make a new one: moltfleet create two"
    assert in_guest(two, "work") == "of a day"


def killed_when(world: World, effect_number: int) -> None:
    from fakes import effects_told_to

    process = Process(kill_at_effect=effect_number)
    with effects_told_to(process), pytest.raises(Killed):
        molt.molt(world.process(process), ["crab-1"], MoltRequest(to=NEWEST))


def test_undo_of_an_unfinished_move_starts_the_clone_where_it_was(two: World) -> None:
    killed_when(two, 6)
    pending = two.record("crab-1").pending
    assert pending is not None and pending.verb is Verb.MOVE
    assert undo.undo(two.fleet, "crab-1").outcome == "undone"
    assert in_guest(two, "work") == "of a day"
    assert two.record("crab-1").generation == 1


def test_work_done_behind_an_unfinished_move_is_kept(two: World) -> None:
    killed_when(two, 6)
    two.clock.sleep(120)
    two.guest("crab-1").write("work", "of a night")
    repair_all(two.fleet)
    (layer,) = two.record("crab-1").kept
    assert layer.label is not None and layer.label.startswith("interrupted-")
    assert kept.restore(two.fleet, "crab-1", layer.label).outcome == "restored"
    assert in_guest(two, "work") == "of a night"
    assert unsound(two) == []


def test_a_move_that_was_cut_off_before_its_clean_point_is_finished_by_a_start(two: World) -> None:
    killed_when(two, 7)
    clone = two.record("crab-1")
    assert (clone.phase, clone.generation, clone.clean) == (Phase.DEFINED, 2, None)
    refused = undo.undo(two.fleet, "crab-1")
    assert isinstance(refused.error, WrongState)
    assert refused.error.hint == "Finish its move first: moltfleet start crab-1"
    start.start(two.fleet, ["crab-1"], StartRequest())
    clone = two.record("crab-1")
    assert clone.phase is Phase.READY and clone.clean is not None and clone.shed is not None
    assert undo.undo(two.fleet, "crab-1").outcome == "undone"
    assert in_guest(two, "work") == "of a day"


@pytest.mark.parametrize("to", [None, NEWEST, 2])
def test_a_move_that_was_cut_off_before_its_clean_point_is_finished_by_a_molt(two: World, to: int | None) -> None:
    killed_when(two, 7)
    result = molt_to(two, to)
    assert (result.outcome, result.reason) == ("molted", "its move to g2 is finished")
    clone = two.record("crab-1")
    assert clone.phase is Phase.READY and clone.clean is not None and clone.shed is not None
    assert unsound(two) == []


def test_a_move_that_was_cut_off_before_its_clean_point_can_be_moved_back(two: World) -> None:
    killed_when(two, 7)
    assert molt_to(two, 1).reason == "moved from g2 to g1 of two"
    assert in_guest(two, "jq") == ""


def test_a_moved_clone_is_deleted_with_every_layer_and_no_generation(two: World) -> None:
    molt_to(two)
    undo.undo(two.fleet, "crab-1")
    delete.delete(two.fleet, ["crab-1"])
    assert not [name for name in two.storage.names() if name.startswith("crab-1")]
    assert {"two.g1.qcow2", "two.g2.qcow2"} <= two.storage.names()


def test_the_clean_point_of_now_of_an_undone_move_stands_on_the_old_generation_alone(two: World) -> None:
    molt_to(two)
    undo.undo(two.fleet, "crab-1")
    warm.warm(two.fleet, ["crab-1"], from_now=True)
    clean = two.record("crab-1").clean
    assert clean is not None
    assert "two.g1.qcow2" not in {stamp.volume for stamp in clean.stamps}
    two.guest("crab-1").write("work", "of another day")
    assert molt_to(two, None).outcome == "molted"
    assert in_guest(two, "work") == "of a day"
    assert unsound(two) == []


def test_a_dry_run_tells_the_way(two: World) -> None:
    top = two.record("crab-1").top
    (line,) = molt.plan_molt(two.fleet, ["crab-1"], MoltRequest(to=NEWEST, keep="old"))
    assert line == (
        f"crab-1: would be moved from g1 to g2 of two, and boot there with its identity; {top} would be kept"
    )
    (line,) = molt.plan_molt(two.fleet, ["crab-1"], MoltRequest(to=1))
    assert line.startswith("crab-1: warm molt to its clean point")
