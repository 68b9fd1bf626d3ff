"""The command of `notify` with real programs: what it gets, and that no text ever becomes a word of a shell."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from moltfleet.adapters import notifier
from moltfleet.adapters.notifier import CommandNotifier
from moltfleet.model.errors import DeadlinePassed, ToolFailed
from moltfleet.model.events import Event, EventKind

AT = "2026-11-20T10:00:00Z"
PROGRAM = """\
import json, os, sys
from pathlib import Path
variables = {name: value for name, value in os.environ.items() if name.startswith("MOLTFLEET_")}
Path(sys.argv[1]).write_text(json.dumps({"argv": sys.argv[2:], "stdin": json.load(sys.stdin), "variables": variables}))
"""


def test_it_gets_the_event_in_three_ways_and_no_shell_sees_it(tmp_path: Path) -> None:
    program, out = tmp_path / "told.py", tmp_path / "a place" / "out"
    program.write_text(PROGRAM)
    out.parent.mkdir()
    text = "Clone 'crab-1' was molted: $(touch /tmp/owned) `id`; \x1b[2J | agent \"x\""
    command = f"{sys.executable} {program} '{out}'"
    CommandNotifier(command).tell(Event(EventKind.MOLTED, text, "crab-1"), at=AT)
    got = json.loads(out.read_text())
    said = text.replace("\x1b", "?")
    assert got["argv"] == [said]
    assert got["stdin"] == {
        "schema": "moltfleet.event/1",
        "event": "molted",
        "clone": "crab-1",
        "text": said,
        "at": AT,
    }
    assert got["variables"] | {} == {
        "MOLTFLEET_EVENT": "molted",
        "MOLTFLEET_CLONE": "crab-1",
        "MOLTFLEET_TEXT": said,
    }


def test_without_a_command_nothing_is_run() -> None:
    CommandNotifier("").tell(Event(EventKind.KILLED, "text"), at=AT)


def test_one_that_fails_is_missing_or_hangs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "_TIMEOUT_S", 0.3)
    event = Event(EventKind.NIGHT_MISSED, "Night was missed")
    with pytest.raises(ToolFailed, match="exit status 1"):
        CommandNotifier("false").tell(event, at=AT)
    with pytest.raises(ToolFailed, match="is not installed"):
        CommandNotifier("/nowhere/to/be/found").tell(event, at=AT)
    with pytest.raises(DeadlinePassed):
        CommandNotifier("sh -c 'exec sleep 30'").tell(event, at=AT)
