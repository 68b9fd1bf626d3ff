"""Shell completion: the scripts, the names of what there is, and silence when something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from click.shell_completion import ShellComplete

from moltfleet.cli.app import app
from moltfleet.cli.invocation import Invocation


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_calls_us_back(run: Callable[..., Any], shell: str) -> None:
    outcome = run("completion", shell)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert "_MOLTFLEET_COMPLETE" in outcome.stdout


def completed(build_fleet: Callable[..., Any], *words: str) -> list[str]:
    invocation = Invocation(build_fleet=build_fleet, environment={})
    *args, incomplete = words
    form = ShellComplete(app, {"obj": invocation}, "moltfleet", "_MOLTFLEET_COMPLETE")
    return [item.value for item in form.get_completions(args, incomplete)]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("mo",), ["molt"]),
        (("golden", "s"), ["show"]),
        (("molt", ""), ["base-1", "base-2", "base-3"]),
        (("stop", "base-1", "base-"), ["base-2", "base-3"]),
        (("ssh", "x"), []),
        (("create", ""), ["base", "lean"]),
        (("golden", "show", "l"), ["lean"]),
        (("copy", "base-1"), ["base-1:"]),
        (("copy", "./no"), ["./no"]),
    ],
)
def test_commands_and_names_are_completed(fleet: Any, words: tuple[str, ...], names: list[str]) -> None:
    assert completed(fleet.build, *words) == names


def test_whatever_goes_wrong_stays_silent(capfd: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object) -> Any:
        raise RuntimeError("no libvirt")

    assert completed(broken, "molt", "") == []
    assert completed(broken, "golden", "show", "") == []
    assert capfd.readouterr() == ("", "")
