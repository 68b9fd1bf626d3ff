"""Asking clones how they are, and what is made of hostile answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fakes import World, failed, ok
from fakes.health import a_health, a_leaking_health
from moltfleet.model.domain import CommandResult
from moltfleet.model.errors import DeadlinePassed, ExitCode, GuestFailed, GuestUnreachable, NotFound, WrongState
from moltfleet.model.health import Level
from moltfleet.model.requests import StopRequest
from moltfleet.model.results import HealthResult
from moltfleet.operations import stop
from moltfleet.operations.health import check_health, cleaned, read_health

PROGRAM = "vm-health-check"


def said(change: Callable[[dict[str, Any]], object] | None = None, code: int = 0) -> CommandResult:
    """What the guest's program prints, after a change to its document."""
    document = json.loads(json.dumps(a_health().document()))
    if change is not None:
        change(document)
    return CommandResult(code, json.dumps(document).encode(), b"")


def look(world: World, answer: CommandResult) -> HealthResult:
    world.hypervisor.behave("crab-1", answers={PROGRAM: answer})
    (result,) = check_health(world.fleet, ["crab-1"])
    return result


def test_a_clone_that_is_well_comes_back_as_it_was_written(clone: World) -> None:
    result = look(clone, said())
    assert (result.clone, result.verdict, result.level, result.error) == ("crab-1", "ok", Level.OK, None)
    assert result.health == a_health()


@pytest.mark.parametrize("code", [0, 1, 2])
def test_worries_are_no_failure(clone: World, code: int) -> None:
    document = json.dumps(a_leaking_health().document()).encode()
    result = look(clone, CommandResult(code, document, b""))
    assert (result.verdict, result.level, result.error) == ("critical", Level.CRITICAL, None)
    assert result.health == a_leaking_health()


def test_a_clone_without_tools_is_told_how_to_get_them(clone: World) -> None:
    result = look(clone, failed("", code=127))
    assert (result.verdict, result.health, result.level) == ("unknown", None, Level.WARN)
    assert isinstance(result.error, NotFound)
    assert result.error.brief == "Clone 'crab-1' has no health check"
    assert result.error.hint == "Put the guest tools in: moltfleet tools install crab-1"


def test_a_clone_that_is_off_is_down_and_one_that_is_paused_paused(clone: World) -> None:
    clone.hypervisor.machines["crab-1"].running.is_paused = True
    (result,) = check_health(clone.fleet, ["crab-1"])
    assert (result.verdict, type(result.error)) == ("paused", WrongState)
    clone.hypervisor.machines["crab-1"].running.is_paused = False
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    (result,) = check_health(clone.fleet, ["crab-1"])
    assert result.verdict == "down"
    assert result.error is not None
    assert (result.error.exit_code, result.error.hint) == (ExitCode.WRONG_STATE, "Start it: moltfleet start crab-1")


def test_one_that_does_not_answer_does_not_keep_the_others(clone: World) -> None:
    clone.add_clone("crab-2")
    clone.hypervisor.behave("crab-1", shows_banner=False)
    clone.hypervisor.behave("crab-2", answers={PROGRAM: said()})
    results = check_health(clone.fleet, [])
    assert [(result.clone, result.verdict) for result in results] == [("crab-1", "unknown"), ("crab-2", "ok")]
    assert isinstance(results[0].error, GuestUnreachable)


def test_a_check_that_hangs_is_given_up(clone: World) -> None:
    clone.hypervisor.behave("crab-1", hangs=True)
    (result,) = check_health(clone.fleet, ["crab-1"])
    assert isinstance(result.error, DeadlinePassed)


@pytest.mark.parametrize(
    "answer",
    [
        ok(""),
        ok("not json"),
        ok("[1]"),
        ok("[" * 100_000),
        ok('{"schema": '),
        failed("Traceback (most recent call last)", code=1),
        failed("this guest cannot be looked at", code=3),
        CommandResult(3, said().stdout, b"lies"),
    ],
    ids=["nothing", "text", "a list", "deep", "cut off", "a traceback", "no look", "another status"],
)
def test_what_is_no_document_is_a_failed_check(answer: CommandResult) -> None:
    with pytest.raises(GuestFailed, match="Health check of 'crab-1' has failed"):
        read_health("crab-1", answer)


def spoil(**values: object) -> Callable[[dict[str, Any]], object]:
    return lambda document: document.update(values)


@pytest.mark.parametrize(
    ("change", "details"),
    [
        (spoil(schema="moltfleet.guest-health/2"), "schema moltfleet.guest-health/2"),
        (spoil(schema=["\x1b[2J"] * 1000), "schema ['\\x1b[2J', "),
        (spoil(level="fine"), "level: "),
        (spoil(verdict="down"), "verdict: down"),
        (spoil(memory=None), "memory: "),
        (spoil(cpus=1e999), "cpus: "),
        (spoil(cpus=-1), "cpus: "),
        (spoil(cpus=2**60), "cpus: "),
        (spoil(agents={}), "agents: "),
        (spoil(uptime_s=float("nan")), "uptime_s: "),
        (lambda document: document.pop("kills"), "kills: "),
        (spoil(findings=[{"code": "x", "level": "warn", "text": 5, "advice": ""}]), "findings.0.text: "),
        (spoil(load=[[[[[[[[[[1]]]]]]]]]]), "load.0: "),
    ],
)
def test_a_document_of_another_form_is_told_where(change: Callable[[dict[str, Any]], object], details: str) -> None:
    with pytest.raises(GuestFailed, match="another form") as raised:
        read_health("crab-1", said(change))
    assert raised.value.details is not None
    assert raised.value.details.startswith(details)
    assert "\x1b" not in raised.value.details
    assert raised.value.hint == "Bring the guest tools up to date: moltfleet tools install crab-1"


def test_what_a_newer_guest_adds_is_left_out() -> None:
    assert read_health("crab-1", said(spoil(novelty={"x": [1]}))) == a_health()


def test_names_of_a_hostile_guest_are_made_harmless_and_short() -> None:
    def change(document: dict[str, Any]) -> None:
        document["agents"][0]["name"] = "\x1b]0;owned\x07\n" + "x" * 5000
        document["unseen"] = ["line\nline"] * 5000
        document["pressure"]["\x1b[31m"] = None

    found = read_health("crab-1", said(change))
    assert found.agents[0].name.startswith("?]0;owned??xxx")
    assert len(found.agents[0].name) == 300
    assert found.unseen == ("line?line",) * 200
    assert "?[31m" in found.pressure


def test_everything_in_a_document_is_bounded() -> None:
    deep: object = "x"
    for _ in range(50):
        deep = {"k": deep}
    text = json.dumps(cleaned({"deep": deep, "wide": [0] * 10_000, "keys": dict.fromkeys(map(str, range(9999)))}))
    assert len(text) < 5000
