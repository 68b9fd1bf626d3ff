"""`moltfleet health` on a fleet in memory: tables, documents, exit codes, and looking again and again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fakes.health import a_health, a_leaking_health
from moltfleet.cli.health_text import health_text
from moltfleet.model.domain import CommandResult, Endpoint
from moltfleet.model.health import Health, Trend
from moltfleet.model.results import HealthResult
from moltfleet.operations import parallel

Do = Callable[..., Any]
OFF = "Error: Clone 'base-3' is not running\nHint: Start it: moltfleet start base-3\n"


@dataclass
class Answering:
    """Guests whose health check says what it is told to."""

    said: dict[str, Health]

    @contextmanager
    def login(self, endpoint: Endpoint, *, timeout_s: float) -> Iterator[Answering]:
        self.name = endpoint.name
        yield self

    def run(self, command: str, *, timeout_s: float, limit: int) -> CommandResult:
        assert "vm-health-check" in command
        assert 0 < timeout_s <= 120 and 0 < limit <= 2**20
        health = self.said[self.name]
        return CommandResult(0, json.dumps(health.document()).encode(), b"")


@pytest.fixture
def asked(do: Do, fleet: Any) -> Do:
    """base-1 is well, base-2 leaks, base-3 is off."""
    fleet.guests = Answering({"base-1": a_health(), "base-2": a_leaking_health()})
    return lambda *words: do("health", *words)


def test_the_table_tells_every_clone_and_the_findings_of_those_that_have_some(asked: Do, golden: Any) -> None:
    outcome = asked("base-1", "base-2")
    assert outcome.exit_code == 0
    golden("health/host.txt", outcome.stdout)


def test_trends_are_told_with_their_evidence(asked: Do, golden: Any) -> None:
    golden("health/host-trend.txt", asked("--trend", "base-2").stdout)


def test_one_that_is_off_is_in_the_table_and_told_with_its_exit_code(asked: Do) -> None:
    outcome = asked("base-3")
    assert (outcome.exit_code, outcome.stdout.splitlines()[1].split()[:3]) == (4, ["base-3", "unknown", "down"])
    assert outcome.stderr.endswith(OFF)
    mixed = asked()
    assert (mixed.exit_code, [line.split()[0] for line in mixed.stdout.splitlines()[1:4]]) == (
        1,
        ["base-1", "base-2", "base-3"],
    )


def test_as_json_the_guests_own_documents_are_handed_on(asked: Do) -> None:
    outcome = asked("--json")
    assert outcome.exit_code == 1
    document = json.loads(outcome.stdout)
    well, ill, off = document["results"]
    assert (document["schema"], well["health"]) == ("moltfleet.health/1", json.loads(json.dumps(a_health().document())))
    assert (well["verdict"], well["level"], well["error"]) == ("ok", "ok", None)
    assert (ill["verdict"], ill["level"]) == ("critical", "critical")
    assert (off["verdict"], off["level"], off["health"], off["error"]["code"]) == ("down", None, None, "wrong-state")


@pytest.mark.parametrize(("names", "code"), [(("base-1",), 0), (("base-2",), 4), (("base-1", "base-2"), 4)])
def test_strict_makes_worries_an_exit_code(asked: Do, names: tuple[str, ...], code: int) -> None:
    assert asked("--strict", *names).exit_code == code
    assert asked(*names).exit_code == 0


def test_a_name_that_does_not_exist_is_exit_3(asked: Do) -> None:
    assert asked("crab-9").exit_code == 3


def test_no_clones_are_no_table(asked: Do, fleet: Any) -> None:
    fleet.forget_clones()
    outcome = asked()
    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert outcome.stderr.endswith("There are no clones.\n")


def twice(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let somebody press Ctrl-C at the second pause."""
    pauses: list[float] = []

    def pause(clock: object, seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(parallel, "pause", pause)
    return pauses


def test_watching_looks_again_and_again_until_it_is_interrupted(asked: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = twice(monkeypatch)
    outcome = asked("--watch", "--every", "7", "base-1", "base-3")
    assert (outcome.exit_code, pauses) == (130, [7.0, 7.0])
    assert outcome.stdout.count("CLONE ") == 2
    assert outcome.stdout.count("  down      Clone 'base-3' is not running\n") == 2
    assert "\x1b" not in outcome.stdout


def test_watching_as_json_writes_a_document_on_each_line(asked: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    twice(monkeypatch)
    outcome = asked("--watch", "--json", "base-2")
    first, second, *end = outcome.stdout.splitlines()
    assert first == second
    assert json.loads(first)["results"][0]["verdict"] == "critical"
    assert json.loads("".join(end))["schema"] == "moltfleet.error/1"


@pytest.mark.parametrize("seconds", ["0", "0.5", "86401", "often"])
def test_an_interval_that_makes_no_sense_is_a_usage_error(asked: Do, seconds: str) -> None:
    assert asked("--watch", "--every", seconds).exit_code == 2


def test_hostile_words_stay_on_their_line_and_off_the_terminal() -> None:
    spoilt = a_leaking_health()
    trend = Trend("k", "\x1b[2J\n" + "x" * 4000, "leaking", "\x1b", 1, 2, 3, 4.0, 5.0, 6.0, 7.0, 8, 9.0)
    finding = replace(spoilt.findings[0], text="\x1b]0;x\x07\n" + "y" * 4000)
    spoilt = replace(spoilt, trends=(trend,), findings=(finding,), unseen=("\u202e",))
    text = health_text([HealthResult("base-1", "leaking", spoilt)], trend=True)
    assert [character for character in text if not character.isprintable() and character != "\n"] == []
    assert max(len(line) for line in text.splitlines()[2:]) <= 80
