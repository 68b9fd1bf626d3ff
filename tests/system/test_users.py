"""Two users of one libvirt, one who may not use it, and one without any privilege at all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .conftest import IMAGES, TINY_CONFIG, User


def test_a_second_user_logs_in_to_a_clone_with_a_key_of_his_own(alice: User, bob: User, crab: str) -> None:
    assert bob.shell(crab, "hostname") == crab
    assert bob.clone(crab)["ssh"] == alice.clone(crab)["ssh"]
    key = "sh", "-c", "cat ~/.local/share/moltfleet/id_ed25519.pub"
    keys = {bob.lab.run(*key, user=user.name).stdout for user in (alice, bob)}
    assert len(keys) == 2


def test_a_second_user_is_kept_out_by_the_lock_and_told_who_holds_it(alice: User, bob: User, crab: str) -> None:
    # A guest that does not react keeps alice's stop, and so her lock, for as long as it takes.
    alice.lab.virsh("suspend", crab)
    stopping = alice.start("stop", crab, "--timeout", "8")
    try:
        refused = wait_for_busy(bob, crab)
    finally:
        stopping.communicate(timeout=60)
    assert "mf-alice" in refused
    assert "stop" in refused
    assert bob.json("molt", crab, "--yes")["results"][0]["outcome"] == "molted"


def wait_for_busy(user: User, clone: str) -> str:
    """Molt until the lock is met: alice's command may not have taken it yet."""
    for _ in range(20):
        done = user.json("list")
        assert done["clones"]
        refused = user.lab.run(*command(user, "undo", clone, "--yes"), user=user.name, check=False)
        if refused.returncode == 4 and "busy" in refused.stdout:
            return refused.stderr + refused.stdout
    raise AssertionError("the lock was never met")


def command(user: User, *arguments: str) -> tuple[str, ...]:
    """The command line as run inside the lab."""
    argv = user.argv("--json", *arguments)
    return tuple(argv[argv.index("--") + 1 :])


def test_who_is_not_in_the_group_is_told_which_to_join(carol: User) -> None:
    done = carol.run("list", code=7)
    assert done.stdout == ""
    assert "No permission to use libvirt" in done.stderr
    assert "usermod -aG libvirt" in done.stderr


@pytest.fixture(scope="module")
def session(carol: User) -> Iterator[User]:
    """A user without any privilege, on her own qemu:///session."""
    user = User(carol.lab, carol.name, uri="qemu:///session")
    user.configure(TINY_CONFIG)
    yield user
    user.run("delete", "--all", "--yes")


def test_the_main_job_runs_without_any_privilege(session: User) -> None:
    session.run("golden", "build", "own", "--image", str(IMAGES / "tiny.qcow2"))
    session.run("create", "own", "mine")
    clone = session.clone("mine")
    assert clone["ssh"]["host"] == "127.0.0.1"
    assert clone["warm"] == "warm"
    session.shell("mine", "echo dirt > ~/dirt && sync")
    assert session.json("molt", "mine", "--yes")["results"][0]["mode"] == "warm"
    assert session.shell("mine", "test ! -e ~/dirt && echo clean") == "clean"
    assert "mine" not in session.lab.domains()
