"""Metrics of a fleet: gathered from a survey, the host and the past, without a change anywhere."""

from __future__ import annotations

from fakes import World, a_world
from moltfleet.model.metrics import Family
from moltfleet.model.nightly import Night, Outcome, Scope
from moltfleet.model.requests import MoltRequest
from moltfleet.model.survey import Ask
from moltfleet.operations import molt
from moltfleet.operations.metrics import gather, without_fleet
from moltfleet.operations.nights import LOCK, last_night

NIGHT = Night("2026-11-20T03:30:00Z", "2026-11-20T07:30:00Z", Scope.LEAKING, "0.1.0")


def numbers(found: tuple[Family, ...]) -> dict[str, float]:
    """Samples by name and labels."""
    return {" ".join((f.name.removeprefix("moltfleet_"), *p.labels)): p.value for f in found for p in f.points}


def gathered(world: World) -> dict[str, float]:
    return numbers(gather(world.fleet, lambda: None, ask=Ask.NONE))


def test_what_happened_to_clones_and_what_they_were_promised_is_told() -> None:
    world = a_world(clones=("crab-1", "crab-2"))
    molt.molt(world.fleet, ["crab-1"], MoltRequest())
    found = gathered(world)
    assert (found["clone_molts_total crab-1"], found["clone_molts_total crab-2"]) == (1, 0)
    assert found["clone_info crab-1 base 1"] == 1
    assert found["host_committed_bytes"] == found["clone_promised_bytes crab-1"] + found["clone_promised_bytes crab-2"]
    assert found["host_memory_bytes"] == 64 * 2**30
    assert "host_earlyoom_kills_recent" not in found


def test_a_clone_that_should_run_and_does_not_is_down() -> None:
    world = a_world(clones=("crab-1",))
    world.hypervisor.destroy("crab-1")
    found = gathered(world)
    assert (found["clone_verdict crab-1 down"], found["clone_running crab-1"], found["clones down"]) == (1, 0, 1)


def test_gathering_changes_nothing() -> None:
    world = a_world(clones=("crab-1",))
    before = (world.record("crab-1"), dict(world.samples.kept), world.nights.writes)
    gathered(world)
    assert (world.record("crab-1"), dict(world.samples.kept), world.nights.writes) == before


def test_a_night_that_nobody_works_on_any_more_was_interrupted() -> None:
    world = a_world()
    assert last_night(world.fleet) is None
    world.nights.write(NIGHT)
    with world.locks.hold(LOCK, verb="nightly"):
        assert gathered(world)["night_last_outcome running"] == 1
    found = numbers(without_fleet(world.fleet))
    assert (found["up"], found["night_last_outcome interrupted"]) == (0, 1)
    night = last_night(world.fleet)
    assert night is not None
    assert night.outcome is Outcome.INTERRUPTED
