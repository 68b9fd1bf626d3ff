"""Keep the private user database of a lab, with three test users; leave the machine's own as it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from labhost.place import Place

HOMES = Path("/run/home")  # short: session sockets below it must fit in 107 bytes
LIBVIRT_GROUP = "libvirt"


@dataclass(frozen=True, slots=True)
class LabUser:
    """An ordinary user that exists only inside the lab."""

    name: str
    uid: int
    may_use_libvirt: bool

    @property
    def home(self) -> Path:
        return HOMES / self.name


USERS = (
    LabUser("mf-alice", 64901, True),
    LabUser("mf-bob", 64902, True),
    LabUser("mf-carol", 64903, False),
)


def write_databases(place: Place) -> None:
    """Write copies of passwd, group and shadow with the test users added."""
    folder = place.base / "etc"
    folder.mkdir(exist_ok=True)
    passwd = "".join(f"{user.name}:x:{user.uid}:{user.uid}:lab user:{user.home}:/bin/bash\n" for user in USERS)
    group = "".join(f"{user.name}:x:{user.uid}:\n" for user in USERS)
    shadow = "".join(f"{user.name}:*:19000:0:99999:7:::\n" for user in USERS)
    _write(folder / "passwd", Path("/etc/passwd").read_text() + passwd, 0o644)
    _write(folder / "group", _with_members(Path("/etc/group").read_text()) + group, 0o644)
    _write(folder / "shadow", Path("/etc/shadow").read_text() + shadow, 0o600)


def make_homes(place: Place) -> None:
    """Make each test user's home directory, on the real disk."""
    for user in USERS:
        home = place.base / "home" / user.name
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        os.chown(home, user.uid, user.uid)


def make_runtime_directories() -> None:
    """Make /run/user/UID as a login would; runs inside the lab."""
    for uid in (0, *(user.uid for user in USERS)):
        folder = Path(f"/run/user/{uid}")
        folder.mkdir(parents=True)
        folder.chmod(0o700)
        os.chown(folder, uid, uid)


def _with_members(database: str) -> str:
    members = [user.name for user in USERS if user.may_use_libvirt]
    lines = []
    for line in database.splitlines():
        name, *_rest, present = line.split(":")
        if name == LIBVIRT_GROUP:
            line += ("," if present else "") + ",".join(members)
        lines.append(line + "\n")
    return "".join(lines)


def _write(path: Path, text: str, mode: int) -> None:
    path.write_text(text)
    path.chmod(mode)
