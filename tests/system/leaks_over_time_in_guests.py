"""Leaks over time in real guests: of three clones one leaks slowly, one in bursts, one merely caches.

Run by name, as it takes a quarter of an hour: pytest tests/system/leaks_over_time_in_guests.py
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import FULL_CONFIG, User

pytestmark = pytest.mark.full_guest

SLOW, BURSTS, CACHES = NAMES = ("creek-1", "creek-2", "creek-3")
# Of 768 MiB: both have some ten minutes to the end, where the guest itself would end them, and are to be told before.
LEAK = """
import time
kept = []
while True:
    kept.append(bytearray(b"x" * ({mib} << 20)))
    time.sleep({every_s})
"""
WORK = """
set -e
mkdir -p ~/work/repos/notes && cd ~/work/repos/notes
git init -q . && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m begun
echo 'an hour of work' > notes.txt
sync
"""
PATIENCE_S = 900.0


@pytest.fixture(scope="module")
def creeks(owner: User, river: str) -> Iterator[User]:
    """Three clones of the full guest; samples are taken from the moment when they are ready."""
    owner.configure(FULL_CONFIG)
    owner.run("create", river, "creek", "-n", "3")
    for name in NAMES:
        owner.shell(name, WORK)
    yield owner
    owner.run("delete", "creek-*", "--yes")


def leak(owner: User, name: str, *, mib: int, every_s: float) -> None:
    program = shlex.quote(LEAK.format(mib=mib, every_s=every_s))
    owner.shell(name, f"nohup python3 -c {program} >/dev/null 2>&1 </dev/null &")


def verdicts(owner: User, *options: str) -> dict[str, dict[str, Any]]:
    """What a survey by statistics alone says, by clone."""
    return {clone["name"]: clone for clone in owner.json("survey", "--ask", "none", *options)["clones"]}


def test_leaks_are_told_from_caches_molted_and_their_work_is_rescued(creeks: User) -> None:
    owner = creeks
    tops = {name: owner.lab.virsh("domblklist", name) for name in NAMES}
    leak(owner, SLOW, mib=1, every_s=1)
    leak(owner, BURSTS, mib=40, every_s=45)
    owner.shell(CACHES, "sudo dd if=/dev/vda of=/dev/null bs=1M count=2000 status=none &")
    end = time.monotonic() + PATIENCE_S
    alarms = {"leaking", "critical"}
    while True:
        found = verdicts(owner, "--record")
        if {found[name]["verdict"] for name in (SLOW, BURSTS)} <= alarms:
            break
        assert time.monotonic() < end, found
        time.sleep(10)
    assert found[CACHES]["verdict"] in ("ok", "growing"), found[CACHES]
    decisions = {one["clone"]: one for one in owner.json("molt", "--leaking", "--dry-run")["decisions"]}
    assert decisions[CACHES]["act"] == "leave", decisions
    assert tops == {name: owner.lab.virsh("domblklist", name) for name in NAMES}, "a dry run changes nothing"
    acts = {act["clone"]: act for act in owner.json("molt", "--leaking", "--yes")["results"]}
    assert {name: act["outcome"] for name, act in acts.items()} == {SLOW: "molted", BURSTS: "molted"}, acts
    assert {rescue["clone"] for rescue in owner.json("rescue", "list")["rescues"]} >= {SLOW, BURSTS}
    for name in (SLOW, BURSTS):
        assert owner.shell(name, "ls ~/work/repos/notes 2>/dev/null || echo gone") == "gone"
    assert owner.shell(CACHES, "cat ~/work/repos/notes/notes.txt") == "an hour of work"
    # Another story has begun, and cools down.
    again = owner.json("molt", "--leaking", "--dry-run")["decisions"]
    assert {one["act"] for one in again} <= {"leave", "report"}, again


def test_a_guest_that_crashes_is_down_and_is_started_again(creeks: User) -> None:
    owner = creeks
    owner.shell(CACHES, "sync; (sleep 1; echo c | sudo tee /proc/sysrq-trigger) >/dev/null 2>&1 &", check=False)
    end = time.monotonic() + 120
    while (found := verdicts(owner)[CACHES])["verdict"] != "down":
        assert time.monotonic() < end, found
        time.sleep(2)
    assert found["reason"] == "off, and should run: it crashed"
    acts = {act["clone"]: act for act in owner.json("molt", "--leaking", "--yes")["results"]}
    assert acts[CACHES]["outcome"] == "started", acts
    assert owner.shell(CACHES, "cat ~/work/repos/notes/notes.txt") == "an hour of work"


def test_one_that_somebody_paused_is_reported_and_left_paused(creeks: User) -> None:
    owner = creeks
    owner.lab.virsh("suspend", CACHES)
    try:
        assert verdicts(owner)[CACHES]["reason"] == "paused by hand"
        (decision,) = (
            one for one in owner.json("molt", "--leaking", "--dry-run")["decisions"] if one["clone"] == CACHES
        )
        assert decision["act"] == "report"
    finally:
        owner.lab.virsh("resume", CACHES)


def test_statistics_are_of_now_and_agree_with_the_guest(creeks: User) -> None:
    owner = creeks
    time.sleep(15)
    told = verdicts(owner)[CACHES]
    total = int(owner.shell(CACHES, "awk '/^MemTotal/ {print $2}' /proc/meminfo")) * 1024
    available = int(owner.shell(CACHES, "awk '/^MemAvailable/ {print $2}' /proc/meminfo")) * 1024
    assert told["total_bytes"] == total
    assert abs(told["used_bytes"] - (total - available)) < 64 << 20
    assert told["disk_bytes"] > 1 << 20
    assert told["resident_bytes"] > 100 << 20
