"""To be run by name. The doctor on a real libvirt: what virsh leaves behind is found and mended, and no more goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .conftest import User
from .loggedin import MARK, Tool, synced
from .loggedin import tool as tool

# The lab has no KVM, which the doctor says each time.
_ALWAYS = {"kvm"}


def findings(user: User) -> list[dict[str, Any]]:
    document = user.json("doctor", "--no-guests", code=4)
    return [one for one in document["findings"] if one["kind"] not in _ALWAYS]


def test_a_fleet_in_use_gives_no_finding(alice: User, crab: str) -> None:
    alice.run("molt", crab, "--keep", "monday", "--yes")
    assert findings(alice) == []


def test_what_virsh_undefine_leaves_is_found_and_deleted_and_nothing_else(alice: User, crab: str) -> None:
    lab = alice.lab
    alice.run("create", "tiny", "prawn")
    before = lab.volumes()
    lab.virsh("destroy", "prawn")
    lab.virsh("undefine", "prawn")
    found = findings(alice)
    assert {one["kind"] for one in found} == {"orphan"}
    left_behind = {one["subject"] for one in found}
    assert left_behind == {name for name in before if name.startswith("prawn.")} != set()
    assert all(one["bytes_to_win"] > 0 for one in found)
    alice.run("doctor", "--no-guests", "--fix", code=2)
    assert lab.volumes() == before
    mended = alice.json("doctor", "--no-guests", "--fix", "--yes", code=4)["mended"]
    assert {one["outcome"] for one in mended} == {"mended"}
    assert lab.volumes() == before - left_behind
    assert findings(alice) == []
    assert alice.shell(crab, "hostname").strip() == crab


def test_somebodys_snapshot_is_told_and_left_alone(alice: User, crab: str) -> None:
    lab = alice.lab
    lab.virsh("snapshot-create-as", crab, "theirs", "--disk-only")
    try:
        assert {(one["kind"], one["subject"]) for one in findings(alice)} >= {("foreign", crab)}
        alice.run("doctor", "--no-guests", "--fix", "--yes", code=4)
        assert "theirs" in lab.virsh("snapshot-list", crab, "--name")
    finally:
        alice.run("molt", crab, "--discard-snapshots", "--yes")
    assert findings(alice) == []


def test_a_login_that_two_clones_share_is_told_and_its_command_mends_it(
    alice: User, crab: str, remove: Callable[[str], str], tool: Tool
) -> None:
    prawn = remove("prawn")
    alice.run("create", "tiny", prawn)
    synced(tool, crab)
    assert findings(alice) == []
    synced(tool, prawn)
    found = findings(alice)
    assert [(one["kind"], one["subject"], one["mendable"]) for one in found] == [("shared-login", crab, False)] * 2
    assert MARK not in str(found)
    for one, login in zip(found, ("codex", "mytool"), strict=True):
        command = f"sync-auth {prawn} --forget --only {login}"
        assert command in one["fix"]
        alice.run(*command.split())
    assert findings(alice) == []
    assert tool.use(crab) == "logged in"
