"""Other people's hands and libvirt's traps: each was seen to lose or mix up data when a program does not know it."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from . import soundness
from .conftest import IMAGES, POOL, TINY_CONFIG, Labs, User

MARK = "sudo sh -c 'echo in-the-clean-layer > /etc/clean-mark && sync'"


def mode(user: User, clone: str, *options: str) -> str:
    """Molt and return how it went."""
    result = user.json("molt", clone, *options, "--yes")["results"][0]
    assert result["outcome"] == "molted"
    return str(result["mode"])


def marked(user: User, clone: str) -> None:
    """Put a file into the clean layer itself, so that a skipped layer shows."""
    user.shell(clone, MARK)
    user.run("warm", clone, "--from-now", "--yes")
    user.shell(clone, "echo dirt > ~/dirt && sync")


def is_whole(user: User, clone: str) -> bool:
    """Whether the guest sees its clean layer and nothing of what came after."""
    # Dropped caches make it read the disk, and not what RAM remembers.
    user.shell(clone, "sudo sh -c 'sync; echo 3 > /proc/sys/vm/drop_caches'")
    seen = user.shell(
        clone, "cat /etc/clean-mark; test ! -e ~/dirt && echo clean; dmesg | grep -c EXT4-fs.error", check=False
    )
    return seen.split() == ["in-the-clean-layer", "clean", "0"]


@pytest.mark.parametrize("how", ["TERM", "KILL"])
def test_no_layer_is_skipped_after_libvirtd_was_restarted_under_the_guest(alice: User, crab: str, how: str) -> None:
    alice.shell(crab, MARK)
    alice.lab.control("restart-libvirtd", "--signal", how)
    alice.run("warm", crab, "--from-now", "--yes")
    alice.shell(crab, "echo dirt > ~/dirt && sync")
    alice.lab.control("restart-libvirtd", "--signal", how)
    assert mode(alice, crab) == "warm"
    assert is_whole(alice, crab)
    assert mode(alice, crab, "--cold") == "cold"
    assert is_whole(alice, crab)
    soundness.check(alice.lab)


def test_no_layer_is_skipped_after_somebodys_external_snapshot(alice: User, crab: str) -> None:
    marked(alice, crab)
    alice.lab.virsh("snapshot-create-as", crab, "theirs", "--disk-only")
    refused = alice.run("molt", crab, "--yes", code=4)
    assert "snapshot" in refused.stderr
    assert "--discard-snapshots" in refused.stderr
    assert mode(alice, crab, "--discard-snapshots") == "warm"
    assert is_whole(alice, crab)
    assert alice.lab.virsh("snapshot-list", crab, "--name") == ""
    soundness.check(alice.lab)


def test_somebodys_internal_snapshot_stops_a_molt_unless_discarded(alice: User, crab: str) -> None:
    alice.lab.virsh("snapshot-create-as", crab, "theirs")
    assert "snapshot" in alice.run("molt", crab, "--yes", code=4).stderr
    assert mode(alice, crab, "--discard-snapshots") == "warm"
    alice.lab.virsh("snapshot-create-as", crab, "again")
    alice.run("delete", crab, "--yes")
    alice.run("create", "tiny", crab)


def test_a_frozen_layer_that_was_written_is_not_molted_onto(alice: User, crab: str) -> None:
    alice.shell(crab, "dd if=/dev/urandom of=/home/agent/dirt bs=1M count=3 && sync")
    alice.lab.virsh("blockcommit", crab, "vda", "--active", "--pivot", "--shallow", "--wait")
    refused = alice.run("molt", crab, "--yes", code=4)
    assert "void" in refused.stderr
    assert "clean.qcow2" in refused.stderr
    assert alice.shell(crab, "test -e /home/agent/dirt && echo still there") == "still there"


def test_a_definition_edited_behind_our_back_means_a_cold_molt_with_the_edit(alice: User, crab: str) -> None:
    xml = alice.lab.virsh("dumpxml", "--inactive", "--security-info", crab)
    edited = xml.replace(">196608<", ">229376<")
    assert edited != xml
    alice.lab.run("virsh", "define", "/dev/stdin", input=edited)
    status = alice.run("status", crab).stdout
    assert "stale" in status
    assert "definition" in status
    result = alice.json("molt", crab, "--yes")["results"][0]
    assert result["mode"] == "cold"
    assert "definition" in result["reason"]
    assert "229376" in alice.lab.virsh("dominfo", crab)
    assert alice.json("warm", crab, "--yes")["results"][0]["outcome"] == "warmed"
    assert mode(alice, crab) == "warm"
    soundness.check(alice.lab)


@pytest.mark.parametrize("act", ["destroy", "reboot", "shutdown", "suspend"])
def test_virsh_on_a_clone_changes_nothing_about_its_next_molt(alice: User, crab: str, act: str) -> None:
    alice.shell(crab, "echo dirt > ~/dirt && sync")
    alice.lab.virsh(act, crab)
    assert mode(alice, crab) == "warm"
    assert alice.shell(crab, "test ! -e ~/dirt && echo clean") == "clean"


def test_a_managed_save_that_lies_around_is_never_resumed(alice: User, crab: str) -> None:
    alice.shell(crab, "echo dirt > ~/dirt && sync")
    alice.lab.virsh("managedsave", crab)
    assert mode(alice, crab) == "warm"
    assert alice.shell(crab, "test ! -e ~/dirt && echo clean") == "clean"
    alice.lab.virsh("managedsave", crab)
    alice.run("start", crab)
    assert alice.shell(crab, "cat /proc/uptime").split()[0] < "9"
    soundness.check(alice.lab)


def test_a_domain_that_somebody_starts_in_mid_molt_is_molted_all_the_same(alice: User, crab: str) -> None:
    alice.shell(crab, "echo dirt > ~/dirt && sync")
    stop = time.monotonic() + 6
    nuisance = subprocess.Popen(
        alice.lab.argv(("sh", "-c", f"while :; do virsh start {crab} >/dev/null 2>&1; done")),
        stdin=subprocess.DEVNULL,
    )
    try:
        result = alice.json("molt", crab, "--yes")["results"][0]
    finally:
        nuisance.terminate()
        nuisance.wait(timeout=20)
    assert time.monotonic() > stop - 6
    assert result["outcome"] == "molted", result
    assert alice.shell(crab, "test ! -e ~/dirt && echo clean") == "clean"
    soundness.check(alice.lab)


def test_two_molts_of_one_clone_at_once(alice: User, bob: User, crab: str) -> None:
    first = alice.start("molt", crab, "--cold", "--yes")
    time.sleep(1.5)
    second = bob.run("molt", crab, "--yes", code=4)
    assert "mf-alice" in second.stderr
    waiting = bob.run("molt", crab, "--yes", "--wait", "60")
    _, errors = first.communicate(timeout=120)
    assert first.returncode == 0, errors
    assert "molted" in waiting.stdout
    soundness.check(alice.lab)


def test_a_molt_while_the_clone_is_deleted(alice: User, tiny: str) -> None:
    alice.run("create", tiny, "fleeting")
    deleting = alice.start("delete", "fleeting", "--yes")
    molting = alice.start("molt", "fleeting", "--yes", "--wait", "30")
    for process in (deleting, molting):
        process.communicate(timeout=120)
    assert (deleting.returncode, molting.returncode) in ((0, 3), (0, 4), (4, 0), (0, 0))
    soundness.check(alice.lab)
    if deleting.returncode:
        alice.run("delete", "fleeting", "--yes")


@pytest.mark.parametrize("after_s", [0.5, 0.8, 1.1, 1.5])
def test_libvirtd_restarted_in_mid_molt(alice: User, crab: str, after_s: float) -> None:
    alice.shell(crab, "echo precious > ~/word && sync")
    process = alice.start("molt", crab, "--yes")
    time.sleep(after_s)
    alice.lab.control("restart-libvirtd", "--signal", "KILL")
    process.communicate(timeout=240)
    if process.returncode != 0:
        alice.run("start", crab)
    soundness.check(alice.lab)
    if alice.shell(crab, "cat ~/word 2>/dev/null || echo none") == "none":
        alice.run("undo", crab, "--yes")
        assert alice.shell(crab, "cat ~/word") == "precious"


@pytest.mark.parametrize("command", ["sudo reboot -f", "sudo poweroff -f"])
def test_the_guest_is_rebooted_or_powered_off_by_its_user_in_mid_molt(alice: User, crab: str, command: str) -> None:
    process = alice.start("molt", crab, "--yes")
    racing = alice.start("ssh", crab, "--", command)
    for one in (process, racing):
        one.communicate(timeout=240)
    if process.returncode != 0:
        alice.run("start", crab)
    alice.run("molt", crab, "--yes")
    soundness.check(alice.lab)


def test_a_device_that_cannot_be_saved_is_named_and_the_clone_is_cold(
    alice: User, tiny: str, remove: Callable[[str], str]
) -> None:
    alice.run("create", tiny, remove("shared"), "--no-start")
    device = "<shmem name='mem'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>"
    alice.lab.run("virsh", "attach-device", "shared", "/dev/stdin", "--config", input=device)
    done = alice.run("start", "shared")
    assert "cold clean point" in done.stderr
    assert "shmem" in done.stderr
    assert alice.clone("shared")["warm"] == "cold"
    assert mode(alice, "shared") == "cold"


def test_host_power_loss(labs: Labs) -> None:
    """QEMU and libvirtd gone at once, a fresh host over the same pool: every clone starts, every kept layer boots."""
    lab = labs.start("power")
    user = User(lab, "mf-alice")
    user.configure(TINY_CONFIG)
    user.run("golden", "build", "tiny", "--image", str(IMAGES / "tiny.qcow2"))
    user.run("create", "tiny", "crab", "-n", "2")
    user.shell("crab-1", "echo kept > ~/word && sync")
    user.run("molt", "crab-1", "--keep=before", "--yes")
    user.shell("crab-1", "echo running > ~/word && sync")
    interrupted = user.start("molt", "crab-2", "--yes")
    time.sleep(1.0)
    lab.control("crash")
    interrupted.send_signal(signal.SIGKILL)
    interrupted.communicate(timeout=60)
    lab.control("up")
    user.run("start", "--were-running")
    assert {clone["state"] for clone in user.json("list")["clones"]} == {"running"}
    assert user.shell("crab-1", "cat ~/word") == "running"
    soundness.check(lab)
    user.run("kept", "restore", "crab-1", "before", "--yes")
    assert user.shell("crab-1", "cat ~/word") == "kept"
    results = user.json("molt", "--all", "--yes")["results"]
    assert [result["mode"] for result in results] == ["warm", "warm"]
    soundness.check(lab)


def test_ram_and_disk_belong_to_the_same_instant(alice: User, crab: str) -> None:
    """A guest that writes without pause through the save and many molts stays consistent, on disk and in memory."""
    alice.shell(crab, "sudo sh -c '" + WRITER + "' </dev/null >/dev/null 2>&1 & sleep 3")
    alice.run("warm", crab, "--from-now", "--yes")
    for _ in range(8):
        assert mode(alice, crab) == "warm"
        alice.shell(crab, "sleep 0.5; sudo sh -c 'sync; echo 3 > /proc/sys/vm/drop_caches'")
        assert int(alice.shell(crab, TORN)) > 0
    alice.shell(crab, "sudo touch /var/tmp/writer/stop; sleep 1; sync")
    alice.run("stop", crab, "--now")
    raw = "/run/crab.raw"
    top = next(d for d in soundness.look(alice.lab) if d.name == crab).record["top"]
    alice.lab.run("qemu-img", "convert", "-O", "raw", f"{POOL}/{top}", raw)
    checked = alice.lab.run("e2fsck", "-fn", raw, check=False)
    alice.lab.run("rm", raw)
    # The journal of a guest whose power was cut is replayed at its next mount; -n only says that it would be.
    assert checked.returncode in (0, 4), checked.stdout
    assert "Inode" not in checked.stdout, checked.stdout


# Each file carries its own checksum, and appears whole under its name.
WRITER = (
    "mkdir -p /var/tmp/writer && cd /var/tmp/writer && n=0 && while [ ! -e stop ]; do n=$((n+1)); "
    "head -c 20000 /dev/urandom | base64 > new; sha256sum < new > sum; cat sum >> new; mv new file.$((n % 20)); done"
)
TORN = (
    "cd /var/tmp/writer; for f in file.*; do "
    'cat $f > ~/seen; [ "$(head -n -1 ~/seen | sha256sum)" = "$(tail -n 1 ~/seen)" ] || echo torn $f; done; '
    "ls | grep -c file"
)
