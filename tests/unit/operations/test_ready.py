"""The ladder: each rung has its deadline, its error, its exit code and its hint; and what a guest may say on it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import World, ok
from moltfleet.model.domain import CommandResult, VirtType
from moltfleet.model.errors import (
    DeadlinePassed,
    ExitCode,
    GuestFailed,
    HostKeyChanged,
    LoginRefused,
    MoltfleetError,
    WrongState,
)
from moltfleet.model.requests import CreateRequest, StopRequest
from moltfleet.model.results import ActResult
from moltfleet.operations import create, start, stop
from moltfleet.operations.guest_scripts import parse_answer
from moltfleet.operations.ready import parse_status


def boot(world: World, **behaviour: object) -> ActResult:
    """Make a clone that was never started, with a guest that behaves so, and start it."""
    world.add_clone("crab-1", start=False, network=behaviour.pop("network", None))
    world.hypervisor.behave("crab-1", **behaviour)
    (result,) = start.start(world.fleet, ["crab-1"])
    return result


@pytest.mark.parametrize(
    ("behaviour", "kind", "code", "brief"),
    [
        ({"has_address": False, "network": "default"}, DeadlinePassed, 6, "Guest 'crab-1' has no address after 120 s"),
        (
            {"shows_banner": False},
            DeadlinePassed,
            6,
            "SSH server of 'crab-1' at 192.168.150.2:22 did not answer",
        ),
        ({"refuses_key": True, "has_agent": False}, LoginRefused, 7, "'crab-1' does not accept the fleet key"),
        ({"host_key": "ssh-ed25519 AAAAevil"}, HostKeyChanged, 7, "'crab-1' shows another host key"),
        ({"cloud_init": "error"}, GuestFailed, 7, "cloud-init of 'crab-1' failed: apt: no such package"),
        (
            {"cloud_init": "steps"},
            GuestFailed,
            7,
            "cloud-init of 'crab-1' failed: step npm failed with 2: E404 ?[31m; also failed: codex",
        ),
        ({"cloud_init": "running"}, DeadlinePassed, 6, "cloud-init of 'crab-1' is not done after 1800 s, in stage"),
        ({"hangs": True}, DeadlinePassed, 6, "Command did not end in the guest"),
        ({"powers_off_at_boot": True}, WrongState, 4, "Guest 'crab-1' powered off while it was waited for"),
    ],
)
def test_each_rung_has_its_error(
    world: World, behaviour: dict[str, object], kind: type[MoltfleetError], code: int, brief: str
) -> None:
    error = boot(world, **behaviour).error
    assert type(error) is kind
    assert (error.exit_code, error.brief.startswith(brief)) == (ExitCode(code), True), error.brief


@pytest.mark.parametrize(
    "behaviour", [{"has_address": False, "network": "default"}, {"shows_banner": False}, {"cloud_init": "running"}]
)
def test_a_rung_that_ends_at_its_deadline_says_what_may_help(world: World, behaviour: dict[str, object]) -> None:
    error = boot(world, **behaviour).error
    assert error is not None and error.hint


def test_another_host_key_ends_the_wait_at_once(world: World) -> None:
    assert boot(world, host_key="ssh-ed25519 AAAAevil").seconds < 20


def test_a_guest_that_powers_off_ends_the_wait_at_once(world: World) -> None:
    assert boot(world, powers_off_at_boot=True).seconds < 20


def test_failed_cloud_init_ends_the_wait_at_once_with_the_end_of_its_log(world: World) -> None:
    result = boot(world, cloud_init="error")
    assert result.seconds < 20
    assert result.error and result.error.excerpt == "Err: no such package?[31m 'jk'\n"


def test_a_degraded_guest_is_ready_and_its_problem_is_said_but_no_deprecation(world: World) -> None:
    assert boot(world, cloud_init="degraded").error is None
    assert "cloud-init of 'crab-1' is degraded: no locale" in world.progress.texts("warn")
    assert not [text for text in world.progress.texts("warn") if "old key" in text]


def test_a_guest_without_cloud_init_is_ready(world: World) -> None:
    assert boot(world, cloud_init="disabled").error is None


def test_a_key_that_arrives_late_is_waited_for(world: World) -> None:
    world.add_clone("crab-1", start=False)
    world.hypervisor.behave("crab-1", refuses_key=True, has_agent=False)
    patience = world.clock.now() + 20
    real = world.clock.sleep

    def sleep(seconds: float) -> None:
        real(seconds)
        if world.clock.now() > patience:
            world.hypervisor.behave("crab-1", refuses_key=False)

    world.clock.sleep = sleep  # type: ignore[method-assign]
    (result,) = start.start(world.fleet, ["crab-1"])
    assert result.error is None


def test_a_clone_that_another_user_made_is_told_the_key_by_its_agent(world: World) -> None:
    began = world.clock.now()
    assert boot(world, refuses_key=True).error is None
    assert "Fleet key was added to 'crab-1' by its guest agent" in world.progress.texts("say")
    assert world.clock.now() - began < 60


def test_a_guest_that_was_given_the_key_and_refuses_it_is_not_told_it_again(world: World) -> None:
    world.hypervisor.behave("crab-1", refuses_key=True)
    (result,) = create.create(world.fleet, CreateRequest("base", name="crab-1"))
    assert type(result.error) is LoginRefused


def test_an_emulated_guest_gets_the_longer_deadlines(world: World) -> None:
    world.hypervisor.facts = replace(world.hypervisor.facts, virt_type=VirtType.QEMU)
    error = boot(world, shows_banner=False).error
    assert error is not None and "within 720 s" in error.brief


def test_every_rung_is_shown_while_it_is_waited_for(world: World) -> None:
    boot(world)
    details = world.progress.texts("detail")
    for rung in ("address (at most", "SSH at 192.168.150.2 (at most", "login as agent (at most", "ready"):
        assert [text for text in details if text.startswith(rung)], rung


def test_a_guest_that_answers_nonsense_for_ever_does_not_keep_the_host_busy(world: World) -> None:
    world.add_clone("crab-1", start=False)
    world.hypervisor.behave("crab-1", answers={"/run/cloud-init/result.json": ok("running\n")})
    before = len(world.hypervisor.commands)
    (result,) = start.start(world.fleet, ["crab-1"])
    assert isinstance(result.error, DeadlinePassed)
    assert len(world.hypervisor.commands) - before < 10_000


def test_a_clone_that_is_cut_off_while_waiting_does_not_come_up(world: World) -> None:
    world.add_clone("crab-1")
    stop.stop(world.fleet, ["crab-1"], StopRequest(now=True))
    world.hypervisor.behave("crab-1", boot_s=10_000)
    (result,) = start.start(world.fleet, ["crab-1"])
    assert isinstance(result.error, DeadlinePassed)


# What comes out of a guest


@given(st.binary(max_size=2000))
def test_any_bytes_for_a_status_are_read_without_a_fault(data: bytes) -> None:
    parse_status(data.decode("utf-8", "replace"))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON, _JSON, _JSON)
def test_any_json_for_a_status_gives_bounded_printable_text(stage: object, errors: object, problems: object) -> None:
    document = {"v1": {"stage": stage, "final": {"errors": errors, "recoverable_errors": problems}}}
    status = parse_status(json.dumps(document))
    for text in (status.stage, *status.errors, *status.recoverable):
        assert text.isprintable() and len(text) <= 200


@given(st.binary(max_size=2000))
def test_any_bytes_for_an_answer_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(GuestFailed):
        parse_answer(CommandResult(0, data, b""))


@given(st.dictionaries(st.sampled_from(["ok", "clock", "nonce", "boot", "boot_id", "reseeded", "error"]), _JSON))
def test_any_json_for_an_answer_has_the_right_types(document: dict[str, object]) -> None:
    answer = parse_answer(CommandResult(0, json.dumps(document).encode(), b""))
    assert isinstance(answer.clock, float) and isinstance(answer.ok, bool) and isinstance(answer.reseeded, bool)
    assert all(text.isprintable() for text in (answer.boot_id, answer.nonce, answer.boot, answer.error))


@pytest.mark.parametrize("clock", ["1" + "0" * 400, "-1" + "0" * 400, "1e999", "NaN", "true", '"12"', "null", "[]"])
def test_a_clock_that_is_no_time_is_no_fault(clock: str) -> None:
    answer = parse_answer(CommandResult(0, f'{{"ok": true, "clock": {clock}}}'.encode(), b""))
    assert isinstance(answer.clock, float)
