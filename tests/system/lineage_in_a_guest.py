"""Goldens over time: an update from the lab's apt repository, clones that do not notice, moves, kills, pruning.

To be run by name, in two parts: the full guest (`-k full`, about half an hour emulated), and the tiny one, which is
killed after every effect of a move, an update and a pruning.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moltfleet.model.effects import Effect

from . import soundness
from .conftest import IMAGES, LONGEST_S, POOL, Lab, User

KILLED = Path(__file__).with_name("killed.py")
# A package of our own, so that the lab decides when there is a newer one.
PACKAGE = "moltfleet-lineage"


def digests(lab: Lab, *prefixes: str) -> dict[str, str]:
    """SHA-256 of every volume whose name begins so, RAM images and seeds too."""
    return {name: lab.digest(name) for name in sorted(lab.volumes()) if name.startswith(prefixes)}


# The full guest: real apt, real dpkg, real cloud-init.


@pytest.fixture(scope="module")
def stream(owner: User, apt: str) -> Iterator[str]:
    """A golden with version 1.0 of the package, and the clone stream-1 of it, stopped so that nothing writes."""
    assert owner.lab.repo("bump", PACKAGE).strip().endswith("1.0")
    base = str(IMAGES / "debian-bookworm-furnished.qcow2")
    owner.run("golden", "build", "stream", "--image", base, "--user-data", apt, "--package", PACKAGE)
    owner.run("create", "stream", "stream-1")
    yield "stream"
    owner.run("delete", "stream-*", "--yes")
    owner.run("golden", "delete", "stream", "--yes")


@pytest.mark.full_guest
def test_full_a_newer_package_arrives_in_the_next_generation_and_clones_do_not_notice(owner: User, stream: str) -> None:
    owner.shell("stream-1", "echo precious > ~/work/precious && sync")
    owner.run("stop", "stream-1")
    before = digests(owner.lab, "stream.g1", "stream-1.")
    definition = owner.lab.virsh("dumpxml", "--inactive", "stream-1")
    owner.lab.repo("bump", PACKAGE)
    document = owner.json("golden", "update", stream, "--packages")
    assert (document["outcome"], document["from_generation"], document["generation"]) == ("updated", 1, 2)
    assert {"name": PACKAGE, "before": "1.0", "after": "1.1"} in document["packages"]
    assert document["behind"] == ["stream-1"]
    assert digests(owner.lab, "stream.g1", "stream-1.") == before
    assert owner.lab.virsh("dumpxml", "--inactive", "stream-1") == definition
    manifest = owner.json("golden", "show", stream)["manifest"]
    assert (manifest["updated_from"], manifest["packages"][PACKAGE]) == (1, "1.1")
    assert f"{stream} g1 < g2" in owner.run("list").stdout


@pytest.mark.full_guest
def test_full_a_running_clone_goes_on_through_an_update(owner: User, stream: str) -> None:
    owner.run("start", "stream-1")
    boot = owner.shell("stream-1", "cat /proc/sys/kernel/random/boot_id")
    frozen = digests(owner.lab, "stream.g1", "stream.g2", "stream-1.clean")
    owner.lab.repo("bump", PACKAGE)
    owner.run("golden", "update", stream, "--packages")
    assert owner.shell("stream-1", "cat /proc/sys/kernel/random/boot_id") == boot
    assert owner.shell("stream-1", "cat ~/work/precious /usr/share/moltfleet-lineage/version") == "precious\n1.0"
    assert digests(owner.lab, "stream.g1", "stream.g2", "stream-1.clean") == frozen


@pytest.mark.full_guest
def test_full_without_anything_newer_no_generation_is_made(owner: User, stream: str) -> None:
    document = owner.json("golden", "update", stream, "--quick")
    assert (document["outcome"], document["generation"]) == ("unchanged", 3)
    soundness.check(owner.lab)


@pytest.mark.full_guest
def test_full_a_move_keeps_the_identity_and_undo_brings_the_work_back(owner: User, stream: str) -> None:
    ask = "hostname; cat /etc/ssh/ssh_host_ed25519_key.pub; cat /sys/class/net/en*/address; cat /etc/machine-id"
    who, address = owner.shell("stream-1", ask), owner.clone("stream-1")["ip"]
    seed = owner.lab.digest("stream-1.seed.iso")
    (result,) = owner.json("molt", "stream-1", "--to", "latest", "--yes")["results"]
    assert (result["outcome"], result["reason"]) == ("molted", "moved from g1 to g3 of stream")
    after = owner.shell("stream-1", ask)
    # The machine-id comes last: systemd makes it from the domain's UUID where it knows the hypervisor.
    assert after.splitlines()[:3] == who.splitlines()[:3]
    assert owner.clone("stream-1")["ip"] == address
    assert owner.lab.digest("stream-1.seed.iso") == seed
    assert (
        owner.shell(
            "stream-1", "cat /usr/share/moltfleet-lineage/version; ls ~/work/precious", check=False
        ).splitlines()[0]
        == "1.2"
    )
    print("machine-id", "kept" if after == who else "new")
    owner.run("undo", "stream-1")
    assert owner.shell("stream-1", "cat ~/work/precious /usr/share/moltfleet-lineage/version") == "precious\n1.0"
    (molted,) = owner.json("molt", "stream-1", "--yes")["results"]
    assert molted["mode"] == "warm"
    assert owner.shell("stream-1", "cat /usr/share/moltfleet-lineage/version") == "1.2"


@pytest.mark.full_guest
def test_full_old_generations_go_when_nobody_stands_on_them(owner: User, stream: str) -> None:
    # The shed layer of the last molt stands on the first generation.
    first = owner.json("golden", "prune", stream, "--yes")
    assert [one["generation"] for one in first["pruned"]] == [2]
    owner.run("molt", "stream-1", "--yes")
    second = owner.json("golden", "prune", stream, "--yes")
    assert [one["generation"] for one in second["pruned"]] == [1]
    assert not {"stream.g1.qcow2", "stream.g2.qcow2"} & owner.lab.volumes()
    owner.run("molt", "stream-1", "--cold", "--yes")
    assert owner.shell("stream-1", "cat /usr/share/moltfleet-lineage/version") == "1.2"


# The tiny guest: every effect is killed after.

BUILD = [e for e in Effect if e.startswith("build.") and e not in (Effect.BUILD_UPLOADED, Effect.BUILD_STAGED)]
MOVE = [e for e in Effect if e.startswith("molt.") and e is not Effect.MOLT_SHED]
POINT = [
    Effect.CLEAN_JOURNALLED,
    Effect.CLEAN_OVERLAID,
    Effect.CLEAN_SAVED,
    Effect.CLEAN_REDEFINED,
    Effect.CLEAN_RECORDED,
    Effect.CLEAN_RESUMED,
]
PRUNE = [Effect.DELETE_JOURNALLED, Effect.DELETE_VOLUMES_DELETED]


def kill_at(user: User, effect: str, *arguments: str) -> None:
    """Run a command that must die right after ``effect``."""
    argv = user.lab.argv((sys.executable, str(KILLED), effect, *arguments), user=user.name)
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    assert done.returncode in (-9, 137), f"{effect} was not reached: {done.returncode}\n{done.stdout}{done.stderr}"


def mark(user: User, word: str) -> str:
    """A script that leaves a word in a generation, so that there is something new and one can be told from another."""
    return user.write(f"mark-{word}.sh", f"#!/bin/sh\nmkdir -p /usr/share && echo {word} > /usr/share/generation\n")


def word_in(user: User, clone: str, file: str) -> str:
    return user.shell(clone, f"cat {file} 2>/dev/null || echo none")


@pytest.fixture(scope="module")
def brook(alice: User) -> Iterator[str]:
    """A golden of the tiny guest with two generations that can be told apart."""
    image = str(IMAGES / "tiny.qcow2")
    alice.run("golden", "build", "brook", "--image", image, "--script", mark(alice, "one"))
    alice.run("golden", "update", "brook", "--script", mark(alice, "two"))
    yield "brook"
    for clone in alice.json("list")["clones"]:
        if clone["golden"] == "brook":
            alice.run("delete", clone["name"], "--yes")
    alice.run("golden", "delete", "brook", "--yes")


@pytest.mark.parametrize("effect", [*MOVE, *POINT])
def test_a_move_that_is_killed_loses_nothing_and_is_moved_by_the_next_one(
    alice: User, brook: str, effect: Effect
) -> None:
    alice.run("create", brook, "drop")
    alice.run("molt", "drop", "--to", "1", "--yes")
    alice.run("molt", "drop", "--yes")
    alice.shell("drop", "echo precious > ~/word && sync")
    kill_at(alice, effect, "molt", "drop", "--to", "latest", "--yes")
    alice.run("start", "drop")
    seen = alice.clone("drop")
    assert seen["health"] == "ok"
    if seen["generation"] == 1:
        assert (word_in(alice, "drop", "~/word"), word_in(alice, "drop", "/usr/share/generation")) == (
            "precious",
            "one",
        )
        alice.run("molt", "drop", "--to", "latest", "--yes")
    assert (word_in(alice, "drop", "~/word"), word_in(alice, "drop", "/usr/share/generation")) == ("none", "two")
    alice.run("undo", "drop")
    assert (word_in(alice, "drop", "~/word"), word_in(alice, "drop", "/usr/share/generation")) == ("precious", "one")
    (result,) = alice.json("molt", "drop", "--yes")["results"]
    assert result["mode"] == "warm", result
    alice.run("molt", "drop", "--yes")
    soundness.check(alice.lab)
    alice.run("delete", "drop", "--yes")
    soundness.check(alice.lab)


@pytest.mark.parametrize("effect", BUILD)
def test_an_update_that_is_killed_leaves_the_generation_before_or_the_next_one(
    alice: User, brook: str, effect: Effect
) -> None:
    before = alice.json("golden", "show", brook)["golden"]["generation"]
    image = alice.lab.digest(f"brook.g{before}.qcow2")
    kill_at(alice, effect, "golden", "update", brook, "--script", mark(alice, effect.replace(".", "-")))
    alice.run("create", brook, "other", "--no-start")
    alice.run("delete", "other", "--yes")
    after = alice.json("golden", "show", brook)["golden"]["generation"]
    assert after - before == (effect in (Effect.BUILD_PUBLISHED, Effect.BUILD_CLEANED))
    assert alice.lab.digest(f"brook.g{before}.qcow2") == image
    assert f"{POOL}/brook.g{after}.qcow2" in alice.lab.virsh("dumpxml", "--inactive", brook)
    soundness.check(alice.lab)


@pytest.mark.parametrize("effect", PRUNE)
def test_a_pruning_that_is_killed_is_finished_by_the_next_command(alice: User, brook: str, effect: Effect) -> None:
    alice.run("golden", "update", brook, "--script", mark(alice, f"spare-{effect}".replace(".", "-")))
    newest = alice.json("golden", "show", brook)["golden"]["generation"]
    kill_at(alice, effect, "golden", "prune", brook, "--yes")
    alice.run("create", brook, "other", "--no-start")
    alice.run("delete", "other", "--yes")
    assert alice.json("golden", "show", brook)["golden"]["generations"] == [newest]
    assert {name for name in alice.lab.volumes() if name.startswith("brook.g")} == {
        f"brook.g{newest}.qcow2",
        f"brook.g{newest}.json",
    }
    soundness.check(alice.lab)
