"""vm-health-check on this machine: its /proc, a terminal, processes with names that nobody should have."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

GUEST = Path(__file__).parents[3] / "bootstrap/guest"
PROGRAM = ["/usr/bin/python3", "-IS", str(GUEST / "bin/vm-health-check")]
LONGEST_S = 60
CONTROL = {chr(code) for code in (*range(32), *range(127, 160))} - {"\n"}


def look(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *words], capture_output=True, text=True, timeout=LONGEST_S, **options)  # type: ignore[call-overload, no-any-return]


def on_a_terminal(**environment: str) -> str:
    """What the program writes when its standard output is a terminal."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(PROGRAM, stdout=theirs, env={"PATH": "/usr/bin", "TERM": "xterm"} | environment)
        os.close(theirs)
        deadline, text = time.monotonic() + LONGEST_S, b""
        while time.monotonic() < deadline and (select.select([ours], [], [], 0.2)[0] or process.poll() is None):
            try:
                text += os.read(ours, 65536)
            except OSError:
                break
        assert process.wait(timeout=LONGEST_S) in (0, 1, 2)
        return text.decode()
    finally:
        os.close(ours)


def test_this_machine_is_looked_at() -> None:
    done = look("--json")
    report = json.loads(done.stdout)
    memory = dict(line.split()[:2] for line in Path("/proc/meminfo").read_text().splitlines())

    assert done.returncode in (0, 1, 2)
    assert done.stderr == ""
    assert report["schema"] == "moltfleet.guest-health/1"
    assert report["memory"]["total"] == int(memory["MemTotal:"]) * 1024
    assert 0 < report["memory"]["available"] <= report["memory"]["total"]
    assert report["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (processes,) = [count for count in report["counts"] if (count["what"], count["where"]) == ("processes", "")]
    assert processes["used"] >= 2
    assert report["places"][0]["path"] == "/"


def test_colors_are_for_terminals_only() -> None:
    assert "\x1b[" in on_a_terminal()
    assert "\x1b" not in on_a_terminal(NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(TERM="dumb")
    piped = look("--trend")
    assert CONTROL & set(piped.stdout) == set()
    assert max(map(len, piped.stdout.splitlines())) <= 80


def test_it_looks_again_until_it_is_interrupted() -> None:
    process = subprocess.Popen(
        [*PROGRAM, "--watch", "1", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    first, second = json.loads(process.stdout.readline()), json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)

    assert process.wait(timeout=LONGEST_S) == 130
    assert process.stderr.read() == ""
    assert 0.9 < second["uptime_s"] - first["uptime_s"] < 50
    process.stdout.close()
    process.stderr.close()


def test_a_reader_that_goes_away_is_no_failure() -> None:
    process = subprocess.Popen([*PROGRAM, "--watch", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()

    assert process.wait(timeout=LONGEST_S) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Path]:
    """An agent in a directory whose name is a screen of its own, with 4,000 letters of arguments."""
    home = tmp_path / ("\x1b[2J\n\x1b[31mHEALTH: ok\n" + "x" * 200)
    home.mkdir()
    program = home / "claude"
    shutil.copy("/usr/bin/sleep", program)
    process = subprocess.Popen(["\x1b]0;owned\x07\n" + "y" * 4000, "100"], executable=program, cwd=home)
    yield program
    process.kill()
    process.wait()


def test_names_of_real_processes_reach_no_terminal(hostile: Path) -> None:
    report = json.loads(look("--json").stdout)
    text = look("--trend").stdout

    assert "claude" in [agent["name"] for agent in report["agents"] if agent["scope"] == ""]
    assert CONTROL & set(text) == set()
    assert "owned" not in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.fixture
def readable() -> Iterator[Path]:
    """The tools where every user can read them."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        shutil.copytree(GUEST, directory / "guest", ignore=shutil.ignore_patterns("__pycache__"))
        yield directory / "guest/bin/vm-health-check"


def test_somebody_without_rights_sees_what_there_is_to_see_and_what_is_not(readable: Path) -> None:
    # Whoever is not root has no rights to give up.
    somebody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    argv = [*somebody, "/usr/bin/python3", "-IS", str(readable), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LONGEST_S)
    report = json.loads(done.stdout)

    assert done.returncode in (0, 1, 2)
    assert done.stderr == ""
    assert "not root: other users' executables, open files and sessions are not seen" in report["unseen"]


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of tmux of our own, with a session whose name and directory are no words of a shell."""
    monkeypatch.delenv("TMUX_TMPDIR", raising=False)
    name, directory = f"moltfleet-test-{os.getpid()}", tmp_path / "a b'c"
    directory.mkdir()
    tmux = ["tmux", "-L", name, "-f", "/dev/null"]
    subprocess.run([*tmux, "new-session", "-d", "-s", "crab $(x) 'y'", "-c", directory, "sleep 100"], check=True)
    yield name
    subprocess.run([*tmux, "kill-server"], check=True)


def test_a_real_session_is_told_with_what_runs_in_it(session: str) -> None:
    found = [one for one in json.loads(look("--json").stdout)["sessions"] if one["server"] == session]
    (one,) = found
    assert (one["name"], one["program"], one["attached"]) == ("crab $(x) 'y'", "sleep", False)
    assert one["directory"].endswith("/a b'c")
    assert 0 <= one["idle_s"] < LONGEST_S
