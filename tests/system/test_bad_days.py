"""Bad days on the real hypervisor: libvirt gone or hanging, guests that never come up, a full pool, Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from .conftest import IMAGES, POOL, TINY_CONFIG, Labs, User

# Short enough for a test, long enough for the rungs that do work.
IMPATIENT = TINY_CONFIG + "[timeouts]\nssh = 4\nlogin = 3\naddress = 4\nlibvirt_call = 3\n"


@pytest.fixture
def impatient(alice: User) -> User:
    """Alice with short timeouts (which emulation makes four times longer)."""
    file = alice.write("impatient.toml", IMPATIENT)
    return User(alice.lab, alice.name, settings=("--config", file))


def own_volumes(user: User, clone: str) -> set[str]:
    return {volume for volume in user.lab.volumes() if volume.startswith(f"{clone}.")}


def test_a_guest_whose_ssh_never_answers_is_taken_away_with_a_clear_error(
    impatient: User, alice: User, remove: Callable[[str], str]
) -> None:
    # The golden's own proof must pass, so its sshd falls silent only in the clone of this name.
    script = alice.write(
        "mute.sh",
        "#!/bin/sh\nsed -i '1a [ \"$(hostname)\" = mute ] \\&\\& exec sleep 1000' /usr/lib/tiny/run-sshd\n",
    )
    alice.run("golden", "build", "shy", "--image", str(IMAGES / "tiny.qcow2"), "--script", script)
    done = impatient.run("create", "shy", remove("mute"), code=6)
    assert "SSH server of 'mute'" in done.stderr
    assert "Hint: " in done.stderr
    assert own_volumes(alice, "mute") == set()
    assert "mute" not in alice.lab.domains()
    alice.run("golden", "delete", "shy", "--yes")


def test_a_guest_that_refuses_the_key_is_told_apart(impatient: User, alice: User, remove: Callable[[str], str]) -> None:
    script = alice.write(
        "deny.sh",
        "#!/bin/sh\nsed -i '1a [ \"$(hostname)\" = deny ] \\&\\& rm -f /home/*/.ssh/authorized_keys' "
        "/usr/lib/tiny/run-sshd\n",
    )
    alice.run("golden", "build", "stern", "--image", str(IMAGES / "tiny.qcow2"), "--script", script)
    done = impatient.run("create", "stern", remove("deny"), code=7)
    assert "'deny'" in done.stderr
    assert "key" in done.stderr
    assert own_volumes(alice, "deny") == set()
    alice.run("golden", "delete", "stern", "--yes")


def test_another_host_key_stops_every_login(alice: User, crab: str) -> None:
    alice.shell(
        crab,
        "sudo rm /etc/ssh/ssh_host_ed25519_key /run/host_key && sync && sudo kill $(cat /run/dropbear.pid)",
        check=False,
    )

    def is_refused() -> bool:
        done = subprocess.run(
            alice.argv("exec", crab, "--", "true"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        # Until the new server is up, the old one answers, or none.
        return done.returncode == 7 and "host key" in done.stderr

    wait_until(is_refused)
    assert alice.json("molt", crab, "--yes")["results"][0]["mode"] == "warm"
    assert alice.shell(crab, "hostname") == crab


def test_a_full_pool_is_said_and_nothing_stays(labs: Labs) -> None:
    lab = labs.start("full")
    lab.run("sh", "-c", f"mkdir -p {POOL} && mount -t tmpfs -o size=150m,mode=0711 none {POOL}")
    user = User(lab, "mf-alice")
    user.configure('disk_growth = "8M"\n' + TINY_CONFIG)
    user.run("golden", "build", "tiny", "--image", str(IMAGES / "tiny.qcow2"))
    before = lab.volumes()
    lab.run("sh", "-c", f"fallocate -l $(($(df --output=avail -B1 {POOL} | tail -n 1) - 100000)) {POOL}/filler")
    assert "rule disk: 0.00 GiB free (pool 'moltfleet')" in user.run("create", "tiny", "crab", code=5).stderr
    done = user.run("create", "tiny", "crab", "--force", "to see how it fails", code=5)
    assert "full" in done.stderr or "space" in done.stderr
    assert "Hint: " in done.stderr
    lab.run("rm", f"{POOL}/filler")
    assert lab.volumes() == before
    assert lab.domains() == {"tiny"}
    user.run("create", "tiny", "crab", "--no-warm")
    lab.run("sh", "-c", f"fallocate -l $(($(df --output=avail -B1 {POOL} | tail -n 1) - 20000000)) {POOL}/filler")
    # Too little for the RAM of a clean point: the guest goes on as it was, with what it had in memory.
    user.shell("crab", "echo kept > /dev/shm/memory")
    before = lab.volumes()
    assert "rule disk" in user.run("warm", "crab", "--from-now", "--yes", code=5).stderr
    done = user.run("warm", "crab", "--from-now", "--force", "to see how it fails", "--yes", code=5)
    assert "Hint: " in done.stderr
    assert lab.volumes() == before
    assert user.shell("crab", "cat /dev/shm/memory") == "kept"
    # Full in the middle of its life: the guest is paused, not broken, and a molt brings it back.
    writing = user.start("ssh", "crab", "--", "dd if=/dev/urandom of=/home/agent/big bs=1M count=200; sync")
    try:
        wait_until(lambda: user.clone("crab")["health"] == "paused")
    finally:
        writing.kill()
        writing.communicate(timeout=60)
    lab.run("rm", f"{POOL}/filler")
    assert user.json("molt", "crab", "--yes")["results"][0]["outcome"] == "molted"
    assert user.shell("crab", "test ! -e ~/big && echo clean") == "clean"


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
    """Wait for something outside. Fails when it does not come about."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)


def test_no_libvirt_is_said_in_one_line(labs: Labs) -> None:
    lab = labs.start("none")
    lab.run("sh", "-c", "kill $(cat /run/libvirtd.pid) && sleep 1")
    user = User(lab, "mf-alice")
    done = user.run("list", code=7)
    assert "libvirt is not running" in done.stderr
    assert "systemctl start libvirtd" in done.stderr


def test_a_hanging_libvirtd_costs_a_deadline_and_not_the_terminal(impatient: User, alice: User, crab: str) -> None:
    pid = alice.lab.out("cat", "/run/libvirtd.pid")
    alice.lab.run("kill", "-STOP", pid)
    try:
        started = time.monotonic()
        done = impatient.run("list", code=6)
        assert time.monotonic() - started < 30
        assert "did not answer" in done.stderr
    finally:
        alice.lab.run("kill", "-CONT", pid)
    assert alice.clone(crab)["state"] == "running"


@pytest.mark.parametrize("after_s", [0.6, 1.5, 4.0, 6.5])
def test_ctrl_c_during_create_leaves_nothing_for_long(
    alice: User, tiny: str, after_s: float, remove: Callable[[str], str]
) -> None:
    process = alice.start("create", tiny, remove("brief"))
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (0, 130)
    if process.returncode == 130:
        # At the latest the next changing command clears away what is left.
        alice.run("create", tiny, remove("next"), "--no-start")
        assert own_volumes(alice, "brief") == set()
        assert "brief" not in alice.lab.domains()


@pytest.mark.parametrize("after_s", [1.0, 4.0, 9.0])
def test_ctrl_c_during_golden_build_leaves_only_what_is_reusable(alice: User, tiny: str, after_s: float) -> None:
    before = {volume for volume in alice.lab.volumes() if not volume.startswith(("image.", "stage."))}
    process = alice.start("golden", "build", "cut-short", "--image", str(IMAGES / "tiny.qcow2"))
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (0, 130)
    if process.returncode == 130:
        after = {volume for volume in alice.lab.volumes() if not volume.startswith(("image.", "stage."))}
        assert after == before
        assert not [name for name in alice.lab.domains() if name.startswith("cut-short")]
    else:
        alice.run("golden", "delete", "cut-short", "--yes")
