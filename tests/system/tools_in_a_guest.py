"""To be run by name. Guest tools in a real guest: proven, interrupted, compared, removed; and the density test."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .conftest import User
from .newer_tools import NewerUser, newer_user

pytestmark = pytest.mark.full_guest

CLONE = "pike"
# Large enough for limits by slice and scope.
MEMORY = "2G"
PROOFS = ["installed", "watchdog", "limit", "agents", "forecast", "leak", "sshd"]
# Whatever the tools could have changed, with modes, links and checksums; what Python caches beside it is nobody's.
LISTING = """
places='/etc /usr/lib/systemd /usr/local /usr/bin /usr/sbin /var/lib/moltfleet /var/lib/systemd/linger'
find $places -xdev ! -name '*.pyc' -printf '%p %y %m %U %l\\n' 2>/dev/null | sort
find $places -xdev -type f ! -name '*.pyc' -size -65k 2>/dev/null | sort | xargs -d '\\n' sha256sum
find $places -xdev -type f ! -name '*.pyc' -size +64k -printf '%p %s %T@\\n' 2>/dev/null | sort
"""
# The installer itself: not the shell around it, and not who asks.
INSTALLING = "pgrep -x -f 'python3 .*[t]ree/install.py install .*' >/dev/null"


@pytest.fixture(scope="module")
def pike(owner: User, river: str) -> Iterator[str]:
    """A clone with room for limits."""
    owner.run("create", river, CLONE, "--memory", MEMORY, "--no-warm")
    yield CLONE
    owner.run("delete", CLONE, "--yes")


@pytest.fixture(scope="module")
def newer(owner: User) -> Iterator[NewerUser]:
    """The same user with another version of the tools."""
    with newer_user(owner) as user:
        yield user


def root(owner: User, script: str, *, check: bool = True) -> str:
    """What a script run as root in the clone prints."""
    return owner.shell(CLONE, f"sudo sh -c {shlex.quote(script)}", check=check)


def status(user: User) -> dict[str, Any]:
    """The clone's row of `tools status`."""
    (row,) = user.json("tools", "status", CLONE)["results"]
    assert isinstance(row, dict)
    return row


def verify(owner: User, *, code: int) -> dict[str, dict[str, Any]]:
    """The rows of `tools verify` by name."""
    (result,) = owner.json("tools", "verify", CLONE, code=code)["results"]
    assert [proof["name"] for proof in result["proofs"]] == PROOFS, result
    return {proof["name"]: proof for proof in result["proofs"]}


def listing(owner: User) -> set[str]:
    """Everything that the tools could have changed."""
    return set(root(owner, LISTING).splitlines())


def works(owner: User) -> bool:
    """Whether the watchdog runs, and has what it needs."""
    script = "systemctl is-active --quiet moltfleet-watchdog && moltfleet-watchdog --self-test >/dev/null && echo yes"
    return root(owner, script, check=False) == "yes"


def test_a_golden_is_built_with_the_tools_and_its_manifest_says_which(owner: User, river: str, pike: str) -> None:
    version = owner.json("golden", "show", river)["manifest"]["guest_tools"]
    row = status(owner)
    assert (row["state"], row["version"], row["expected"]) == ("current", version, version)
    assert works(owner)
    # Measured when it was built.
    assert int(root(owner, "sed -n 's/^BASE_MB=//p' /etc/moltfleet/guest.conf")) > 30


def test_every_proof_passes_and_nothing_of_it_stays(owner: User, pike: str) -> None:
    places = "/tmp /run/moltfleet-proof /var/lib/moltfleet /dev/shm /home/agent"
    seen = f"find {places} -mindepth 1 ! -path '*/systemd-private-*' ! -name '.bash*' 2>/dev/null | sort"
    before = root(owner, seen)
    proofs = verify(owner, code=0)
    assert all(proof["passed"] for proof in proofs.values()), proofs
    assert proofs["leak"]["happened"].startswith("ended by the watchdog with SIGTERM")
    assert root(owner, seen) == before
    assert root(owner, "pgrep -f '[m]oltfleet-proof' || echo none") == "none"


def test_installed_again_nothing_changes(owner: User, pike: str) -> None:
    before = listing(owner)
    (result,) = owner.json("tools", "install", CLONE)["results"]
    assert result["outcome"] == "unchanged"
    assert listing(owner) == before


def test_drift_is_seen_and_put_right(owner: User, pike: str) -> None:
    root(owner, "echo '# mine' >> /usr/local/lib/moltfleet/current/moltguest/limits.py && rm /usr/local/sbin/claude")
    row = status(owner)
    assert row["state"] == "changed"
    assert [path.rpartition("/")[2] for path in row["changed"]] == ["limits.py"]
    assert row["missing"] == ["/usr/local/sbin/claude"]
    assert "limits.py" in owner.run("tools", "status", CLONE, "--strict", code=4).stdout
    (result,) = owner.json("tools", "install", CLONE)["results"]
    assert result["outcome"] == "installed"
    assert status(owner)["state"] == "current"


def test_removed_and_installed_and_removed_leaves_what_was_there(owner: User, pike: str) -> None:
    owner.run("tools", "remove", CLONE)
    bare = listing(owner)
    assert [line for line in sorted(bare) if "moltfleet-watchdog" in line or "moltguest" in line] == []
    assert status(owner)["state"] == "none"
    assert owner.json("tools", "remove", CLONE)["results"][0]["outcome"] == "unchanged"
    done = owner.run("tools", "install", CLONE)
    assert "Until the next molt of pike" in done.stderr
    assert works(owner)
    assert listing(owner) != bare
    owner.run("tools", "remove", CLONE)
    assert listing(owner) == bare
    owner.run("tools", "install", CLONE)


def wait_for(owner: User, condition: str) -> None:
    """Wait until a shell condition holds in the clone; looked at there, as a login takes longer than what is seen."""
    script = f"for i in $(seq 900); do if {condition}; then exit 0; fi; sleep 0.1; done; exit 1"
    root(owner, script)


def kill_installer(owner: User, newer: NewerUser, begun: subprocess.Popen[str]) -> None:
    """Kill the installer in the guest."""
    script = f"{INSTALLING} && sleep 1 && pkill -KILL -f '[t]ree/install.py install'"
    try:
        wait_for(owner, script)
    finally:
        output, said = begun.communicate(timeout=600)
        print(output, said)
    assert begun.returncode == 7, said
    assert f"Guest tools could not be installed in '{CLONE}'" in said


def kill_command(owner: User, newer: NewerUser, begun: subprocess.Popen[str]) -> None:
    """Kill the command on the host; the guest is left to itself."""
    wait_for(owner, INSTALLING)
    owner.lab.run("sh", "-c", f"kill -KILL $(cat {newer.pid_file})")
    begun.communicate(timeout=600)
    assert begun.returncode == 137
    wait_for(owner, f"! {INSTALLING}")


@pytest.mark.parametrize("kill", [kill_installer, kill_command])
def test_an_interrupted_installation_leaves_tools_that_work(
    owner: User,
    pike: str,
    newer: NewerUser,
    kill: Callable[[User, NewerUser, subprocess.Popen[str]], None],
) -> None:
    version = status(owner)["version"]
    kill(owner, newer, newer.start("tools", "install", CLONE))
    assert works(owner)
    row = status(owner)
    # Whole either way: what was there, or, when nobody told the guest to stop, what was to be.
    own = f"/usr/local/lib/moltfleet/{row['version']}/"
    assert [path for path in (*row["changed"], *row["missing"]) if path.startswith(own)] == []
    assert row["version"] == version or kill is kill_command
    (result,) = newer.json("tools", "install", CLONE)["results"]
    assert result["outcome"] in ("installed", "unchanged")
    assert status(newer)["state"] == "current"
    assert root(owner, "ls -d /usr/local/lib/moltfleet.incoming 2>/dev/null || echo none") == "none"
    (result,) = owner.json("tools", "install", CLONE)["results"]
    assert result["detail"].startswith(f"{version} instead of ")


def test_proofs_fail_when_the_watchdog_is_masked_and_a_wrapper_is_gone(owner: User, pike: str) -> None:
    root(owner, "systemctl mask --runtime --now moltfleet-watchdog && rm /usr/local/sbin/codex /usr/bin/codex")
    proofs = verify(owner, code=1)
    failed = {name for name, proof in proofs.items() if not proof["passed"]}
    assert failed == {"installed", "watchdog", "agents", "leak"}, proofs
    assert proofs["agents"]["happened"].startswith("codex: /")
    # Without it the kernel slows the leak down at its limit, and on a slow machine does not come to an end of it.
    happened = proofs["leak"]["happened"]
    assert "not by the watchdog" in happened or "not done after" in happened
    root(owner, "systemctl unmask --runtime moltfleet-watchdog")
    owner.run("tools", "install", CLONE)
    assert works(owner)


def test_density_tells_what_gives_way_first_and_leaves_nothing(owner: User, river: str, pike: str) -> None:
    before = owner.lab.domains(), owner.lab.volumes()
    began = time.monotonic()
    # Two fit into /dev/shm, three do not.
    shm = int(root(owner, "df -B1M --output=size /dev/shm | tail -1")) * 2 // 5
    sizes = ("--agent-memory", "40M", "--agent-shm", f"{shm}M", "--agent-disk", "4M", "--agent-processes", "3")
    steps = ("--agents", "2,3", "--hold", "3", "--memory", MEMORY)
    density = owner.json("density", river, *sizes, *steps, code=1)
    first, second = density["steps"]
    assert (first["agents"], first["well"], first["passed"], first["contained"]) == (2, 2, True, True)
    assert first["peaks"]["shm"] >= 2 * shm << 20
    assert first["peaks"]["memory"] > 2 * (40 + shm) << 20
    assert (second["agents"], second["gave_way"]) == (3, "shm")
    assert "No space left" in second["said"]
    assert (density["gave_way"], density["gave_way_at"]) == ("shm", 3)
    verdicts = [criterion["passed"] for criterion in density["criteria"]]
    # No node in this guest; sshd was asked all the time.
    assert verdicts == [True, False, None, False, True], json.dumps(density["criteria"])
    assert (owner.lab.domains(), owner.lab.volumes()) == before
    assert time.monotonic() - began < 240
