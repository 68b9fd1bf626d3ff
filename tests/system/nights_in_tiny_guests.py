"""To be run by name. Nights on the real hypervisor: what they molt, what they are told after kill -9, and bad days.

Tiny guests have no health check, so they are only molted when they are critical, by what their balloons tell: a file in
memory makes them that, and a molt takes it away.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moltfleet.model.effects import Effect

from . import soundness
from .conftest import LONGEST_S, TINY_CONFIG, User

KILLED = Path(__file__).with_name("killed.py")
KILLED_NIGHT = Path(__file__).with_name("killed_night.py")
NAMES = ("dusk", "dawn")
# A clean tiny guest has a fifth of its memory in use, and with the file (its /dev/shm holds half of it) three fifths.
POLICY = """
[policy]
leaking_percent = 45
critical_percent = 50
cooldown_minutes = 0
guest_seconds = 2
[nightly]
keep = 1000
[rescue]
roots = []
paths = []
"""
# A login shell that says this, whatever it is asked: without an end, or what would take a terminal over.
GARBAGE = "exec dd if=/dev/urandom bs=1M count=1024 2>/dev/null"
ESCAPES = r"while :; do printf '\033]0;owned\007\033[2Jyes\r\n{\"schema\": 1}\n'; done | dd bs=1M count=64 2>/dev/null"
MOST_TEXT = 64 << 10
FILE = "dd if=/dev/zero of=/dev/shm/leak bs=1M count=64 2>/dev/null && echo dirty >~/word && sync"
# A night of two molts writes its journal eighteen times, and the last time it is over.
WRITES = range(1, 18)


@pytest.fixture(scope="module")
def clones(alice: User, tiny: str) -> Iterator[tuple[str, ...]]:
    for name in NAMES:
        alice.run("create", tiny, name)
    yield NAMES
    alice.lab.control("up")
    for name in NAMES:
        alice.run("delete", name, "--yes")


@pytest.fixture
def keeper(alice: User, clones: tuple[str, ...]) -> User:
    """Alice with that policy."""
    return User(alice.lab, alice.name, settings=("--config", alice.write("nights.toml", TINY_CONFIG + POLICY)))


def planned(user: User) -> list[dict[str, str]]:
    """What a night would do with each clone."""
    lines = user.json("nightly", "--dry-run")["lines"]
    return [{"clone": line.split(":")[0], "act": line.split(": ")[1].split(",")[0]} for line in lines]


def last_night(user: User) -> dict[str, Any]:
    found = user.json("list")["last_night"]
    assert found is not None
    return found


def by_clone(night: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {clone["clone"]: clone for clone in night["clones"]}


def leak(user: User) -> None:
    """Let every clone leak, until libvirt tells."""
    for name in NAMES:
        user.shell(name, FILE)
    deadline = time.monotonic() + LONGEST_S / 4
    while {one["act"] for one in planned(user)} != {"molt"}:
        assert time.monotonic() < deadline, planned(user)
        time.sleep(2)


def is_clean(user: User, name: str) -> bool:
    return user.shell(name, "cat ~/word 2>/dev/null || echo none") == "none"


def kill(user: User, program: Path, when: str) -> None:
    """Run a night that must die."""
    argv = user.lab.argv((sys.executable, str(program), when, *user.settings, "nightly", "--yes"), user=user.name)
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    assert done.returncode in (-9, 137), f"it was not killed at {when}: {done.stdout}{done.stderr}"


def next_night_completes(user: User) -> None:
    """The last one is told as interrupted, by a true journal; the next takes it up, and the fleet is clean."""
    assert last_night(user)["outcome"] == "interrupted"
    left = user.json("nightly", "--report")
    claimed = [clone for clone in left["clones"] if clone["state"] == "done"]
    assert all(is_clean(user, clone["clone"]) for clone in claimed)
    night = user.json("nightly", "--yes")
    assert (night["outcome"], night["failures"], night["continues"]) == ("ok", [], left["started_at"])
    # What the first did not come to, the second did.
    assert all(is_clean(user, name) for name in NAMES)
    soundness.check(user.lab)


def test_a_night_molts_and_reports(keeper: User) -> None:
    leak(keeper)
    night = keeper.json("nightly", "--yes")
    assert night["outcome"] == "ok", night
    assert {one["clone"]: (one["state"], one["mode"]) for one in night["clones"]} == {
        "dusk": ("done", "warm"),
        "dawn": ("done", "warm"),
    }
    assert all(is_clean(keeper, name) for name in NAMES)
    assert keeper.lab.out("cat", night["report"]).startswith(f"# The night of {night['started_at']} went well")
    assert night["unexplained"] == []
    soundness.check(keeper.lab)


@pytest.mark.parametrize("write", WRITES)
def test_killed_when_its_journal_was_written(keeper: User, write: int) -> None:
    leak(keeper)
    kill(keeper, KILLED_NIGHT, str(write))
    next_night_completes(keeper)


@pytest.mark.parametrize("effect", [effect for effect in Effect if effect.startswith("molt.")])
def test_killed_within_a_molt(keeper: User, effect: Effect) -> None:
    leak(keeper)
    kill(keeper, KILLED, effect)
    next_night_completes(keeper)


def test_a_second_night_is_refused_while_one_is_under_way(keeper: User) -> None:
    leak(keeper)
    first = keeper.start("nightly", "--yes")
    deadline = time.monotonic() + LONGEST_S / 4
    while last_night(keeper)["outcome"] != "running":
        assert time.monotonic() < deadline and first.poll() is None
    refused = keeper.run("nightly", "--yes", code=4)
    assert "moltfleet nightly --report" in refused.stderr
    assert first.wait(LONGEST_S) == 0


def test_libvirtd_is_restarted_in_the_middle(keeper: User) -> None:
    leak(keeper)
    night = keeper.start("nightly", "--yes", "--json")
    time.sleep(2)
    keeper.lab.control("restart-libvirtd")
    night.communicate(timeout=LONGEST_S)
    assert last_night(keeper)["outcome"] in ("ok", "failed")
    again = keeper.json("nightly", "--yes")
    assert again["outcome"] == "ok", again
    soundness.check(keeper.lab)


def test_a_guest_that_hangs_and_a_qemu_that_is_killed(keeper: User) -> None:
    """A processor that stands still answers nobody; a QEMU killed from outside leaves a clone that is down."""
    keeper.shell("dusk", "sync")
    keeper.lab.run("sh", "-c", "kill -STOP $(pgrep -f '[g]uest=dusk,') && kill -KILL $(pgrep -f '[g]uest=dawn,')")
    try:
        night = keeper.json("nightly", "--yes")
    finally:
        keeper.lab.run("sh", "-c", "kill -CONT $(pgrep -f '[g]uest=dusk,') || true")
    found = by_clone(night)
    assert (found["dawn"]["act"], found["dawn"]["state"]) == ("start", "done")
    assert keeper.json("nightly", "--yes")["outcome"] == "ok"
    soundness.check(keeper.lab)


def replace_shell(user: User, name: str, line: str) -> None:
    """Let every login of the clone answer with that, from now on."""
    shell = f"#!/bin/sh\n{line}\n"
    script = (
        "cat >/bin/garbage && chmod 755 /bin/garbage && echo /bin/garbage >>/etc/shells && "
        "sed -i 's,^\\(agent:.*:\\)[^:]*$,\\1/bin/garbage,' /etc/passwd && sync"
    )
    argv = user.argv("ssh", name, "--", "sudo", "sh", "-c", script)
    subprocess.run(argv, input=shell, capture_output=True, text=True, timeout=LONGEST_S, check=True)


@pytest.mark.parametrize("line", [GARBAGE, ESCAPES], ids=["a gibibyte", "escapes"])
def test_a_guest_that_answers_with_garbage_is_molted_and_the_report_is_readable(keeper: User, line: str) -> None:
    leak(keeper)
    replace_shell(keeper, "dusk", line)
    night = keeper.json("nightly", "--yes")
    found = by_clone(night)
    assert {name: found[name]["state"] for name in NAMES} == {"dusk": "done", "dawn": "done"}, night
    # It could not be asked what it has that is worth keeping, so all of it is kept.
    assert found["dusk"]["kept"], night
    text = keeper.lab.out("cat", night["report"])
    assert "owned" not in text and "\x1b" not in text
    assert len(text) < MOST_TEXT
    assert all(is_clean(keeper, name) for name in NAMES)
    soundness.check(keeper.lab)


def test_a_guest_whose_disk_is_full_is_molted(keeper: User) -> None:
    leak(keeper)
    full = keeper.shell("dusk", "cat /dev/zero >~/fill; sync; df -P / | tail -1", check=False)
    assert "100%" in full, full
    night = keeper.json("nightly", "--yes")
    assert by_clone(night)["dusk"]["state"] == "done", night
    assert all(is_clean(keeper, name) for name in NAMES)
    soundness.check(keeper.lab)
