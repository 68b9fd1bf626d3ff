"""Locks and reservations between real processes, and between real users when the tests run as root.

Without root the same processes run as the one user there is; what another user may and may not is then shown by the
unit tests of the directory's rules alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

IS_ROOT = os.getuid() == 0
ALICE, BOB, EVE = (4301, 4302, 4303) if IS_ROOT else (os.getuid(),) * 3
GROUP = 4300 if IS_ROOT else os.getgid()
Holder = subprocess.Popen[str]
Start = Callable[..., Holder]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory like /run/lock: open to all, sticky, and reachable for every user."""
    made = Path(tempfile.mkdtemp(prefix="moltfleet-test-"))
    made.chmod(0o1777)
    for program in ("holder.py", "reserver.py"):
        shutil.copy(Path(__file__).with_name(program), made / program)
        (made / program).chmod(0o644)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def launch(place: Path) -> Iterator[Start]:
    """Run one of our programs as a user, with words of its own."""
    running: list[Holder] = []

    def begin(program: str, user: int, *words: str, is_member: bool = True) -> Holder:
        common = [str(place / program), str(place / "locks"), str(GROUP), f"{ALICE},{BOB}"]
        argv = [*_as_user(user, is_member=is_member), sys.executable, *common, *words]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.wait(10)
        process.stdout.close()


@pytest.fixture
def start(launch: Start) -> Start:
    """Start a process of a user that tries to hold a lock."""

    def begin(user: int, name: str = "crab-1", verb: str = "molt", *, is_member: bool = True) -> Holder:
        return launch("holder.py", user, name, verb, is_member=is_member)

    return begin


def _as_user(user: int, *, is_member: bool) -> list[str]:
    if not IS_ROOT:
        return []
    groups = ["--groups", str(GROUP)] if is_member else ["--clear-groups"]
    return ["setpriv", "--reuid", str(user), "--regid", str(user), *groups]


def answer(process: Holder) -> str:
    return process.stdout.readline().strip()


def let_go(process: Holder) -> None:
    process.stdin.close()
    process.wait(10)


def test_the_second_process_is_told_who_holds_the_lock(start):
    first = start(ALICE)
    assert answer(first) == "held"
    refusal = answer(start(ALICE))
    assert refusal.startswith("'crab-1' is being molted by ") and f"(pid {first.pid}, since " in refusal
    let_go(first)
    assert answer(start(ALICE)) == "held"


def test_a_lock_of_a_killed_holder_is_free_at_once(start):
    first = start(ALICE)
    assert answer(first) == "held"
    os.kill(first.pid, signal.SIGKILL)
    first.wait(10)
    assert answer(start(BOB)) == "held"


def test_two_members_see_each_other_s_locks_whoever_came_first(start, place):
    first = start(ALICE)
    assert answer(first) == "held"
    assert f"(pid {first.pid}, since " in answer(start(BOB, verb="delete"))
    let_go(first)
    second = start(BOB, verb="delete")
    assert answer(second) == "held"
    assert answer(start(ALICE)).startswith("'crab-1' is being deleted by ")
    assert (place / "locks").stat().st_mode & 0o7777 == 0o2770
    assert (place / "locks").stat().st_gid == GROUP
    assert (place / "locks/crab-1.lock").stat().st_mode & 0o7777 == 0o660


def test_root_and_members_see_each_other_s_locks(start):
    root = start(0) if IS_ROOT else start(ALICE)
    assert answer(root) == "held"
    assert f"(pid {root.pid}, since " in answer(start(BOB))
    let_go(root)
    assert answer(start(BOB)) == "held"
    assert "is being molted by" in answer(start(0) if IS_ROOT else start(ALICE))


def test_whoever_is_no_member_is_kept_out_and_told_what_to_do(start):
    first = start(ALICE)
    assert answer(first) == "held"
    outsider = answer(start(EVE, is_member=False))
    expected = "is closed to this user" if IS_ROOT else f"(pid {first.pid}, since "
    assert expected in outsider


def test_a_directory_planted_by_a_stranger_is_refused(start, place):
    (place / "locks").mkdir(mode=0o777)
    (place / "locks").chmod(0o2777)
    if IS_ROOT:
        os.chown(place / "locks", EVE, GROUP)
    result = answer(start(ALICE))
    # One's own directory is repaired, a stranger's is not touched.
    assert (result == "held") is not IS_ROOT
    if IS_ROOT:
        assert result == f"Lock directory {place / 'locks'} is writable by everybody"
        (place / "locks").chmod(0o2770)
        assert answer(start(ALICE)) == f"Lock directory {place / 'locks'} belongs to user '{EVE}'"


def test_of_many_processes_at_once_one_holds_the_lock(start):
    rivals = [start(user) for user in (ALICE, BOB) * 5]
    answers = [answer(rival) for rival in rivals]
    assert answers.count("held") == 1
    assert all(line == "held" or line.startswith("'crab-1' is ") for line in answers)


def test_processes_take_turns_without_ever_being_inside_together(place):
    """Each of four processes adds one to a number in a file, fifty times, under the lock."""
    counter = place / "counter"
    counter.write_text("0")
    program = f"""
from pathlib import Path
from moltfleet.adapters.clock import SystemClock
from moltfleet.adapters.locks import FileLocks
counter = Path({str(counter)!r})
locks = FileLocks(Path({str(place / "own")!r}), SystemClock(), is_shared=False)
for _ in range(50):
    with locks.hold("counter", verb="count", wait_s=60):
        counter.write_text(str(int(counter.read_text()) + 1))
"""
    workers = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(4)]
    assert [worker.wait(120) for worker in workers] == [0] * 4
    assert counter.read_text() == "200"


def test_a_program_started_under_a_lock_does_not_keep_it(place):
    program = f"""
import subprocess
from pathlib import Path
from moltfleet.adapters.clock import SystemClock
from moltfleet.adapters.locks import FileLocks
locks = FileLocks(Path({str(place / "own")!r}), SystemClock(), is_shared=False)
with locks.hold("crab-1", verb="molt"):
    child = subprocess.Popen(["sleep", "30"], stdout=subprocess.DEVNULL)
print(child.pid, locks.is_held("crab-1"))
"""
    out = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True)
    child, held = out.stdout.split()
    os.kill(int(child), signal.SIGKILL)
    assert held == "False"


def test_of_ten_starts_at_once_by_two_users_as_many_get_room_as_fit(launch):
    rivals = [launch("reserver.py", (ALICE, BOB)[number % 2], f"crab-{number}") for number in range(10)]
    answers = [answer(rival) for rival in rivals]
    assert answers.count("kept") == 3
    kept = {f"crab-{number}:{rivals[number].pid}" for number, line in enumerate(answers) if line == "kept"}
    # Everybody else was shown exactly those three, whoever they belong to.
    assert [set(line.split()[1:]) for line in answers if line != "kept"] == [kept] * 7


def test_room_kept_by_a_killed_process_is_free_at_once(launch):
    kept = [launch("reserver.py", ALICE, f"crab-{number}") for number in range(3)]
    assert [answer(process) for process in kept] == ["kept"] * 3
    assert answer(launch("reserver.py", BOB, "crab-3")).startswith("refused ")
    os.kill(kept[0].pid, signal.SIGKILL)
    kept[0].wait(10)
    assert answer(launch("reserver.py", BOB, "crab-3")) == "kept"
