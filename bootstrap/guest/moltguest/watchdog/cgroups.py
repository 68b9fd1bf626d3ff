"""Memory of control groups (version 2 only): what is used, what is allowed, and the end of a whole group."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from moltguest.watchdog.files import read, read_fields, read_int

AGENTS_SLICE = "agents.slice"
_DEEPEST = 8
_KILLED_BY_KERNEL = b"oom_kill"


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory of a group in bytes. ``used`` is what ending it would free: caches that can be dropped are left out."""

    used: int
    anon: int
    shmem: int
    file: int


class Cgroups:
    """The unified hierarchy below ``root``. Paths are as in /proc/PID/cgroup: they begin with a slash."""

    def __init__(self, root: str = "/") -> None:
        self._top = root.rstrip("/") + "/sys/fs/cgroup"

    def is_unified(self) -> bool:
        """Whether this is version 2, with memory accounted."""
        return b"memory" in (read(self._top + "/cgroup.controllers") or b"").split()

    def agents_slices(self) -> list[str]:
        """Return every agents.slice: the system's, and those of users' own service managers."""
        found = [f"/{AGENTS_SLICE}"] if os.path.isdir(f"{self._top}/{AGENTS_SLICE}") else []
        for user in self._below("/user.slice", "user-", ".slice"):
            for manager in self._below(user, "user@", ".service"):
                found += self._below(manager, AGENTS_SLICE, "")
        return found

    def units(self, path: str, depth: int = 0) -> list[str]:
        """Return the scopes and services below a slice, also those in slices below it."""
        found = []
        for child in self._below(path, "", ""):
            if child.endswith((".scope", ".service")):
                found.append(child)
            elif child.endswith(".slice") and depth < _DEEPEST:
                found += self.units(child, depth + 1)
        return found

    def _below(self, path: str, start: str, end: str) -> list[str]:
        try:
            with os.scandir(self._top + path) as entries:
                names = [e.name for e in entries if e.name.startswith(start) and e.is_dir(follow_symlinks=False)]
        except OSError:
            return []
        return [f"{path}/{name}" for name in sorted(names) if name.endswith(end)]

    def usage(self, path: str) -> Usage | None:
        """Return what a group uses, None when it has gone."""
        current = read_int(f"{self._top}{path}/memory.current")
        if current is None:
            return None
        stat = read_fields(f"{self._top}{path}/memory.stat")
        shmem, file = stat.get(b"shmem", 0), stat.get(b"file", 0)
        # memory.current is exact at any moment, memory.stat may be two seconds old: so what can be dropped is taken
        # off the former. "file" contains shmem, which nothing can drop without swap.
        droppable = max(0, file - shmem) + stat.get(b"slab_reclaimable", 0)
        return Usage(max(0, current - droppable), stat.get(b"anon", 0), shmem, file)

    def bounds(self, path: str) -> tuple[int | None, int | None]:
        """Return (memory.high, memory.max) in bytes, None for no limit."""
        return read_int(f"{self._top}{path}/memory.high"), read_int(f"{self._top}{path}/memory.max")

    def cpu_s(self, path: str) -> float | None:
        """Return the processor seconds that a group and what ended in it have used, None where that is not counted."""
        used = read_fields(f"{self._top}{path}/cpu.stat").get(b"usage_usec")
        return None if used is None else used / 1e6

    def oom_kills(self, path: str) -> int:
        """Return how many processes in and below a group the kernel has ended for want of memory."""
        return read_fields(f"{self._top}{path}/memory.events").get(_KILLED_BY_KERNEL, 0)

    def pids(self, path: str) -> list[int]:
        """Return the processes in and below a group."""
        return [pid for group in self._walk(path) for pid in self._own_pids(group)]

    def _own_pids(self, path: str) -> list[int]:
        text = read(f"{self._top}{path}/cgroup.procs", 1 << 22) or b""
        return [int(word) for word in text.split() if word.isdigit()]

    def _walk(self, path: str, depth: int = 0) -> Iterator[str]:
        yield path
        if depth < _DEEPEST:
            for child in self._below(path, "", ""):
                yield from self._walk(child, depth + 1)

    def kill(self, path: str) -> bool:
        """End every process in and below a group at once. Returns False when the kernel has no such file (5.14)."""
        try:
            fd = os.open(f"{self._top}{path}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            os.write(fd, b"1")
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def file(self, path: str, name: str) -> str:
        """Return where a file of a group lies, for those who wait on it."""
        return f"{self._top}{path}/{name}"


def is_inside(path: str) -> bool:
    """Whether a cgroup lies below an agents.slice."""
    return AGENTS_SLICE in path.split("/")[:-1]


def unit_of(path: str) -> str:
    """Return the scope or service below agents.slice that a group lies in, empty when there is none."""
    parts = path.split("/")
    if AGENTS_SLICE not in parts:
        return ""
    for index in range(parts.index(AGENTS_SLICE) + 1, len(parts)):
        if parts[index].endswith((".scope", ".service")):
            return "/".join(parts[: index + 1])
    return ""
