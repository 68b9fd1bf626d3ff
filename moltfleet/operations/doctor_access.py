"""Who may do what on this host: users, groups, and the way that QEMU's user has to take to the pool and to KVM."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from moltfleet.model.doctor import Area, Finding
from moltfleet.model.errors import MoltfleetError

if TYPE_CHECKING:
    from moltfleet.model.machine import Machine
    from moltfleet.operations.host import Host

_GROUP = "libvirt"
_QEMU_CONF = "/etc/libvirt/qemu.conf"
# As Debian and Red Hat call them.
_QEMU_USERS = ("libvirt-qemu", "qemu")
_KVM = "/dev/kvm"
_WHY_GROUP = "Members of group libvirt use qemu:///system without root; a login knows the groups that it began with."
_WHY_DIRECTORY = "QEMU runs as a user of its own, and opens no disk below a directory that this user cannot enter."
_WHY_KVM = "QEMU opens it as a user of its own; without it guests do not start, or are emulated."


@dataclass(frozen=True, slots=True)
class User:
    """A user of this host by name and number, with the numbers of all groups."""

    name: str
    number: int
    groups: frozenset[int]


def examine_groups(host: Host, *, is_connected: bool) -> Iterator[Finding]:
    """Look whether this user, as logged in now, may use libvirt. Being let in otherwise is fine."""
    groups, me = _groups(host.machine), _me(host.machine)
    if me is None or me.number == 0 or _GROUP not in groups:
        return
    number, members = groups[_GROUP]
    if number in me.groups:
        return
    if me.name in members:
        fact = f"{me.name} is a member of it, and was not yet when this login began"
        yield _finding("group", _GROUP, fact, _WHY_GROUP, f"Log in anew; or for this shell: newgrp {_GROUP}")
    elif not is_connected:
        fix = f"sudo usermod --append --groups {_GROUP} {me.name}, and log in anew"
        yield _finding("group", _GROUP, f"{me.name} is no member of it", _WHY_GROUP, fix)


def examine_way(host: Host, directory: str) -> Iterator[Finding]:
    """Look at the pool's directory and at every one above it, as QEMU's user meets them."""
    user = find_qemu_user(host.machine)
    if user is None or user.number == 0:
        return
    for place in (*reversed(PurePosixPath(directory).parents), PurePosixPath(directory)):
        if not _may_enter(host.machine, user, str(place)):
            fix = f"sudo chmod o+x {place}"
            if host.machine.find_program("setfacl"):
                fix = f"sudo setfacl --modify u:{user.name}:x {place}"
            yield _finding("directory", str(place), f"{user.name} cannot enter it", _WHY_DIRECTORY, fix)


def examine_kvm(host: Host, *, is_session: bool) -> Iterator[Finding]:
    """Look whether the user that QEMU runs as may open KVM, where there is one."""
    user = _me(host.machine) if is_session else find_qemu_user(host.machine)
    device = host.machine.entry(_KVM)
    if device is None or user is None or user.number in (0, device.owner):
        return
    is_open = device.mode & 0o006 == 0o006 or (device.mode & 0o060 == 0o060 and device.group in user.groups)
    if not is_open:
        name = next((name for name, (number, _) in _groups(host.machine).items() if number == device.group), "kvm")
        anew = "log in anew" if is_session else "restart libvirtd"
        fix = f"sudo usermod --append --groups {name} {user.name}, and {anew}"
        yield _finding("kvm", _KVM, f"{user.name} may not open it", _WHY_KVM, fix)


def find_qemu_user(machine: Machine) -> User | None:
    """The user that libvirt's QEMU runs as, by its settings where they can be read; None when there is none."""
    try:
        text = (machine.read(_QEMU_CONF) or b"").decode("utf-8", "replace")
    except MoltfleetError:
        # Usually only root may read it, and nobody changes it.
        text = ""
    said = dict(re.findall(r'^\s*(user|group)\s*=\s*"\+?([^"]+)"', text, re.MULTILINE))
    wanted = (said["user"],) if "user" in said else _QEMU_USERS
    user = next((found for name in wanted if (found := _find_user(machine, name))), None)
    number, _ = _groups(machine).get(said.get("group", ""), (None, ()))
    return user if user is None or number is None else User(user.name, user.number, user.groups | {number})


def _finding(kind: str, subject: str, fact: str, why: str, fix: str) -> Finding:
    return Finding(kind, Area.HOST, subject, fact, why, fix)


def _rows(machine: Machine, path: str) -> list[list[str]]:
    lines = (machine.read(path) or b"").decode("utf-8", "replace").splitlines()
    return [line.split(":") for line in lines if line.count(":") >= 3]


def _groups(machine: Machine) -> Mapping[str, tuple[int, tuple[str, ...]]]:
    """Groups by name: number and members, as group(5) has them."""
    rows = (row for row in _rows(machine, "/etc/group") if row[2].isdigit())
    return {row[0]: (int(row[2]), tuple(row[3].split(","))) for row in rows}


def _find_user(machine: Machine, name: str) -> User | None:
    """A user by name or number, as passwd(5) has them."""
    for row in _rows(machine, "/etc/passwd"):
        if name in (row[0], row[2]) and row[2].isdigit() and row[3].isdigit():
            joined = {number for number, members in _groups(machine).values() if row[0] in members}
            return User(row[0], int(row[2]), frozenset(joined | {int(row[3])}))
    return None


def _me(machine: Machine) -> User | None:
    """Who this process is, with the groups that it really has."""
    text = (machine.read("/proc/self/status") or b"").decode("utf-8", "replace")
    told = {line.split(":")[0]: line.split()[1:] for line in text.splitlines() if ":" in line}
    if not told.get("Uid") or not told.get("Gid"):
        return None
    known = _find_user(machine, told["Uid"][1])
    groups = frozenset(int(number) for number in (told["Gid"][1], *told.get("Groups", [])))
    return User(known.name, known.number, groups) if known else None


def _may_enter(machine: Machine, user: User, path: str) -> bool:
    """Whether a directory lets the user through; one that is not there or not seen is not judged."""
    entry = machine.entry(path)
    if entry is None:
        return True
    if entry.owner == user.number:
        return bool(entry.mode & 0o100)
    # The first class that fits counts, whatever the others may do.
    bit = 0o010 if entry.group in user.groups else 0o001
    return bool(entry.mode & bit) or _has_acl(machine, user, path)


def _has_acl(machine: Machine, user: User, path: str) -> bool:
    """Whether an access control list lets the user through (acl(5)); without getfacl nobody set one."""
    if not machine.find_program("getfacl"):
        return False
    told = machine.run(["getfacl", "--omit-header", "--absolute-names", "--numeric", path], check=False).text
    names = {f"user:{user.number}", *(f"group:{number}" for number in user.groups)}
    for line in told.splitlines():
        name, _, rights = line.partition("#effective:")[0].strip().rpartition(":")
        effective = line.partition("#effective:")[2] or rights
        if name in names and effective.strip().endswith("x"):
            return True
    return False
