from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from moltfleet.adapters.lockdirectory import (
    PRIVATE_MODE,
    SHARED_MODE,
    Identity,
    Owned,
    canonical_uri,
    directory_for,
    is_local_uri,
    objection,
    open_directory,
    wanted,
)
from moltfleet.model.errors import ToolFailed

GROUP = 106
ALICE = Identity(uid=1001, groups=frozenset({1001, GROUP}), group=GROUP, is_member={1001, 1002}.__contains__)
STRANGER = replace(ALICE, uid=1009, groups=frozenset({1009}))
ROOT = replace(ALICE, uid=0, groups=frozenset({0}))
SHARED = Owned(uid=1002, gid=GROUP, mode=SHARED_MODE)


@pytest.mark.parametrize(
    ("uri", "is_local"),
    [
        ("qemu:///system", True),
        ("qemu+unix:///system?socket=/tmp/s", True),
        ("qemu:///session", True),
        ("test:///default", True),
        ("qemu+ssh://host/system", False),
        ("qemu+ssh:///system", False),
        ("qemu+tls://host/system", False),
        ("qemu://host/system", False),
    ],
)
def test_a_uri_is_local_when_it_names_no_host_and_no_network_transport(uri, is_local):
    assert is_local_uri(uri) is is_local


def test_spellings_of_one_libvirt_share_their_locks():
    spellings = [
        "qemu:///system",
        "qemu+unix:///system",
        "qemu:///system?socket=/var/run/libvirt/libvirt-sock",
        "qemu+unix:///system?socket=/run/libvirt/libvirt-sock&mode=auto",
    ]
    assert {canonical_uri(uri) for uri in spellings} == {"qemu:///system"}
    assert len({directory_for(uri, {}) for uri in spellings}) == 1


def test_another_socket_and_another_driver_are_another_libvirt():
    uris = ["qemu:///system", "qemu:///system?socket=/tmp/lab/libvirt-sock", "qemu:///session", "ch:///system"]
    assert len({directory_for(uri, {"XDG_RUNTIME_DIR": "/run/user/1"})[0] for uri in uris}) == len(uris)


def test_locks_of_the_system_are_shared_below_run_lock():
    path, is_shared = directory_for("qemu:///system", {"XDG_RUNTIME_DIR": "/run/user/1001"})
    assert is_shared and path.parent == Path("/run/lock") and path.name.startswith("moltfleet-")


def test_locks_of_a_session_are_the_user_s_own():
    path, is_shared = directory_for("qemu:///session", {"XDG_RUNTIME_DIR": "/run/user/1001"})
    assert not is_shared and path.parent == Path("/run/user/1001/moltfleet")


def test_without_a_runtime_directory_a_session_locks_in_the_user_s_state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path, _ = directory_for("qemu:///session", {})
    assert path.parent == tmp_path / "moltfleet"


@pytest.mark.parametrize("identity", [ALICE, ROOT])
def test_members_and_root_make_a_directory_for_the_group(identity):
    assert wanted(identity, is_shared=True) == (SHARED_MODE, GROUP)


@pytest.mark.parametrize("identity", [STRANGER, replace(ROOT, group=None)])
def test_whoever_cannot_share_makes_a_private_directory(identity):
    assert wanted(identity, is_shared=True) == (PRIVATE_MODE, None)


def test_a_session_s_directory_is_private_also_for_members():
    assert wanted(ALICE, is_shared=False) == (PRIVATE_MODE, None)


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        (SHARED, None),
        (replace(SHARED, uid=0), None),
        (replace(SHARED, uid=1001, mode=PRIVATE_MODE), None),
        (replace(SHARED, uid=1009), "belongs to user '1009'"),
        (replace(SHARED, gid=1002), "is not shared with group 'libvirt'"),
        (replace(SHARED, mode=0o2750), "is not shared with group 'libvirt'"),
        (replace(SHARED, mode=0o770), "is not shared with group 'libvirt'"),
        (replace(SHARED, mode=0o2777), "is writable by everybody"),
        (replace(SHARED, uid=1001, mode=0o777), "is writable by everybody"),
    ],
)
def test_a_member_believes_only_what_root_or_a_member_shared(there, reason):
    assert objection(there, ALICE, is_shared=True) == reason


def test_a_session_believes_only_what_is_its_own():
    assert objection(replace(SHARED, uid=1001, mode=PRIVATE_MODE), ALICE, is_shared=False) is None
    assert objection(SHARED, ALICE, is_shared=False) == "belongs to user '1002'"


def me() -> Identity:
    return replace(Identity.current(), group=None)


def test_an_own_directory_is_made_private_and_repaired(tmp_path):
    path = tmp_path / "locks"
    path.mkdir(mode=0o777)
    path.chmod(0o777)
    os.close(open_directory(path, me(), is_shared=True))
    assert path.stat().st_mode & 0o7777 == PRIVATE_MODE


def test_a_planted_symlink_is_refused(tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "locks").symlink_to(tmp_path / "victim")
    with pytest.raises(ToolFailed) as caught:
        open_directory(tmp_path / "locks", me(), is_shared=True)
    assert caught.value.brief == f"Lock directory {tmp_path / 'locks'} is a symlink or a file"
    assert "join that group" in caught.value.hint


def test_a_stranger_s_directory_is_refused(tmp_path):
    stranger = replace(me(), uid=os.geteuid() + 1)
    with pytest.raises(ToolFailed) as caught:
        open_directory(tmp_path, stranger, is_shared=False)
    assert f"Lock directory {tmp_path} belongs to user" in caught.value.brief


def test_the_caller_is_looked_up():
    identity = Identity.current()
    assert identity.uid == os.geteuid() and os.getegid() in identity.groups
    assert not identity.is_member(2**31 - 5)
