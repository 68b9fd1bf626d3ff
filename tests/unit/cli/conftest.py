"""The command line in a test: no terminal, no settings of this machine, a fleet that the test chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from click.testing import CliRunner

from moltfleet.cli.app import app
from moltfleet.cli.invocation import FleetBuilder, Invocation
from moltfleet.operations.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command line led to."""

    exit_code: int
    stdout: str
    stderr: str


class Run(Protocol):
    """Run a command line."""

    def __call__(
        self,
        *args: str,
        build_fleet: FleetBuilder = ...,
        interactive: bool = False,
        input: str | None = None,
        replace_process: Callable[[str, list[str]], object] = ...,
        environment: dict[str, str] | None = None,
    ) -> Outcome: ...


def no_fleet(*_: object) -> Fleet:
    raise AssertionError("this command line has no business with the fleet")


def no_process(*_: object) -> object:
    raise AssertionError("this command line has no business with another program")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in ("NO_COLOR", "FORCE_COLOR", "MOLTFLEET_JSON", "MOLTFLEET_YES", "MOLTFLEET_VERBOSE", "MOLTFLEET_QUIET"):
        monkeypatch.delenv(name, raising=False)

    def invoke(
        *args: str, build_fleet: FleetBuilder = no_fleet, interactive: bool = False, input: str | None = None,
        replace_process: Callable[[str, list[str]], object] = no_process, environment: dict[str, str] | None = None,
    ) -> Outcome:  # fmt: skip
        invocation = Invocation(
            build_fleet=build_fleet,
            interactive=interactive,
            environment={"HOME": str(tmp_path)},
            replace_process=replace_process,
        )
        options: dict[str, Any] = {"obj": invocation, "terminal_width": 80}
        result = CliRunner().invoke(app, list(args), input=input, env=environment, catch_exceptions=False, **options)
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return invoke
