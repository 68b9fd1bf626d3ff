"""Keys that are let into running clones, by the guest agent or over SSH, and again after each molt, unless once."""

from __future__ import annotations

import pytest

from fakes import World, failed
from moltfleet.model.errors import Busy, ExitCode, GuestFailed, NotFound, WrongState
from moltfleet.model.publickeys import fingerprint
from moltfleet.model.requests import MoltRequest, StopRequest
from moltfleet.operations import molt, stop, warm
from moltfleet.operations.authorise import ADD_KEYS, authorise, kept_by_clones, running_clones, stop_keeping

KEYS = ("ssh-ed25519 AAAAann1 ann", "ssh-ed25519 AAAAbob1 bob")


def let_in(world: World, name: str) -> list[str]:
    return [key for key in world.guest(name).read("authorized").splitlines() if key in KEYS]


def test_keys_are_added_by_the_agent_to_the_named_clones(clone: World) -> None:
    clone.add_clone("crab-2")
    clone.add_clone("shrimp-1")
    results = authorise(clone.fleet, ["crab-*"], KEYS, keeps=True)
    assert [(one.clone, one.outcome, one.detail) for one in results] == [
        ("crab-1", "authorised", "2 keys by its guest agent"),
        ("crab-2", "authorised", "2 keys by its guest agent"),
    ]
    assert let_in(clone, "crab-1") == let_in(clone, "crab-2") == list(KEYS)
    assert let_in(clone, "shrimp-1") == []
    assert clone.guest("crab-1").read("authorized").splitlines()[0].startswith("ssh-ed25519 AAAAfleet")


def test_without_an_agent_they_are_added_over_ssh(clone: World) -> None:
    clone.hypervisor.behave("crab-1", has_agent=False)
    (result,) = authorise(clone.fleet, ["crab-1"], KEYS[:1], keeps=False)
    assert (result.outcome, result.detail) == ("authorised", "1 key over SSH, until its next molt")
    assert clone.hypervisor.commands[-1] == ("crab-1", ADD_KEYS)


def test_a_guest_that_cannot_store_it_is_said(clone: World) -> None:
    clone.hypervisor.behave("crab-1", has_agent=False, answers={ADD_KEYS: failed("No space\x1b[2J left")})
    (result,) = authorise(clone.fleet, ["crab-1"], KEYS, keeps=True)
    assert isinstance(result.error, GuestFailed)
    assert result.error.details == "No space?[2J left"


def test_one_that_is_off_does_not_keep_the_others(clone: World) -> None:
    clone.add_clone("crab-2")
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    results = authorise(clone.fleet, ["crab-1", "crab-2"], KEYS, keeps=True)
    assert [result.outcome for result in results] == ["failed", "authorised"]
    assert results[0].error and results[0].error.exit_code is ExitCode.WRONG_STATE
    assert running_clones(clone.fleet) == ("crab-2",)


def test_a_clone_that_is_being_molted_is_busy(clone: World) -> None:
    clone.locks.hold_by_other("crab-1")
    (result,) = authorise(clone.fleet, ["crab-1"], KEYS, keeps=True)
    assert isinstance(result.error, Busy)
    assert let_in(clone, "crab-1") == []


@pytest.mark.parametrize("has_agent", [True, False])
def test_a_clone_lets_them_in_again_after_each_molt(clone: World, has_agent: bool) -> None:
    authorise(clone.fleet, ["crab-1"], KEYS, keeps=True)
    clone.hypervisor.behave("crab-1", has_agent=has_agent)
    for cold in (False, True):
        (result,) = molt.molt(clone.fleet, ["crab-1"], MoltRequest(cold=cold))
        assert (result.outcome, result.logins) == ("molted", None)
        if has_agent:
            assert let_in(clone, "crab-1") == list(KEYS)
        else:
            assert ("crab-1", ADD_KEYS) in clone.hypervisor.commands
    assert warm.warm(clone.fleet, ["crab-1"], from_now=True)[0].error is None


def test_once_is_until_the_next_molt(clone: World) -> None:
    authorise(clone.fleet, ["crab-1"], KEYS, keeps=False)
    assert clone.record("crab-1").keys == ()
    molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    assert let_in(clone, "crab-1") == []


def test_what_is_no_longer_kept_is_gone_after_the_next_molt(clone: World) -> None:
    authorise(clone.fleet, ["crab-1"], KEYS, keeps=True)
    prints = [fingerprint(KEYS[0])]
    assert [(name, key.fingerprint) for name, key in kept_by_clones(clone.fleet, prints)] == [("crab-1", *prints)]
    stop_keeping(clone.fleet, prints)
    molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    assert let_in(clone, "crab-1") == [KEYS[1]]
    # One that is busy goes on, which is told.
    clone.locks.hold_by_other("crab-1")
    stop_keeping(clone.fleet, [fingerprint(KEYS[1])])
    assert clone.record("crab-1").keys == (KEYS[1],)
    assert "goes on to keep it" in str(clone.progress.texts("warn"))


def test_a_record_has_room_for_some_and_not_for_all(clone: World) -> None:
    many = [f"ssh-rsa AAAA{number:0>700} {number}" for number in range(6)]
    (result,) = authorise(clone.fleet, ["crab-1"], many, keeps=True)
    assert isinstance(result.error, WrongState)
    assert clone.record("crab-1").keys == ()
    assert authorise(clone.fleet, ["crab-1"], many, keeps=False)[0].outcome == "authorised"


def test_later_clones_get_what_is_remembered(clone: World) -> None:
    clone.keys.remember(KEYS)
    clone.add_clone("crab-2")
    assert let_in(clone, "crab-2") == list(KEYS)


def test_nobodys_name_is_not_found(clone: World) -> None:
    with pytest.raises(NotFound):
        authorise(clone.fleet, ["crab-9"], KEYS, keeps=True)
