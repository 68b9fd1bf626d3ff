"""Snapshots on a real libvirt and QEMU: frozen while the guest runs, gone back to, killed at every effect.

To be run by name. What is compared is bytes: a skipped layer would show in a file's checksum and nowhere else.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moltfleet.model.effects import Effect

from . import soundness
from .conftest import IMAGES, LONGEST_S, User

KILLED = Path(__file__).with_name("killed.py")
FREEZE = [
    Effect.CLEAN_JOURNALLED,
    Effect.CLEAN_OVERLAID,
    Effect.CLEAN_FROZEN,
    Effect.CLEAN_REDEFINED,
    Effect.CLEAN_RECORDED,
]
SHIFT = [e for e in Effect if e.startswith("molt.") and e is not Effect.MOLT_SHED]


def kill_at(user: User, effect: str, *arguments: str) -> None:
    """Run a command that must die right after ``effect``."""
    argv = user.lab.argv((sys.executable, str(KILLED), effect, *arguments), user=user.name)
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    assert done.returncode in (-9, 137), f"{effect} was not reached: {done.returncode}\n{done.stdout}{done.stderr}"


def write(user: User, clone: str, word: str) -> None:
    """Leave a word, and some bytes of which it is the only seed, so that each state has a checksum of its own."""
    user.shell(clone, f"echo {word} > ~/word && yes {word} | head -c 3000000 > ~/bytes && sync")


def state(user: User, clone: str) -> tuple[str, str]:
    """The word, and the checksum of the bytes that belong to it."""
    text = user.shell(clone, "cat ~/word 2>/dev/null || echo none; sha256sum < ~/bytes 2>/dev/null || echo none")
    word, digest = text.splitlines()
    return word, digest.split()[0]


@pytest.fixture
def shrimp(alice: User, tiny: str) -> Iterator[str]:
    """A clone with snapshot "noon" of the morning's work, and the evening's on top."""
    alice.run("create", tiny, "shrimp")
    write(alice, "shrimp", "morning")
    alice.run("snapshot", "create", "shrimp", "noon")
    write(alice, "shrimp", "evening")
    yield "shrimp"
    alice.run("delete", "shrimp", "--yes")
    soundness.check(alice.lab)


def test_a_snapshot_is_frozen_while_the_guest_runs_and_gone_back_to(alice: User, shrimp: str) -> None:
    boot = alice.shell(shrimp, "cat /proc/sys/kernel/random/boot_id")
    evening = state(alice, shrimp)
    alice.run("snapshot", "create", shrimp, "night")
    assert alice.shell(shrimp, "cat /proc/sys/kernel/random/boot_id") == boot
    assert alice.lab.virsh("snapshot-list", shrimp).strip() == ""
    assert "<backingStore" not in alice.lab.virsh("dumpxml", "--inactive", shrimp).split("</disk>")[0]
    frozen = {name: alice.lab.digest(name) for name in alice.lab.volumes() if name.startswith("shrimp.")}
    (result,) = alice.json("snapshot", "revert", shrimp, "noon", "--yes")["results"]
    assert result["outcome"] == "reverted"
    morning = state(alice, shrimp)
    assert (morning[0], evening[0]) == ("morning", "evening")
    alice.run("post-run", shrimp, "--to", "night", "--yes")
    assert state(alice, shrimp) == evening
    for volume in ("shrimp.clean.qcow2", "shrimp.1.qcow2", "shrimp.2.qcow2"):
        assert alice.lab.digest(volume) == frozen[volume], volume
    (molted,) = alice.json("post-run", shrimp, "--yes")["results"]
    assert (molted["outcome"], molted["mode"]) == ("molted", "warm")
    assert state(alice, shrimp)[0] == "none"
    alice.run("snapshot", "revert", shrimp, "noon", "--yes")
    assert state(alice, shrimp) == morning


def test_nothing_is_skipped_after_a_restart_of_libvirtd(alice: User, shrimp: str) -> None:
    evening = state(alice, shrimp)
    alice.run("pre-run", shrimp)
    alice.lab.control("restart-libvirtd", "--signal", "TERM")
    assert state(alice, shrimp) == evening
    alice.run("stop", shrimp)
    alice.run("start", shrimp)
    assert state(alice, shrimp) == evening
    alice.run("snapshot", "revert", shrimp, "noon", "--yes")
    assert state(alice, shrimp)[0] == "morning"
    alice.run("undo", shrimp)
    assert state(alice, shrimp) == evening


def test_a_clone_that_is_off_and_one_without_an_agent(alice: User, shrimp: str) -> None:
    alice.run("stop", shrimp)
    alice.run("snapshot", "create", shrimp, "asleep")
    assert alice.clone(shrimp)["state"] == "shut off"
    alice.run("start", shrimp)
    assert state(alice, shrimp)[0] == "evening"
    script = alice.write("silent.sh", "#!/bin/sh\nsed -i '1a exec sleep 100000' /usr/lib/tiny/run-agent\n")
    alice.run("golden", "build", "mute", "--image", str(IMAGES / "tiny.qcow2"), "--script", script)
    alice.run("create", "mute", "mute-1")
    write(alice, "mute-1", "before")
    refused = alice.run("pre-run", "mute-1", code=4)
    assert "--offline" in refused.stderr
    alice.run("snapshot", "create", "mute-1", "quiet", "--offline")
    write(alice, "mute-1", "after")
    alice.run("post-run", "mute-1", "--to", "quiet", "--yes")
    assert state(alice, "mute-1")[0] == "before"
    alice.run("delete", "mute-1", "--yes")
    alice.run("golden", "delete", "mute", "--yes")


def test_a_long_chain_is_told_and_flattened(alice: User, shrimp: str) -> None:
    for number in range(8):
        write(alice, shrimp, f"hour{number}")
        told = alice.run("snapshot", "create", shrimp, f"hour-{number}").stderr
    assert "snapshot flatten shrimp" in told
    now = state(alice, shrimp)
    (result,) = alice.json("snapshot", "flatten", shrimp)["results"]
    assert result["outcome"] == "flattened"
    assert state(alice, shrimp) == now
    (chain,) = alice.json("snapshot", "list", shrimp)["chains"]
    assert chain == {"clone": shrimp, "layers": 1, "is_long": False}
    alice.run("snapshot", "revert", shrimp, "hour-3", "--yes")
    assert state(alice, shrimp)[0] == "hour3"
    (molted,) = alice.json("molt", shrimp, "--yes")["results"]
    assert molted["mode"] == "warm"


@pytest.mark.parametrize("effect", FREEZE)
def test_a_snapshot_that_is_killed_is_whole_or_not_there(alice: User, shrimp: str, effect: Effect) -> None:
    evening = state(alice, shrimp)
    kill_at(alice, effect, "snapshot", "create", shrimp, "night")
    alice.run("start", shrimp)
    assert state(alice, shrimp) == evening
    names = [one["name"] for one in alice.json("snapshot", "list", shrimp)["snapshots"]]
    assert names in (["noon"], ["noon", "night"])
    soundness.check(alice.lab)
    write(alice, shrimp, "later")
    back = names[-1]
    alice.run("snapshot", "revert", shrimp, back, "--yes")
    assert state(alice, shrimp)[0] == ("evening" if back == "night" else "morning")


@pytest.mark.parametrize("effect", SHIFT)
def test_a_revert_that_is_killed_loses_nothing(alice: User, shrimp: str, effect: Effect) -> None:
    evening = state(alice, shrimp)
    kill_at(alice, effect, "snapshot", "revert", shrimp, "noon", "--yes")
    alice.run("start", shrimp)
    soundness.check(alice.lab)
    if state(alice, shrimp) != evening:
        assert state(alice, shrimp)[0] == "morning"
        alice.run("undo", shrimp)
    assert state(alice, shrimp) == evening


@pytest.mark.parametrize("effect", SHIFT)
def test_a_flattening_that_is_killed_loses_nothing(alice: User, shrimp: str, effect: Effect) -> None:
    evening = state(alice, shrimp)
    kill_at(alice, effect, "snapshot", "flatten", shrimp)
    alice.run("start", shrimp)
    assert state(alice, shrimp) == evening
    soundness.check(alice.lab)
