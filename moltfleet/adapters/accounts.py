"""The users of this machine, and which of a program's files others than root could replace."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path

from moltfleet.model.schedule import Account

_MOST_LINKS = 40


class LocalAccounts:
    """The port ``Accounts``."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def me(self) -> Account:
        """See the port. Where settings are is told by XDG_CONFIG_HOME, as the user's systemd reads it too."""
        user = pwd.getpwuid(os.geteuid())
        home = self._environment.get("HOME") or user.pw_dir
        return Account(user.pw_name, user.pw_uid, home, self._environment.get("XDG_CONFIG_HOME") or f"{home}/.config")

    def find(self, name: str) -> Account | None:
        """See the port."""
        try:
            user = pwd.getpwnam(name)
        except (KeyError, ValueError):
            return None
        return Account(user.pw_name, user.pw_uid, user.pw_dir, f"{user.pw_dir}/.config")

    def is_member(self, name: str, group: str) -> bool:
        """See the port."""
        try:
            user, number = pwd.getpwnam(name), grp.getgrnam(group).gr_gid
        except KeyError:
            return False
        return number in os.getgrouplist(name, user.pw_gid)

    def weak_spot(self, path: str) -> str | None:
        """See the port. What is not there could be made by whoever can write the directory."""
        waiting, seen = [Path(path)], set[Path]()
        while waiting:
            place = waiting.pop()
            for part in (place, *place.parents):
                if part in seen or len(seen) > _MOST_LINKS * 10:
                    continue
                seen.add(part)
                if _is_open(part):
                    return str(part)
                if part.is_symlink():
                    target = part.parent / part.readlink()
                    waiting.append(Path(os.path.normpath(target)))
        return None


def _is_open(part: Path) -> bool:
    try:
        status = part.lstat()
    except OSError:
        return False
    if stat.S_ISLNK(status.st_mode):
        return status.st_uid != 0
    return status.st_uid != 0 or bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
