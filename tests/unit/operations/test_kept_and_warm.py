"""Kept layers: gone back to and deleted; clean points made warm, anew or of the present state."""

from __future__ import annotations

import pytest

from fakes import World
from fakes.soundness import unsound
from moltfleet.model.errors import ExitCode, NotFound
from moltfleet.model.requests import MoltRequest, StopRequest
from moltfleet.operations import kept, molt, stop, undo, warm


def keep(world: World, label: str, work: str) -> None:
    world.guest("crab-1").write("work", work)
    molt.molt(world.fleet, ["crab-1"], MoltRequest(keep=label))


def test_a_kept_layer_is_gone_back_to_and_the_present_one_is_shed(clone: World) -> None:
    keep(clone, "monday", "of monday")
    clone.guest("crab-1").write("work", "of tuesday")
    assert kept.restore(clone.fleet, "crab-1", "monday").outcome == "restored"
    assert clone.guest("crab-1").read("work") == "of monday"
    assert clone.record("crab-1").kept == ()
    undo.undo(clone.fleet, "crab-1")
    assert clone.guest("crab-1").read("work") == "of tuesday"
    assert unsound(clone) == []


def test_other_kept_layers_stay(clone: World) -> None:
    keep(clone, "monday", "of monday")
    keep(clone, "tuesday", "of tuesday")
    kept.restore(clone.fleet, "crab-1", "monday")
    (layer,) = clone.record("crab-1").kept
    assert (layer.label, clone.storage.content(layer.volume)["work"]) == ("tuesday", "of tuesday")


def test_a_label_that_is_not_there_is_said_with_those_that_are(clone: World) -> None:
    keep(clone, "monday", "x")
    result = kept.restore(clone.fleet, "crab-1", "friday")
    assert isinstance(result.error, NotFound) and result.error.hint == "There are: monday."
    with pytest.raises(NotFound):
        kept.delete(clone.fleet, "crab-1", "friday")


def test_a_vanished_kept_layer_leaves_the_clone_at_work(clone: World) -> None:
    keep(clone, "monday", "x")
    del clone.storage.disks[clone.record("crab-1").kept[0].volume]
    result = kept.restore(clone.fleet, "crab-1", "monday")
    assert result.error and result.error.exit_code is ExitCode.WRONG_STATE
    assert clone.hypervisor.get("crab-1").is_active


def test_kept_layers_are_listed_with_their_size_until_they_are_deleted(clone: World) -> None:
    keep(clone, "monday", "x")
    (view,) = kept.list_kept(clone.fleet, [])
    assert (view.clone, view.label, view.allocation.bytes > 0) == ("crab-1", "monday", True)
    kept.delete(clone.fleet, "crab-1", "monday")
    assert kept.list_kept(clone.fleet, []) == ()
    assert unsound(clone) == []


def test_a_cold_clone_is_made_warm_on_its_clean_disk_and_its_work_can_be_undone_to(world: World) -> None:
    world.add_clone("crab-1", warm=False)
    world.guest("crab-1").write("work", "mine")
    (result,) = warm.warm(world.fleet, [], from_now=False)
    assert (result.outcome, result.error) == ("warmed", None)
    (molted,) = molt.molt(world.fleet, ["crab-1"], MoltRequest(keep="now"))
    assert molted.mode == "warm" and world.guest("crab-1").read("work") == ""


def test_a_warm_clone_stays_as_it_is(clone: World) -> None:
    before = clone.record("crab-1")
    (result,) = warm.warm(clone.fleet, ["crab-1"], from_now=False)
    assert (result.outcome, clone.record("crab-1")) == ("unchanged", before)


def test_warming_again_and_again_does_not_grow_the_chain(world: World) -> None:
    world.add_clone("crab-1", warm=False)
    depths = []
    for kernel in ("6.2", "6.3", "6.4"):
        world.hypervisor.kernel = kernel
        warm.warm(world.fleet, ["crab-1"], from_now=False)
        clean = world.record("crab-1").clean
        depths.append(len(clean.stamps) if clean else 0)
    assert depths == [2, 2, 2]


def test_the_work_of_a_clone_survives_a_warming_that_fails_at_the_end(world: World) -> None:
    world.add_clone("crab-1", warm=False)
    world.guest("crab-1").write("work", "mine")
    world.hypervisor.behave("crab-1", forgets_nonce=True)
    (result,) = warm.warm(world.fleet, ["crab-1"], from_now=False)
    assert result.outcome == "cooled"
    undo.undo(world.fleet, "crab-1")
    assert world.guest("crab-1").read("work") == "mine"


def test_the_present_state_becomes_the_clean_point(clone: World) -> None:
    clone.guest("crab-1").write("tool", "installed")
    (result,) = warm.warm(clone.fleet, ["crab-1"], from_now=True)
    assert result.outcome == "warmed"
    clone.guest("crab-1").write("dirt", "yes")
    molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    assert (clone.guest("crab-1").read("tool"), clone.guest("crab-1").read("dirt")) == ("installed", "")
    assert unsound(clone) == []


def test_only_a_running_clone_has_a_present_state(clone: World) -> None:
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    (result,) = warm.warm(clone.fleet, ["crab-1"], from_now=True)
    assert result.error and result.error.hint == "Start it: moltfleet start crab-1"
