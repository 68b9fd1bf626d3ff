"""The watchdog on this machine, with real processes and signals; it may end one executable only, which is made here.

No cgroup is needed: the leaking process runs in no scope, and the watchdog polls.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / "bootstrap/guest/bin/moltfleet-watchdog"
MIB = 1 << 20
TERM_MIB = 120
LEAK = """
import signal, sys, time
if {deaf}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
kept = []
go = []
signal.signal(signal.SIGUSR1, lambda *_: go.append(1))
while {waits} and not go:
    time.sleep(0.01)
while len(kept) * 4 < {most}:
    kept.append(bytearray(b"x") * (4 << 20))
    time.sleep({pause})
time.sleep(120)
"""

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def leaker(tmp_path: Path) -> Path:
    """An interpreter at a path that nothing else on this machine has."""
    path = tmp_path / "leaker"
    shutil.copy(os.path.realpath(sys.executable), path)
    return path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a leak of ``most`` MiB, at once or when it gets SIGUSR1; whatever was started is gone after the test."""
    started = []

    def begin(
        program: Path, *words: str, most: int, deaf: bool = False, pause: float = 0.02, waits: bool = False
    ) -> object:
        text = LEAK.format(deaf=deaf, most=most, pause=pause, waits=waits)
        process = subprocess.Popen([str(program), "-I", "-S", "-c", text, *words])
        started.append(process)
        return process

    yield begin  # type: ignore[misc]
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def watch(tmp_path: Path, leaker: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start the watchdog over this machine, allowed to end the leaker and nothing else."""
    conf = tmp_path / "guest.conf"
    conf.write_text(f"AGENTS=\nAGENT_PATHS={leaker}\nWATCHDOG_WARN_MB=64\nWATCHDOG_KILL_MB={TERM_MIB}\n")
    started = []

    def begin() -> subprocess.Popen[bytes]:
        argv = ["/usr/bin/python3", "-IS", str(PROGRAM), "--config", str(conf), "--state", str(tmp_path)]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        started.append(process)
        wait_until(lambda: (tmp_path / "run/moltfleet/watchdog/state.json").exists())
        return process

    yield begin
    for process in started:
        process.terminate()
        assert process.wait(timeout=20) == 0
        assert process.stderr is not None and process.stderr.read() == b""


def wait_until(is_so: Callable[[], object], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)


def state(directory: Path) -> dict[str, object]:
    read: dict[str, object] = json.loads((directory / "run/moltfleet/watchdog/state.json").read_text())
    return read


def last(directory: Path) -> dict[str, object]:
    with contextlib.suppress(AssertionError):
        wait_until(lambda: state(directory)["last"], seconds=30)
    found = state(directory)["last"]
    assert isinstance(found, dict)
    return found


def test_a_leak_is_stopped_and_nobody_else_is(
    tmp_path: Path, leaker: Path, watch: Callable[[], subprocess.Popen[bytes]], start: Start
) -> None:
    bystander = tmp_path / "bystander"
    shutil.copy(leaker, bystander)
    # The same memory, and the leaker's name in its arguments.
    other = start(bystander, str(leaker), "claude", most=200, pause=0)
    leaking = start(leaker, most=2000, waits=True)
    watch()
    wait_until(lambda: state(tmp_path)["groups"])
    leaking.send_signal(signal.SIGUSR1)

    # 200 MiB a second, or what this machine makes of it.
    assert leaking.wait(timeout=60) == -signal.SIGTERM

    found = last(tmp_path)
    assert (found["pid"], found["result"], found["signals"]) == (leaking.pid, "ended", "SIGTERM")
    # A poll of 5 s would be 1000 MiB late.
    assert TERM_MIB * MIB <= int(str(found["peak"])) < (TERM_MIB + 250) * MIB
    assert other.poll() is None
    assert Path(str(found["recording"])).read_text().count("\n") > 2


def test_a_leak_that_does_not_obey_is_killed_with_its_children(
    tmp_path: Path, leaker: Path, watch: Callable[[], subprocess.Popen[bytes]], start: Start
) -> None:
    leaking = start(leaker, most=TERM_MIB + 20, deaf=True, pause=0)
    watch()

    assert leaking.wait(timeout=60) == -signal.SIGKILL
    assert last(tmp_path)["signals"] == "SIGTERM SIGKILL"


def test_it_costs_next_to_nothing(
    tmp_path: Path,
    leaker: Path,
    watch: Callable[[], subprocess.Popen[bytes]],
    start: Start,
    record_property: Callable[[str, object], None],
) -> None:
    # The thresholds of a guest of 4 GiB: it looks about once a second.
    (tmp_path / "guest.conf").write_text(f"AGENTS=\nAGENT_PATHS={leaker}\nWATCHDOG_KILL_MB=2150\n")
    start(leaker, most=8, pause=0)
    watchdog = watch()
    time.sleep(2)
    began, spent = time.monotonic(), spent_s(watchdog.pid)
    time.sleep(20)
    share = (spent_s(watchdog.pid) - spent) / (time.monotonic() - began)

    resident_kib = status(watchdog.pid, "VmRSS")
    record_property("resident_kib", resident_kib)
    record_property("cpu_percent", round(100 * share, 3))
    print(f"watchdog: {resident_kib} KiB resident, {100 * share:.3f} % of a processor")
    assert resident_kib <= 16 * 1024
    assert share <= 0.005


def spent_s(pid: int) -> float:
    """Time on a processor, in seconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def test_a_dry_run_looks_once_and_leaves_the_leak_alone(tmp_path: Path, leaker: Path, start: Start) -> None:
    conf = tmp_path / "guest.conf"
    conf.write_text(f"AGENTS=\nAGENT_PATHS={leaker}\nWATCHDOG_WARN_MB=32\nWATCHDOG_KILL_MB=48\n")
    leaking = start(leaker, most=80, pause=0)
    wait_until(lambda: status(leaking.pid, "VmRSS") > 80 * 1024)

    argv = ["/usr/bin/python3", "-IS", str(PROGRAM), "--dry-run", "--once", "--config", str(conf)]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()

    outcome = next(json.loads(line) for line in lines if '"outcome"' in line)
    assert (outcome["pid"], outcome["result"]) == (leaking.pid, "dry-run")
    (group,) = json.loads(lines[-1])["groups"]
    assert group["key"].startswith(f"tree:{leaking.pid}:") and group["contained"] is False
    assert leaking.poll() is None


def test_the_self_test_names_what_it_has_and_lacks() -> None:
    argv = ["/usr/bin/python3", "-IS", str(PROGRAM), "--self-test"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)

    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 9
    assert lines[0] == "ok      the guest's memory can be read"
    assert "ok      signals by pidfd" in lines
