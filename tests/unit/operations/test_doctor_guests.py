"""The doctor asks guests: drifted tools, shared identities, and changes nothing there."""

from __future__ import annotations

import pytest

from fakes import World, a_world
from moltfleet.model.doctor import Diagnosis
from moltfleet.model.requests import StopRequest
from moltfleet.operations import doctor, stop, tools
from moltfleet.operations.fleet import Fleet


@pytest.fixture
def world() -> World:
    """Two running clones with this program's tools, and a third that is off."""
    made = a_world(clones=("crab-1", "crab-2", "crab-3"))
    tools.install(made.fleet, ["crab-1", "crab-2"])
    stop.stop(made.fleet, ["crab-3"], StopRequest())
    return made


def ask(fleet: Fleet) -> Diagnosis:
    return doctor.diagnose(fleet, asks_guests=True)


def test_guests_that_are_well_give_no_finding(world: World) -> None:
    assert ask(world.fleet) == Diagnosis(())


def test_nobody_is_asked_unless_told(world: World) -> None:
    world.hypervisor.commands.clear()
    world.guest("crab-1").write("tools", "0.0.9-abc")
    assert doctor.diagnose(world.fleet) == Diagnosis(())
    assert world.hypervisor.commands == []


def test_older_tools_are_told_with_both_versions(world: World) -> None:
    world.guest("crab-1").write("tools", "0.0.9-abc")
    (finding,) = ask(world.fleet).findings
    assert (finding.kind, finding.subject) == ("tools", "crab-1")
    assert finding.fact.startswith("its tools are 0.0.9-abc, and this program's ")
    tools.install(world.fleet, ["crab-1"])
    assert ask(world.fleet).findings == ()


def test_changed_tools_are_told_by_their_files(world: World) -> None:
    world.guest("crab-2").write("tools-changed", "/usr/local/bin/claude")
    (finding,) = ask(world.fleet).findings
    assert finding.fact == "its tools were changed: /usr/local/bin/claude"
    assert finding.fix.startswith("moltfleet tools install crab-2")


def test_a_guest_without_tools_is_how_its_golden_was_built(world: World) -> None:
    world.guest("crab-1").write("tools", "")
    assert ask(world.fleet).findings == ()


@pytest.mark.parametrize("what", ["machine-id", "hostname"])
def test_what_two_guests_share_is_told(world: World, what: str) -> None:
    world.guest("crab-2").write(what, world.guest("crab-1").read(what))
    (finding,) = ask(world.fleet).findings
    assert (finding.kind, finding.subject, finding.fact) == ("duplicate", "crab-1", f"crab-2 has the same {what}")


def test_a_guest_that_does_not_answer_is_noted_and_keeps_nobody_waiting(world: World) -> None:
    world.hypervisor.behave("crab-1", hangs=True)
    world.guest("crab-2").write("tools", "0.0.9-abc")
    before = world.clock.monotonic()
    diagnosis = ask(world.fleet)
    assert [finding.subject for finding in diagnosis.findings] == ["crab-2"]
    assert len(diagnosis.notes) == 1
    assert world.clock.monotonic() - before <= 2 * world.config.policy.guest_seconds


def test_a_guest_that_does_not_know_our_key_is_not_told_it(world: World) -> None:
    world.hypervisor.behave("crab-1", refuses_key=True)
    diagnosis = ask(world.fleet)
    assert diagnosis.notes == ("'crab-1' does not accept the fleet key",)
    assert world.hypervisor.behaviour("crab-1").refuses_key


def test_what_a_command_works_on_is_not_asked(world: World) -> None:
    world.guest("crab-1").write("tools", "0.0.9-abc")
    world.locks.hold_by_other("crab-1")
    assert ask(world.fleet) == Diagnosis(())
