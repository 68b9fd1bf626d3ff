"""`moltfleet schedule`: exit codes and output."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fakes.schedule import ScheduleMachine, a_scheduling
from moltfleet.cli.app import app
from moltfleet.cli.invocation import Invocation
from moltfleet.config import Config
from moltfleet.model.ports import Progress
from moltfleet.operations.scheduling import Scheduling

from .conftest import Outcome


@pytest.fixture
def machine(tmp_path: Path) -> ScheduleMachine:
    machine = ScheduleMachine(tmp_path / "machine")
    machine.root_user = False
    return machine


@pytest.fixture
def do(tmp_path: Path, machine: ScheduleMachine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    monkeypatch.setenv("TZ", "UTC")

    def build(config: Config, progress: Progress, options: tuple[str, ...]) -> Scheduling:
        made = replace(a_scheduling(machine), config=config, progress=progress)
        return replace(made, program=(*made.program, *options))

    def invoke(*arguments: str, interactive: bool = False, input: str | None = None) -> Outcome:
        environment = {"HOME": str(tmp_path)}
        invocation = Invocation(build_scheduling=build, interactive=interactive, environment=environment)
        options: dict[str, Any] = {"obj": invocation, "terminal_width": 80}
        result = CliRunner().invoke(app, list(arguments), input=input, catch_exceptions=False, **options)
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return invoke


def test_what_is_installed_is_shown_with_its_next_run(do: Callable[..., Outcome]) -> None:
    outcome = do("schedule", "install", "--at", "2:30", "--linger")
    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    assert [line.split() for line in outcome.stdout.splitlines()] == [
        ["JOB", "BY", "STATE", "WHEN", "NEXT", "LAST"],
        ["moltfleet-nightly", "user", "active", "*-*-*", "02:30:00", "2026-11-21", "03:30", "-"],
        ["moltfleet-survey", "user", "active", "*-*-*", "*:0/10:00", "2026-11-21", "03:30", "-"],
    ]
    assert do("schedule", "show").stdout == outcome.stdout


def test_what_is_scheduled_gets_the_libvirt_and_the_settings_of_this_run(
    do: Callable[..., Outcome], machine: ScheduleMachine, tmp_path: Path
) -> None:
    config = tmp_path / "my settings.toml"
    config.write_text("[nightly]\nhours = 2\n")
    assert do("-c", "qemu:///session", "--config", str(config), "schedule", "install").exit_code == 0
    service = machine.text("/home/ann/.config/systemd/user/moltfleet-nightly.service")
    assert f'moltfleet --connect qemu:///session --config "{config}" nightly --yes --quiet\n' in service
    assert "TimeoutStartSec=9000\n" in service


def test_lingering_is_offered_on_a_terminal(do: Callable[..., Outcome], machine: ScheduleMachine) -> None:
    outcome = do("schedule", "install", interactive=True, input="n\n")
    assert "Your timers stop when you log out." in outcome.stderr
    assert "Warning: The timers stop when ann has logged out" in outcome.stderr
    assert not machine.exists("/var/lib/systemd/linger/ann")
    assert do("schedule", "install", interactive=True, input="y\n").exit_code == 0
    assert machine.exists("/var/lib/systemd/linger/ann")
    # Nobody is asked again.
    assert "Your timers" not in do("schedule", "install", interactive=True, input="").stderr


@pytest.mark.parametrize("options", [("--at", "25:00"), ("--survey-every", "7m"), ("--run-as", "ann")])
def test_what_cannot_be_meant_exits_with_2(do: Callable[..., Outcome], options: tuple[str, ...]) -> None:
    outcome = do("schedule", "install", *options)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("Error: ")
    assert "Hint: " in outcome.stderr


def test_a_dry_run_prints_what_would_be_written(do: Callable[..., Outcome], machine: ScheduleMachine) -> None:
    outcome = do("schedule", "install", "--cron", "--dry-run", "--survey-every", "never")
    assert outcome.stdout.splitlines() == [
        "write the crontab of ann: 0 other lines as they are, then",
        "    # BEGIN moltfleet schedule: written by `moltfleet schedule install`",
        "    30 3 * * * /opt/moltfleet/bin/moltfleet nightly --yes --quiet >/dev/null",
        "    # END moltfleet schedule",
    ]
    assert machine.crontab is None


def test_as_a_document(do: Callable[..., Outcome]) -> None:
    do("schedule", "install")
    document = json.loads(do("schedule", "show", "--json").stdout)
    assert (document["schema"], document["lingering"], len(document["jobs"])) == ("moltfleet.schedule-show/1", False, 2)
    assert document["jobs"][0]["next"] == "2026-11-21T03:30:00Z"
    gone = json.loads(do("schedule", "remove", "--json").stdout)
    assert gone["removed"][0] == {"kind": "user", "name": "moltfleet-nightly"}


def test_nothing_to_show_or_remove_is_said_and_no_failure(do: Callable[..., Outcome]) -> None:
    for verb in ("show", "remove"):
        outcome = do("schedule", verb)
        assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, "", "Nothing is scheduled.\n")
