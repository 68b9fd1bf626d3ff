"""A process number given anew between the watchdog's choice and its signal: real processes, numbers and pidfds.

The kernel is told which number comes next, so that a bystander really gets the victim's: same program, same memory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fakes.guesttree import Events
from moltguest import settings
from moltguest.backoff import Backoff
from moltguest.watchdog.choice import Verdict
from moltguest.watchdog.guard import Guard, World
from moltguest.watchdog.signals import Handle, PidfdSignals

LAST = Path("/proc/sys/kernel/ns_last_pid")
HOLD = """
import sys, time
kept = bytearray(b"x") * (int(sys.argv[1]) << 20)
print("there", flush=True)
time.sleep(120)
"""
MIB = 140


class People:
    """Processes of one program that nothing else on this machine runs; all end with the test."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        """Start one that holds its memory when this returns."""
        argv = [str(self._program), "-I", "-S", "-c", HOLD, str(MIB)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        self._started.append(process)
        assert process.stdout is not None and process.stdout.readline() == b"there\n"
        return process

    def replace(self, victim: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """End one, and give its number to another."""
        victim.kill()
        victim.wait()
        # On a machine where others start processes, too, somebody may be faster.
        for _ in range(200):
            LAST.write_text(str(victim.pid - 1))
            process = self.start()
            if process.pid == victim.pid:
                return process
            process.kill()
            process.wait()
        raise AssertionError("the number could not be had")

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()


class Between(PidfdSignals):
    """Real signals; something happens before or after the first process is held on to."""

    def __init__(self, *, before: Callable[[], object] = int, after: Callable[[], object] = int) -> None:
        self._before, self._after = [before], [after]

    def open(self, pid: int) -> Handle | None:  # type: ignore[override]
        while self._before:
            self._before.pop()()
        handle = super().open(pid)
        while self._after:
            self._after.pop()()
        return handle


@pytest.fixture
def people(tmp_path: Path) -> Iterator[People]:
    program = tmp_path / "leaker"
    shutil.copy(os.path.realpath(sys.executable), program)
    people = People(program)
    yield people
    people.end()


@pytest.fixture
def guard(tmp_path: Path) -> Callable[[PidfdSignals, Events], Guard]:
    """A watchdog over this machine that may end that program and nothing else, at 100 MiB."""
    conf = tmp_path / "guest.conf"
    conf.write_text(f"AGENTS=\nAGENT_PATHS={tmp_path}/leaker\nWATCHDOG_WARN_MB=64\nWATCHDOG_KILL_MB=100\n")

    def make(signals: PidfdSignals, log: Events) -> Guard:
        backoff = Backoff(str(tmp_path), "boot")
        read = lambda: settings.read_file(str(conf))  # noqa: E731
        world = World("/", str(tmp_path), time.monotonic, signals, log, backoff, read, tell=lambda *_: True)
        return Guard(world, dry=False)

    return make


@pytest.mark.parametrize("moment", ["before", "after"])
def test_whoever_got_the_victims_number_gets_no_signal(
    people: People, guard: Callable[[PidfdSignals, Events], Guard], moment: str
) -> None:
    victim, log = people.start(), Events()
    others: list[subprocess.Popen[bytes]] = []
    signals = Between(**{moment: lambda: others.append(people.replace(victim))})

    guard(signals, log).tick()

    (other,) = others
    assert other.pid == victim.pid
    outcome = log.of("outcome")[0].fields
    assert (outcome["pid"], outcome["result"], outcome["signals"]) == (victim.pid, "changed", "")
    # SIGTERM would have ended it.
    with pytest.raises(subprocess.TimeoutExpired):
        other.wait(timeout=1)


def test_the_one_that_still_has_its_number_gets_its_signal(
    people: People, guard: Callable[[PidfdSignals, Events], Guard]
) -> None:
    victim = people.start()
    guard(Between(), Events()).tick()
    assert victim.wait(timeout=20) == -15


def test_the_signal_itself_cannot_reach_whoever_got_the_number(
    people: People, guard: Callable[[PidfdSignals, Events], Guard], monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = people.start()
    others: list[subprocess.Popen[bytes]] = []
    watchdog = guard(PidfdSignals(), Events())
    last_check = watchdog.census.is_still_over

    def then_replace(verdict: Verdict, now: float) -> bool:
        is_over = last_check(verdict, now)
        others.append(people.replace(victim))
        return is_over

    monkeypatch.setattr(watchdog.census, "is_still_over", then_replace)
    watchdog.tick()

    assert others[0].pid == victim.pid
    with pytest.raises(subprocess.TimeoutExpired):
        others[0].wait(timeout=1)
