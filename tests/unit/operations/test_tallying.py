"""Molts are counted where they are done, and nothing fails when they cannot be."""

from __future__ import annotations

from fakes import a_world
from moltfleet.model.requests import MoltRequest
from moltfleet.operations import molt


def test_good_and_failed_molts_are_counted() -> None:
    world = a_world(clones=("crab-1", "crab-2"))
    molt.molt(world.fleet, ["crab-*"], MoltRequest())
    world.hypervisor.behave("crab-2", needs="nothing that a molt brings")
    (_, failed) = molt.molt(world.fleet, ["crab-*"], MoltRequest())
    assert failed.error is not None
    one, two = (world.chronicle.molts()[name] for name in ("crab-1", "crab-2"))
    assert ((one.molts, one.failures), (two.molts, two.failures)) == ((2, 0), (1, 1))
    assert (one.mode, one.last_at[:10]) == ("warm", "2026-11-20")


def test_a_clone_that_somebody_else_works_on_was_not_tried() -> None:
    world = a_world(clones=("crab-1",))
    with world.locks.hold("crab-1", verb="warm"):
        (result,) = molt.molt(world.fleet, ["crab-1"], MoltRequest())
    assert result.error is not None
    assert world.chronicle.molts() == {}


def test_a_tally_that_cannot_be_written_does_not_fail_the_molt() -> None:
    world = a_world(clones=("crab-1",))
    world.chronicle.is_full = True
    (result,) = molt.molt(world.fleet, ["crab-1"], MoltRequest())
    assert result.outcome == "molted"
