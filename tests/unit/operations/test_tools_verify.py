"""Proofs of the guest tools: everything is tried, each failure is a row, and nothing stays behind."""

from __future__ import annotations

import json

import pytest

from fakes import World, failed, ok
from fakes.guesttools import LEAK, TRIALS
from moltfleet.model.domain import CommandResult
from moltfleet.model.errors import Busy, DeadlinePassed, ExitCode, GuestFailed, WrongState
from moltfleet.model.guesttools import ProofResult, Unproven
from moltfleet.operations import tools, tools_verify

ROWS = ["installed", "watchdog", "limit", "agents", "forecast", "leak", "sshd"]


@pytest.fixture
def furnished(clone: World) -> World:
    """A host with one clone that has the tools."""
    tools.install(clone.fleet, ["crab-1"])
    return clone


def verify(world: World) -> ProofResult:
    (result,) = tools_verify.verify(world.fleet, ["crab-1"])
    return result


def rows(result: ProofResult) -> dict[str, bool]:
    return {proof.name: proof.passed for proof in result.proofs}


def commands(world: World, text: str) -> list[str]:
    return [command for _, command in world.hypervisor.commands if text in command]


def says(passed: object, happened: str = "that") -> CommandResult:
    return ok(json.dumps({"passed": passed, "tried": "this", "happened": happened}))


def test_everything_is_tried_and_passes(furnished: World) -> None:
    result = verify(furnished)
    assert list(rows(result).items()) == [(name, True) for name in ROWS]
    assert result.error is None
    assert {(proof.tried, proof.happened) for proof in result.proofs[1:5]} == {("this", "that")}


def test_logins_are_made_anew_while_it_leaks(furnished: World) -> None:
    before = len(furnished.guests.sessions)
    result = verify(furnished)
    # One for everything else, and one for each look.
    assert len(furnished.guests.sessions) - before == 3
    assert result.proofs[-1].happened.startswith("2 login(s), the slowest took ")


def test_what_was_brought_is_taken_away_again(furnished: World) -> None:
    verify(furnished)
    assert commands(furnished, "sudo -n rm -rf") == [f"sudo -n rm -rf {TRIALS}"]
    assert furnished.guest("crab-1").read("leaking") == ""
    assert commands(furnished, "leak-end") == [f"sudo -n python3 -EsB {TRIALS}/proofs.py leak-end {LEAK}"]


def test_only_what_needs_it_is_run_as_root(furnished: World) -> None:
    verify(furnished)
    ran = {command.split()[-1]: command.startswith("sudo") for command in commands(furnished, "proofs.py")}
    assert ran == {
        "watchdog": True,
        "limit": False,
        "agents": False,
        "forecast": False,
        "leak-begin": False,
        LEAK: True,
    }


def test_a_proof_that_fails_is_named_and_the_others_go_on(furnished: World) -> None:
    answers = {"proofs.py limit": says(False, "stopped at 256 MiB"), "leak-end": says(False)}
    furnished.hypervisor.behave("crab-1", answers=answers)
    result = verify(furnished)
    assert [name for name, passed in rows(result).items() if not passed] == ["limit", "leak"]
    assert isinstance(result.error, Unproven)
    assert result.error.brief == "Guest tools of 'crab-1' failed 2 of 7 proofs: limit, leak"
    assert result.error.exit_code is ExitCode.FAILED


@pytest.mark.parametrize("answer", [failed("Traceback\nboom\x1b[2J"), ok("[1]"), ok("[" * 9999), says("yes"), ok("{}")])
def test_an_answer_that_is_none_is_a_failure(furnished: World, answer: CommandResult) -> None:
    furnished.hypervisor.behave("crab-1", answers={"proofs.py forecast": answer})
    result = verify(furnished)
    (row,) = [proof for proof in result.proofs if not proof.passed]
    assert row.name == "forecast"
    assert row.happened.startswith("no answer: exit status ")
    assert "\x1b" not in row.happened


def test_what_a_proof_says_is_bounded_and_printable(furnished: World) -> None:
    furnished.hypervisor.behave("crab-1", answers={"proofs.py agents": says(True, "\x1b[31m" + "x" * 5000)})
    row = next(proof for proof in verify(furnished).proofs if proof.name == "agents")
    assert row.happened.startswith("?[31m") and len(row.happened) == 400


@pytest.mark.parametrize("said", ["", "/tmp/x", "/tmp/moltfleet-proof.$(reboot)", "/tmp/moltfleet-proof.abc123 /etc"])
def test_a_directory_of_the_guests_own_invention_is_not_used(furnished: World, said: str) -> None:
    furnished.hypervisor.behave("crab-1", answers={"leak-begin": ok(said)})
    result = verify(furnished)
    assert rows(result)["leak"] is False and "sshd" not in rows(result)
    assert commands(furnished, "leak-end") == []


@pytest.mark.parametrize("said", ["", "/tmp/moltfleet-trials.abc123; reboot", "/etc"])
def test_a_place_for_the_trials_must_be_one(furnished: World, said: str) -> None:
    furnished.hypervisor.behave("crab-1", answers={"mktemp -d /tmp/moltfleet-trials": ok(said)})
    result = verify(furnished)
    assert isinstance(result.error, GuestFailed)
    assert commands(furnished, "sudo -n rm -rf") == []


def test_a_leak_that_does_not_end_is_a_failure_in_time(furnished: World) -> None:
    furnished.hypervisor.behave("crab-1", answers={"test -e": failed("")})
    result = verify(furnished)
    row = result.proofs[-1]
    assert (row.name, row.passed) == ("sshd", False)
    assert row.happened.endswith("the leak was not over in time")


def test_tools_that_differ_fail_the_first_proof_and_the_rest_is_tried(furnished: World) -> None:
    furnished.guest("crab-1").write("tools-changed", "bin/claude")
    result = verify(furnished)
    assert rows(result) == {name: name != "installed" for name in ROWS}
    assert result.proofs[0].happened.endswith(", 1 file(s) differ")


def test_without_tools_there_is_nothing_to_prove(clone: World) -> None:
    result = verify(clone)
    assert isinstance(result.error, WrongState) and result.proofs == ()
    assert result.error.hint == "Install them: moltfleet tools install crab-1"


def test_a_guest_that_hangs_is_left_after_its_deadline(furnished: World) -> None:
    furnished.hypervisor.behave("crab-1", hangs=True)
    assert isinstance(verify(furnished).error, DeadlinePassed)


def test_a_clone_that_is_worked_on_is_left_alone(furnished: World) -> None:
    furnished.locks.hold_by_other("crab-1", verb="molt")
    assert isinstance(verify(furnished).error, Busy)


def test_a_dry_run_asks_nobody(furnished: World) -> None:
    before = len(furnished.hypervisor.commands)
    (line,) = tools_verify.plan_verify(furnished.fleet, ["crab-1"])
    assert line.startswith("crab-1: would try installed version; its service")
    assert len(furnished.hypervisor.commands) == before
