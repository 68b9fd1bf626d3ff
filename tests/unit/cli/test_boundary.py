"""The boundary: each error is one line, a hint and an exit code; Ctrl-C is 130; bugs keep their traceback."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from moltfleet.model import errors
from moltfleet.model.errors import ExitCode, HostUnavailable, MoltfleetError
from moltfleet.operations.fleet import Fleet

Run = Callable[..., object]

DENIED = HostUnavailable(
    "No permission to use libvirt at qemu:///system", hint="Join the group libvirt.", details="said: denied\n"
)


def failing(error: BaseException) -> Callable[..., Fleet]:
    def build_fleet(*_: object) -> Fleet:
        raise error

    return build_fleet


def test_an_error_is_one_line_and_a_hint_on_standard_error(run: Run) -> None:
    outcome = run("list", build_fleet=failing(DENIED))
    assert outcome.stdout == ""
    assert outcome.stderr == "Error: No permission to use libvirt at qemu:///system\nHint: Join the group libvirt.\n"
    assert outcome.exit_code == 7


@pytest.mark.parametrize("args", [("-v", "list"), ("list", "-v")])
def test_details_are_for_those_who_asked(run: Run, args: tuple[str, ...]) -> None:
    outcome = run(*args, build_fleet=failing(DENIED))
    assert outcome.stderr.endswith("Hint: Join the group libvirt.\nsaid: denied\n")


@pytest.mark.parametrize("args", [("--json", "list"), ("list", "--json")])
def test_with_json_the_error_is_a_document_on_standard_output(run: Run, args: tuple[str, ...]) -> None:
    outcome = run(*args, build_fleet=failing(DENIED))
    assert outcome.stderr == ""
    assert outcome.exit_code == 7
    assert json.loads(outcome.stdout) == {
        "schema": "moltfleet.error/1",
        "error": {
            "code": "host-unavailable",
            "brief": "No permission to use libvirt at qemu:///system",
            "hint": "Join the group libvirt.",
        },
    }


def test_a_variable_asks_for_json_too(run: Run) -> None:
    outcome = run("list", build_fleet=failing(DENIED), environment={"MOLTFLEET_JSON": "1"})
    assert json.loads(outcome.stdout)["error"]["code"] == "host-unavailable"


def kinds() -> list[type[MoltfleetError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MoltfleetError)]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.code)
def test_every_kind_of_error_leads_to_its_exit_code(run: Run, kind: type[MoltfleetError]) -> None:
    outcome = run("list", build_fleet=failing(kind("Clone 'a' is not running")))
    assert (outcome.exit_code, outcome.stdout) == (kind.exit_code, "")
    assert outcome.stderr == "Error: Clone 'a' is not running\n"


def test_codes_of_errors_are_distinct_words() -> None:
    codes = [kind.code for kind in kinds()]
    assert len(set(codes)) == len(codes)


def test_ctrl_c_is_one_line_and_130(run: Run) -> None:
    outcome = run("list", build_fleet=failing(KeyboardInterrupt()))
    assert outcome.exit_code == ExitCode.INTERRUPTED == 130
    assert outcome.stdout == ""
    assert outcome.stderr == (
        "Error: Interrupted\nHint: The next command on the same names finishes or undoes what was under way.\n"
    )


def test_a_guests_words_in_an_error_cannot_drive_the_terminal(run: Run) -> None:
    error = errors.GuestFailed("cloud-init failed: \x1b]0;x\x07", hint="\x1b[2J", details="log\n\x1b[31m")
    outcome = run("-v", "list", build_fleet=failing(error))
    assert outcome.stderr == "Error: cloud-init failed: ?]0;x?\nHint: ?[2J\nlog\n?[31m\n"


def test_a_bug_keeps_its_traceback(run: Run) -> None:
    with pytest.raises(ZeroDivisionError, match="bug"):
        run("list", build_fleet=failing(ZeroDivisionError("bug")))


@pytest.mark.parametrize(
    ("args", "stderr"),
    [
        (("bogus",), "Error: No such command 'bogus'\nHint: See 'moltfleet --help'.\n"),
        (("undo",), "Error: Missing argument 'NAME'\nHint: See 'moltfleet undo --help'.\n"),
        (("start",), "Error: No clone is named; --all means every clone\nHint: See 'moltfleet start --help'.\n"),
        (("stop", "a", "--all"), "Error: Names and --all exclude each other\nHint: See 'moltfleet stop --help'.\n"),
        (
            ("create", "base", "--memory", "lots"),
            "Error: Invalid value for '--memory': Size 'lots' is not a number with an optional K, M, G or T. "
            "Example: 12G, 512M, or 12288 for MiB\nHint: See 'moltfleet create --help'.\n",
        ),
        (
            ("create", "base", "-n", "0"),
            "Error: Invalid value for '-n' / '--count': 0 is not in the range 1<=x<=253\n"
            "Hint: See 'moltfleet create --help'.\n",
        ),
        (
            ("golden", "build", "base", "--image", "x", "--sha256", "abc"),
            "Error: Invalid value for '--sha256': is not 64 hexadecimal digits\n"
            "Hint: See 'moltfleet golden build --help'.\n",
        ),
        (
            ("create",),
            "Error: No golden is named, and the config has no default\nHint: See 'moltfleet create --help'.\n",
        ),
    ],
)
def test_a_command_line_that_cannot_be_understood_is_exit_2(run: Run, args: tuple[str, ...], stderr: str) -> None:
    outcome = run(*args)
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (2, "", stderr)


def test_usage_errors_are_json_when_json_was_asked_for_anywhere(run: Run) -> None:
    outcome = run("molt", "--bogus", "--json")
    assert outcome.exit_code == 2
    document = json.loads(outcome.stdout)
    assert document["schema"] == "moltfleet.error/1"
    assert document["error"]["code"] == "usage"


def test_a_broken_config_is_exit_2_and_names_the_line(run: Run, tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "broken.toml"
    path.write_text("jbos = 1\n")
    outcome = run("--config", str(path), "list")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr == f"Error: {path}:1: key 'jbos' is unknown\nHint: The nearest known key is 'jobs'.\n"


@pytest.mark.parametrize(
    "args",
    [("delete", "a"), ("delete", "--all"), ("molt", "a"), ("golden", "delete", "a")],
)
def test_without_a_terminal_nothing_is_destroyed_unless_yes_is_said(run: Run, args: tuple[str, ...]) -> None:
    outcome = run(*args)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr == (
        "Error: Nothing was changed: there is no terminal to confirm on\n"
        "Hint: Add --yes to go ahead, or --dry-run to see what would be done.\n"
    )


def test_the_version_is_told(run: Run) -> None:
    from moltfleet import __version__

    assert run("--version").stdout == f"moltfleet {__version__}\n"
