"""Keys that are let into running clones: by the guest agent, over SSH where there is none, until the next molt."""

from __future__ import annotations

import pytest

from fakes import World, failed
from moltfleet.model.errors import Busy, ExitCode, GuestFailed, NotFound
from moltfleet.model.requests import MoltRequest, StopRequest
from moltfleet.operations import molt, stop
from moltfleet.operations.authorise import ADD_KEYS, authorise, running_clones

KEYS = ("ssh-ed25519 AAAAann1 ann", "ssh-ed25519 AAAAbob1 bob")


def let_in(world: World, name: str) -> list[str]:
    return [key for key in world.guest(name).read("authorized").splitlines() if key in KEYS]


def test_keys_are_added_by_the_agent_to_the_named_clones(clone: World) -> None:
    clone.add_clone("crab-2")
    clone.add_clone("shrimp-1")
    results = authorise(clone.fleet, ["crab-*"], KEYS)
    assert [(one.clone, one.outcome, one.detail) for one in results] == [
        ("crab-1", "authorised", "2 keys by its guest agent, until its next molt"),
        ("crab-2", "authorised", "2 keys by its guest agent, until its next molt"),
    ]
    assert let_in(clone, "crab-1") == let_in(clone, "crab-2") == list(KEYS)
    assert let_in(clone, "shrimp-1") == []
    assert clone.guest("crab-1").read("authorized").splitlines()[0].startswith("ssh-ed25519 AAAAfleet")


def test_without_an_agent_they_are_added_over_ssh(clone: World) -> None:
    clone.hypervisor.behave("crab-1", has_agent=False)
    (result,) = authorise(clone.fleet, ["crab-1"], KEYS[:1])
    assert (result.outcome, result.detail) == ("authorised", "1 key over SSH, until its next molt")
    assert clone.hypervisor.commands[-1] == ("crab-1", ADD_KEYS)


def test_a_guest_that_cannot_store_it_is_said(clone: World) -> None:
    clone.hypervisor.behave("crab-1", has_agent=False, answers={ADD_KEYS: failed("No space\x1b[2J left")})
    (result,) = authorise(clone.fleet, ["crab-1"], KEYS)
    assert isinstance(result.error, GuestFailed)
    assert result.error.details == "No space?[2J left"


def test_one_that_is_off_does_not_keep_the_others(clone: World) -> None:
    clone.add_clone("crab-2")
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    results = authorise(clone.fleet, ["crab-1", "crab-2"], KEYS)
    assert [result.outcome for result in results] == ["failed", "authorised"]
    assert results[0].error and results[0].error.exit_code is ExitCode.WRONG_STATE
    assert running_clones(clone.fleet) == ("crab-2",)


def test_a_clone_that_is_being_molted_is_busy(clone: World) -> None:
    clone.locks.hold_by_other("crab-1")
    (result,) = authorise(clone.fleet, ["crab-1"], KEYS)
    assert isinstance(result.error, Busy)
    assert let_in(clone, "crab-1") == []


def test_a_molt_takes_them_away_again(clone: World) -> None:
    authorise(clone.fleet, ["crab-1"], KEYS)
    molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    assert let_in(clone, "crab-1") == []


def test_later_clones_get_what_is_remembered(clone: World) -> None:
    clone.keys.remember(KEYS)
    clone.add_clone("crab-2")
    assert let_in(clone, "crab-2") == list(KEYS)


def test_nobodys_name_is_not_found(clone: World) -> None:
    with pytest.raises(NotFound):
        authorise(clone.fleet, ["crab-9"], KEYS)
