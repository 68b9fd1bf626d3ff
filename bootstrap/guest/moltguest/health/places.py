"""The file systems that a guest's work depends on: how full they are, and of what they are made."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from moltguest.health.report import Place
from moltguest.watchdog.files import read

# A file system that is mounted at several of them is shown once.
PATHS = ("/", "/home", "/var", "/tmp", "/dev/shm", "/run")
_IN_MEMORY = (b"tmpfs", b"ramfs")


class Statvfs(Protocol):
    """What statvfs(3) tells, as far as it matters here."""

    @property
    def f_frsize(self) -> int:
        """See statvfs(3)."""

    @property
    def f_blocks(self) -> int:
        """See statvfs(3)."""

    @property
    def f_bavail(self) -> int:
        """See statvfs(3)."""

    @property
    def f_files(self) -> int:
        """See statvfs(3)."""

    @property
    def f_favail(self) -> int:
        """See statvfs(3)."""


Ask = Callable[[str], Statvfs]


def read_places(root: str, ask: Ask = os.statvfs) -> tuple[Place, ...]:
    """Return each file system once, under the shortest of the paths; those that cannot be asked are left out."""
    found, seen = [], set()
    kinds = _kinds(root)
    for path in PATHS:
        try:
            device = os.stat(root.rstrip("/") + path).st_dev
            figures = ask(root.rstrip("/") + path)
        except OSError:
            continue
        # Below another root everything lies on one device; there the mounts alone tell them apart.
        identity = kinds.get(path.encode()) if root != "/" else device
        if identity is None or identity in seen:
            continue
        seen.add(identity)
        found.append(_place(path, figures, kinds.get(path.encode(), b"").split(b" ")[-1] in _IN_MEMORY))
    return tuple(found)


def _place(path: str, figures: Statvfs, in_memory: bool) -> Place:  # noqa: FBT001 - what it is, not how it is done
    size = figures.f_frsize
    return Place(
        path, in_memory, figures.f_blocks * size, figures.f_bavail * size, figures.f_files, figures.f_favail
    )  # fmt: skip


def _kinds(root: str) -> dict[bytes, bytes]:
    """Return what is mounted where, as "path type"; of several on one path the last one is what is seen."""
    kinds = {}
    for line in (read(root.rstrip("/") + "/proc/mounts") or b"").splitlines():
        words = line.split(b" ")
        if len(words) >= 3:
            kinds[words[1]] = words[1] + b" " + words[2]
    return kinds
