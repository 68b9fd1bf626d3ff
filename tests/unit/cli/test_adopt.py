"""`moltfleet adopt`: it only tells until it is told to, asks first, and its exit code says what is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fakes import World, a_world
from fakes.takeover import CLONE, GOLDEN, FakeTakeover, scripts_were_here
from moltfleet.cli import wiring_adopt
from moltfleet.model.domain import DomainState

Do = Callable[..., Any]
UNSEALED = "it was never sealed: clones of it share its machine-id, and whatever logins it holds"


@pytest.fixture
def world() -> World:
    made = a_world(golden=None)
    scripts_were_here(made, CLONE)
    return made


@pytest.fixture
def takeover(world: World, monkeypatch: pytest.MonkeyPatch) -> FakeTakeover:
    made = FakeTakeover(world.hypervisor)
    monkeypatch.setattr(wiring_adopt, "build_takeover", lambda config: made)
    return made


@pytest.fixture
def adopt(run: Do, world: World, takeover: FakeTakeover) -> Do:
    return lambda *words, **options: run("adopt", *words, build_fleet=lambda *_: world.fleet, **options)


def adopted(world: World) -> list[str]:
    return [name for name in (GOLDEN, CLONE) if world.hypervisor.get(name).record is not None]


def test_alone_it_shows_what_could_be_done_and_changes_nothing(adopt: Do, world: World) -> None:
    outcome = adopt()
    assert (outcome.exit_code, adopted(world)) == (0, [])
    assert outcome.stdout == (
        "DOMAIN                                           KIND    GOLDEN            VOLUME"
        "                                                 OUTCOME\n"
        f"{GOLDEN}                                 golden  {GOLDEN}  {GOLDEN}.qcow2"
        "                                 adoptable\n"
        f"{CLONE}  clone   {GOLDEN}  {CLONE}.qcow2  adoptable\n"
        f"note: {GOLDEN}: {UNSEALED}\n"
        f"note: {CLONE}: it gets a channel for the guest agent, which its first start needs\n"
        f"note: {CLONE}: its host keys are learnt from its guest agent at its first start\n"
    )


def test_it_does_it_when_told_and_goes_back_when_told(adopt: Do, world: World) -> None:
    outcome = adopt("--apply", "--yes", "--json")
    document = json.loads(outcome.stdout)
    assert (outcome.exit_code, document["schema"], document["applied"]) == (0, "moltfleet.adopt/1", True)
    assert [(one["name"], one["outcome"]) for one in document["results"]] == [(GOLDEN, "adopted"), (CLONE, "adopted")]
    assert adopted(world) == [GOLDEN, CLONE]
    assert adopt("--undo").exit_code == 0
    assert adopted(world) == [GOLDEN, CLONE]
    outcome = adopt("--undo", "--apply", "--yes", "--json")
    assert [one["outcome"] for one in json.loads(outcome.stdout)["results"]] == ["returned", "returned"]
    assert adopted(world) == []


def test_without_a_terminal_it_needs_a_yes(adopt: Do, world: World) -> None:
    outcome = adopt("--apply")
    assert (outcome.exit_code, adopted(world)) == (2, [])
    assert "Nothing was changed: there is no terminal to confirm on" in outcome.stderr


@pytest.mark.parametrize("words", [("--yes",), ("--apply", "--yes", "--dry-run")])
def test_a_yes_alone_and_a_dry_run_do_nothing(adopt: Do, world: World, words: tuple[str, ...]) -> None:
    assert adopt(*words).exit_code == 0
    assert adopted(world) == []


def test_on_a_terminal_a_no_is_a_no(adopt: Do, world: World) -> None:
    assert adopt("--apply", interactive=True, input="n\n").exit_code != 0
    assert adopted(world) == []


def test_what_cannot_be_adopted_is_told_with_its_way_out(adopt: Do, world: World, takeover: FakeTakeover) -> None:
    takeover.changes = {CLONE: {"state": DomainState.RUNNING}}
    outcome = adopt("--apply", "--yes")
    assert (outcome.exit_code, adopted(world)) == (1, [GOLDEN])
    assert outcome.stderr == (
        "Looking at domains and their disks …\n"
        f"Error: Domain '{CLONE}' is running\nHint: Shut it down: virsh shutdown {CLONE}. Nothing is adopted alive.\n"
    )


def test_commands_for_people_stand_below_in_their_order_and_once(
    adopt: Do, world: World, takeover: FakeTakeover
) -> None:
    world.hypervisor.machines[GOLDEN].disk = "/images/a b.qcow2"
    outcome = adopt()
    assert outcome.exit_code == 4
    assert outcome.stdout.endswith(
        "To be run by you, in this order, before another try:\n  sudo ln '/images/a b.qcow2' '/pool/a b.qcow2'\n"
    )


def test_nothing_to_adopt_is_no_error(run: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_world()
    monkeypatch.setattr(wiring_adopt, "build_takeover", lambda config: FakeTakeover(world.hypervisor))
    outcome = run("adopt", build_fleet=lambda *_: world.fleet)
    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert outcome.stderr.endswith("There is nothing here that could be adopted; name a golden VM.\n")


def test_an_unknown_name_is_not_found(adopt: Do) -> None:
    assert adopt("nope").exit_code == 3
    assert adopt("nope", "--undo").exit_code == 3
