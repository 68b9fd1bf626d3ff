"""`moltfleet agent`: what it makes of its words, and to whom it hands the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moltfleet.cli.invocation import Invocation
from moltfleet.model.records import GoldenRecord

Do = Callable[..., Any]


class Bootstrap:
    def read(self, name: str) -> bytes:
        return name.encode()


@pytest.fixture(autouse=True)
def bootstrap(fleet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build = fleet.build
    monkeypatch.setattr(fleet, "build", lambda *words: replace(build(*words), bootstrap=Bootstrap()), raising=False)


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The programs that got the terminal."""
    calls: list[list[str]] = []

    def open_program(arguments: Sequence[str]) -> int:
        calls.append(list(arguments))
        return 5

    made = Invocation.__init__

    def init(self: Invocation, *words: Any, **options: Any) -> None:
        made(self, *words, open_program=open_program, **options)

    monkeypatch.setattr(Invocation, "__init__", init)
    return calls


def with_desktop(fleet: Any) -> None:
    golden = fleet.hypervisor.known["base"]
    assert isinstance(golden.record, GoldenRecord)
    fleet.hypervisor.known["base"] = replace(golden, record=replace(golden.record, desktop=True))


def test_a_part_of_a_name_leads_into_the_session(do: Do) -> None:
    calls: list[tuple[list[str], list[str]]] = []

    def open_ssh(config: object, arguments: Any, known: Any) -> int:
        calls.append((list(arguments), [endpoint.name for endpoint in known]))
        return 42

    outcome = do("agent", "se-2", "--path", "work/app", "--", "claude", "a b", open_ssh=open_ssh)
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (42, "", "")
    [(arguments, known)] = calls
    assert arguments[0] == "ssh" and "-T" in arguments
    assert arguments[-1] == """sh -c agent.sh agent connect base-2 work/app 'claude '"'"'a b'"'"''"""
    assert arguments[-2] == "192.168.150.3"
    assert known == ["base-1", "base-2", "base-3"]


def test_when_ssh_cannot_log_in_it_is_found_out_why_and_tried_once_more(do: Do) -> None:
    calls: list[object] = []

    def open_ssh(config: object, arguments: Any, known: Any) -> int:
        calls.append(arguments)
        return 255

    assert do("agent", "base-1", open_ssh=open_ssh).exit_code == 255
    assert len(calls) == 2


def test_the_newest_is_taken_on_request(do: Do) -> None:
    hosts: list[str] = []
    do("agent", "--attach", open_ssh=lambda _, arguments, __: hosts.append(arguments[-2]) or 0)
    assert hosts == ["192.168.150.3"]


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (("base-1",), ["base-1: runs already", "connect to its agent session"]),
        (("base-3", "--gui"), ["base-3: would be started", "look at its screen"]),
        (("--attach", "--code"), ["base-2: runs already", "open it in VS Code"]),
    ],
)
def test_a_dry_run_tells_and_changes_nothing(do: Do, fleet: Any, words: tuple[str, ...], lines: list[str]) -> None:
    with_desktop(fleet)
    before = dict(fleet.hypervisor.known)
    outcome = do("agent", *words, "--dry-run")
    assert (outcome.exit_code, outcome.stdout.splitlines(), outcome.stderr) == (0, lines, "")
    assert fleet.hypervisor.known == before and fleet.locks.held == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("base-1", "--attach"), "NAME and --attach exclude each other"),
        (("--attach", "--golden", "base"), "--attach and --golden exclude each other"),
        (("base-1", "--gui", "--code"), "--gui and --code exclude each other"),
        (("base-1", "--gui", "--", "claude"), "--gui goes without a command"),
        (("base-1", "--code", "--json"), "--code goes without --json"),
        (("base-1", "--", "a\nb"), "'a?b' cannot be typed"),
        (("base",), "'base' is a part of several names of a clone"),
        ((), "No golden is named, and the config has no default"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(do: Do, words: tuple[str, ...], problem: str) -> None:
    outcome = do("agent", *words)
    assert outcome.exit_code == 2
    assert problem in outcome.stdout + outcome.stderr


def test_a_screen_is_looked_at_by_what_only_libvirt_hands_out(do: Do, fleet: Any, programs: list[list[str]]) -> None:
    refused = do("agent", "base-1", "--gui")
    assert (refused.exit_code, programs) == (4, [])
    assert refused.stderr.startswith("Error: Clones of golden 'base' have no display\n")
    with_desktop(fleet)
    assert do("-c", "qemu:///session", "agent", "base-1", "--gui").exit_code == 5
    assert programs == [["virt-viewer", "--connect", "qemu:///session", "--attach", "--domain-name", "base-1"]]


def test_an_editor_needs_the_include_line_and_then_knows_the_clone(
    do: Do, fleet: Any, programs: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = do("agent", "base-1", "--code")
    assert (refused.exit_code, programs) == (4, [])
    assert "Hint: Once: moltfleet ssh-config --install\n" in refused.stderr
    keys = type("Keys", (), {"fleet_public_key": lambda _: "ssh-ed25519 AAAA"})()
    build = fleet.build
    monkeypatch.setattr(fleet, "build", lambda *words: replace(build(*words), keys=keys))
    assert do("ssh-config", "--install").exit_code == 0
    assert do("agent", "base-1", "--code", "--path", "work/app").exit_code == 5
    assert programs == [["code", "--remote", "ssh-remote+base-1", "/home/agent/work/app"]]
    (written,) = (tmp_path / "moltfleet").glob("ssh_config.*")
    assert "Host base-1\n" in written.read_text()


def test_as_json_nobody_is_attached(do: Do, fleet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from moltfleet.model.domain import CommandResult

    def run(self: object, command: str, **_: object) -> CommandResult:
        said = b"cli\tclaude\t\x1b[31m2\tyes\ngit\t-\toff\n" if "facts" in command else b""
        return CommandResult(0, said, b"")

    monkeypatch.setattr("tests.unit.cli.conftest.MemorySession.run", run, raising=False)
    outcome = do("agent", "base-1", "--json")
    assert json.loads(outcome.stdout) == {
        "schema": "moltfleet.agent/1",
        "clone": "base-1",
        "act": "found",
        "session": "agent",
        "ssh": {"host": "192.168.150.2", "port": 22, "user": "agent"},
        "programs": [{"name": "claude", "version": "?[31m2", "installed": True, "logged_in": True}],
        "gh": {"installed": False, "logged_in": False, "user": None},
        "git": {"identity": None, "signing": "off"},
    }
