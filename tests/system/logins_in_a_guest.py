"""To be run by name. Logins that renew themselves, through fifty molts of a real guest, and that they are left nowhere.

A tool stands in for the real ones: each use is worth one token, and makes the next. The test plays its server. Every
token has the same mark, which is then looked for in the bytes of volumes, in metadata, logs and journals.
"""

from __future__ import annotations

import time
from pathlib import Path

from .conftest import IMAGES, POOL, User
from .loggedin import FILE, MARK, MOLTS, Tool, molted, synced
from .loggedin import tool as tool


def marked(user: User, *paths: str) -> set[str]:
    """Which of these files, or files below these directories, hold the mark in their bytes."""
    done = user.lab.run("sh", "-c", 'grep -rlaF -e "$0" -- "$@" || true', MARK, *paths)
    return {Path(line).name for line in done.stdout.splitlines()}


def own_layers(user: User, clone: str) -> tuple[set[str], set[str]]:
    """The volumes of a clone's clean point, with its RAM; and those above it."""
    names = {name for name in user.lab.volumes() if name.startswith(f"{clone}.")}
    clean = {name for name in names if ".clean" in name}
    return clean, names - clean


def test_fifty_molts_end_logged_in_and_leave_no_token_behind(alice: User, crab: str, tool: Tool) -> None:
    synced(tool, crab)
    for number in range(MOLTS):
        assert tool.use(crab) == "logged in", number
        result = molted(tool, crab, *(("--cold",) if number % 25 == 24 else ()))
        assert result["logins"]["pulled"] == ["codex"], result
        assert tool.on_host() == tool.number
    # As they arrive: the tool writes its file anew with the modes that it likes.
    assert alice.shell(crab, f"stat -c '%a %U' ~/{FILE} ~/.codex ~/.mytool/*").splitlines() == [
        "600 agent",
        "700 agent",
        "600 agent",
    ]
    assert tool.use(crab) == "logged in"
    alice.shell(crab, "sync")
    clean, above = own_layers(alice, crab)
    # The layer that is worked on does hold it, so the search would find it elsewhere.
    assert marked(alice, *(f"{POOL}/{name}" for name in sorted(above)))
    assert clean and marked(alice, *(f"{POOL}/{name}" for name in sorted(clean))) == set()
    golden = {name for name in alice.lab.volumes() if name.startswith(("tiny.", "image.", "stage."))}
    assert golden and marked(alice, *(f"{POOL}/{name}" for name in sorted(golden))) == set()
    for option in ((), ("--inactive",)):
        assert MARK not in alice.lab.virsh("dumpxml", crab, *option)
    assert MARK not in alice.lab.virsh("dumpxml", "tiny")
    home = alice.lab.run("sh", "-c", "echo $HOME", user=alice.name).stdout.strip()
    logs = ("/var/log", "/run/libvirt", f"{home}/.local/state", f"{home}/.cache")
    there = [path for path in logs if alice.lab.run("test", "-e", path, check=False).returncode == 0]
    assert marked(alice, *there) == set()
    kept = alice.lab.run("sh", "-c", "find ~/.local/share/moltfleet/logins -type f ! -perm 600", user=alice.name).stdout
    assert kept == ""


def test_a_clean_point_of_the_present_state_is_refused_and_one_made_anew_holds_none(
    alice: User, crab: str, tool: Tool
) -> None:
    synced(tool, crab)
    done = alice.run("warm", crab, "--from-now", "--yes", code=4)
    assert "holds logins" in done.stderr
    alice.run("sync-auth", crab, "--forget")
    assert alice.shell(crab, f"ls ~/{FILE} 2>/dev/null || echo none") == "none"
    alice.run("warm", crab, "--from-now", "--yes", code=4)
    molted(tool, crab)
    alice.run("warm", crab, "--from-now", "--yes")
    # What undo held is gone with it, so there is none left in any of its volumes.
    names = {name for name in alice.lab.volumes() if name.startswith(f"{crab}.")}
    assert names and marked(alice, *(f"{POOL}/{name}" for name in sorted(names))) == set()


def test_undo_and_kept_states_are_logged_in_with_the_token_of_today(alice: User, crab: str, tool: Tool) -> None:
    synced(tool, crab)
    assert tool.use(crab) == "logged in"
    molted(tool, crab, "--keep=monday")
    assert tool.use(crab) == "logged in"
    molted(tool, crab)
    assert tool.use(crab) == "logged in"
    alice.run("undo", crab)
    assert tool.use(crab) == "logged in"
    alice.run("kept", "restore", crab, "monday")
    assert tool.use(crab) == "logged in"


def test_a_guest_that_answers_nobody_is_molted_and_undo_has_its_token(alice: User, crab: str, tool: Tool) -> None:
    synced(tool, crab)
    assert tool.use(crab) == "logged in"
    # Its SSH server takes connections and says nothing, as in a guest that has run out of memory.
    alice.shell(crab, "sudo -n sh -c 'sync; (sleep 3; kill -STOP $(cat /run/dropbear.pid)) >/dev/null 2>&1 &'")
    time.sleep(6)
    result = molted(tool, crab)
    assert result["logins"]["pulled"] == []
    assert any("not pulled back" in note for note in result["logins"]["notes"])
    assert tool.use(crab) == "logged out"
    alice.run("undo", crab)
    assert tool.use(crab) == "logged in"


def test_a_golden_with_a_token_in_it_is_refused_by_name_alone(alice: User, tiny: str) -> None:
    planted = f"mkdir -p /root/.codex && echo '{MARK}-golden' >/root/.codex/auth.json"
    script = alice.write("plant.sh", f"#!/bin/sh\n{planted}\n")
    image = str(IMAGES / "tiny.qcow2")
    before = alice.lab.volumes()
    done = alice.run("golden", "build", "leaky", "--image", image, "--script", script, code=7)
    assert "/root/.codex/auth.json" in done.stderr and MARK not in done.stderr
    assert "leaky" not in alice.lab.domains()
    assert {name for name in alice.lab.volumes() - before if name.startswith("leaky")} == set()
    done = alice.run("golden", "build", "leaky", "--image", image, "--script", script, "--allow-secrets")
    assert "/root/.codex/auth.json" in done.stderr
    alice.run("golden", "delete", "leaky", "--yes")


def test_a_key_is_let_in_again_after_a_molt(alice: User, crab: str) -> None:
    alice.lab.run(
        "sh",
        "-c",
        "mkdir -p -m 700 ~/.ssh && rm -f ~/.ssh/friend* && ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/friend",
        user=alice.name,
    )
    home = alice.lab.run("sh", "-c", "echo $HOME", user=alice.name).stdout.strip()
    where = alice.clone(crab)["ssh"]
    login = (
        f"cd && ssh -n -F none -i .ssh/friend -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no "
        f"-o UserKnownHostsFile=/dev/null -p {where['port']} {where['user']}@{where['host']} hostname"
    )
    alice.run("key", "authorise", crab, "--key", f"{home}/.ssh/friend.pub")
    printed = alice.lab.run("sh", "-c", "ssh-keygen -lf ~/.ssh/friend.pub", user=alice.name).stdout.split()[1]
    try:
        alice.run("molt", crab, "--yes")
        assert alice.lab.run("sh", "-c", login, user=alice.name).stdout.strip() == crab
    finally:
        alice.run("key", "forget", printed)
    alice.run("molt", crab, "--yes")
    assert alice.lab.run("sh", "-c", login, user=alice.name, check=False).returncode == 255
