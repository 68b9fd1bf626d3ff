"""`status --watch` in a real tmux: its screens as a person sees them, in large and in small panes, and its end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("watching.py")
PATIENCE_S = 60.0


@dataclass
class Pane:
    """A pane of a tmux server of its own."""

    socket: Path
    directory: Path

    def tmux(self, *words: str) -> str:
        argv = ["tmux", "-S", str(self.socket), "-f", str(self.directory / "tmux.conf"), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout

    def begin(self, *words: str, columns: int, rows: int) -> None:
        paths = os.pathsep.join(str(ROOT / part) for part in ("", "tests", "bootstrap/guest"))
        # tmux does not always learn of a status; this shell does.
        telling = ["sh", "-c", 'trap : INT; "$@"; echo $? >"$0"', str(self.directory / "status")]
        program = ["env", f"PYTHONPATH={paths}", f"HOME={self.directory}", "TZ=UTC", sys.executable, str(PROGRAM)]
        command = [*telling, *program]
        (self.directory / "tmux.conf").write_text("set -g status off\nset -g remain-on-exit on\n")
        size = ("-x", str(columns), "-y", str(rows))
        self.tmux("new-session", "-d", *size, "--", *command, str(self.directory), *words)

    def go_on(self, turn: int) -> None:
        (self.directory / f"go.{turn}").touch()

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p").rstrip("\n")

    def status(self) -> str:
        """The exit status of the program, once it has ended."""
        path, end = self.directory / "status", time.monotonic() + PATIENCE_S
        while not (path.exists() and path.read_text()):
            assert time.monotonic() < end, f"it goes on\n{self.screen()}"
            time.sleep(0.1)
        return path.read_text().strip()

    def wait(self, what: str) -> str:
        """The screen once it shows something."""
        end = time.monotonic() + PATIENCE_S
        while what not in (shown := self.screen()):
            assert time.monotonic() < end, f"never shown: {what}\n{shown}"
            time.sleep(0.1)
        return shown


@pytest.fixture
def pane(tmp_path: Path) -> Iterator[Pane]:
    pane = Pane(tmp_path / "tmux", tmp_path)
    yield pane
    subprocess.run(["tmux", "-S", str(pane.socket), "kill-server"], capture_output=True, check=False)


def test_the_screen_is_the_one_in_the_documentation_and_keeps_up(
    pane: Pane, golden: Callable[[str, str], None]
) -> None:
    pane.begin("status", "--watch", columns=100, rows=14)
    first = pane.wait("Ctrl-C ends it")
    golden("tables/watch.txt", first + "\n")
    assert first in (ROOT / "docs/policy.md").read_text()
    pane.go_on(1)
    pane.go_on(2)
    later = pane.wait("6.2 of 16 GiB")
    # Drawn over the first one, and nothing of that is left.
    assert len(later.splitlines()) == len(first.splitlines())
    assert later.count("crab-1") == first.count("crab-1")
    assert later.splitlines()[0] != first.splitlines()[0]


def test_in_a_small_pane_it_is_cut_and_does_not_scroll(pane: Pane) -> None:
    pane.begin("status", "--watch", columns=50, rows=6)
    shown = pane.wait("lines more")
    assert len(shown.splitlines()) <= 6
    assert shown.splitlines()[0].startswith("2026-11-20T")
    assert pane.tmux("display-message", "-p", "#{history_size}").strip() == "0"


def test_ctrl_c_ends_it_with_130(pane: Pane) -> None:
    pane.begin("status", "--watch", columns=100, rows=20)
    pane.wait("Ctrl-C ends it")
    pane.tmux("send-keys", "C-c")
    assert "Ctrl-C ends it" in pane.wait("\nError: Interrupted")
    assert pane.status() == "130"
