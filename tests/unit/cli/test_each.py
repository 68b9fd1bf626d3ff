"""`moltfleet each`: what it makes of its words, its table, its document and its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moltfleet.cli.each_document import each_table
from moltfleet.cli.files import read_tasks
from moltfleet.model.each import EachResult
from moltfleet.model.errors import InvalidInput

Do = Callable[..., Any]


class Bootstrap:
    def read(self, name: str) -> bytes:
        return name.encode()


@pytest.fixture(autouse=True)
def bootstrap(fleet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build = fleet.build
    monkeypatch.setattr(fleet, "build", lambda *words: replace(build(*words), bootstrap=Bootstrap()), raising=False)


def test_a_table_tells_each_and_errors_come_after_it(do: Do) -> None:
    outcome = do("each", "base-*", "--jobs", "1", "--", "echo", "a b")
    assert outcome.exit_code == 1
    rows = [" ".join(line.split()) for line in outcome.stdout.splitlines()]
    assert rows == [
        "CLONE OUTCOME STATUS SECONDS FETCHED SAID LAST",
        "base-1 failed 7 0.0 - noise",
        "base-2 failed 7 0.0 - noise",
        "base-3 unreached - 0.0 -",
    ]
    assert "  | noise\nError: Command in 'base-1' ended with 7\n" in outcome.stderr
    assert outcome.stderr.endswith("Error: Clone 'base-3' is not running\nHint: Start it: moltfleet start base-3\n")


def test_as_json_each_has_its_output(do: Do) -> None:
    outcome = do("each", "base-1", "--json", "--", "true")
    assert outcome.exit_code == 7
    document = json.loads(outcome.stdout)
    assert (document["schema"], document["command"]) == ("moltfleet.each/1", "true")
    assert document["results"] == [
        {
            "clone": "base-1",
            "outcome": "failed",
            "exit_status": 7,
            "seconds": 0.0,
            "task": None,
            "branch": None,
            "taken": False,
            "fetched": None,
            "stdout": "exec sh -c each.sh each 0 '' '' base-1 '' true on base-1\n",
            "stderr": "noise\n",
            "truncated": False,
            "error": {"code": "guest-failed", "brief": "Command in 'base-1' ended with 7", "hint": None},
        }
    ]


def test_a_dry_run_tells_and_changes_nothing(do: Do, fleet: Any, tmp_path: Path) -> None:
    (tmp_path / "tasks").write_text("one\ntwo\n")
    words = ("--tasks", str(tmp_path / "tasks"), "--repo", "app", "--branch", "b")
    outcome = do("each", "base-1", "base-2", *words, "--dry-run", "--", "make")
    assert outcome.stdout == (
        "base-1: make in app on branch b/base-1, task 'one'\nbase-2: make in app on branch b/base-2, task 'two'\n"
    )
    assert (outcome.exit_code, fleet.locks.held) == (0, [])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("base-1",), "No command is given; it comes after --"),
        (("base-1", "--branch", "b", "--", "x"), "--branch needs --repo, the repository that it is made in"),
        (("base-1", "--repo", "app", "--into", ".", "--", "x"), "--into needs --branch, which names the branches"),
        (("base-1", "--repo", "a", "--branch", "-x", "--", "x"), "'-x' is no name that branches can begin with"),
        (("base-1", "--tasks", "/nowhere", "--", "x"), "File '/nowhere' cannot be read"),
        (("base-1", "--timeout", "0", "--", "x"), "0.0 is not in the range"),
        (("--", "x"), "Missing argument 'NAME...'"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(do: Do, words: tuple[str, ...], problem: str) -> None:
    outcome = do("each", *words)
    assert outcome.exit_code == 2
    assert problem in outcome.stderr


def test_what_a_guest_says_drives_no_terminal() -> None:
    result = EachResult("crab-1", "done", 0, b"x\n\x1b]0;owned\x07\x1b[2J" + b"\xff" * 200)
    table = each_table([result])
    assert "\x1b" not in table and "\x07" not in table and max(map(len, table.splitlines())) < 150


def test_tasks_are_the_lines_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "tasks").write_text("one\n\n  #12: two \r\n")
    assert read_tasks(tmp_path / "tasks") == ("one", "#12: two")


def test_tasks_are_the_files_of_a_directory(tmp_path: Path) -> None:
    for name, text in {
        "b.md": "second\n",
        "a.md": "# First\n\nof several lines\n",
        ".hidden": "no",
        "c.md": " \n",
    }.items():
        (tmp_path / name).write_text(text)
    assert read_tasks(tmp_path) == ("# First\n\nof several lines", "second")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe"])
def test_a_file_without_tasks_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tasks").write_bytes(content)
    with pytest.raises(InvalidInput):
        read_tasks(tmp_path / "tasks")
