"""Processes as /proc shows them. A process is known by its number and its start time; its name is never believed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from moltguest.watchdog.files import link, read, read_fields

# Process number and start time.
Identity = tuple[int, int]

_DELETED = " (deleted)"
# With the line before: no name of a process can stand there, as control characters are escaped in it.
_OWN_MEMORY = (b"\nRssAnon:", b"\nRssShmem:", b"\nVmSwap:")
# Threads of the kernel are children of this one.
KTHREADD = 2


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc/PID/stat. ``start`` is in clock ticks since the boot: with ``pid`` it is the identity."""

    pid: int
    start: int
    parent: int
    terminal: int
    state: str
    comm: str

    @property
    def identity(self) -> Identity:
        """What no other process has, as long as this guest runs."""
        return (self.pid, self.start)


class Processes:
    """The processes below ``root``. ``unreadable`` is how many entries the last scan was refused."""

    def __init__(self, root: str = "/") -> None:
        self._root = root.rstrip("/")
        self._proc = self._root + "/proc"
        self.unreadable = 0

    def scan(self) -> dict[int, Process]:
        """Return all processes but the kernel's own, by number."""
        found = {}
        self.unreadable = 0
        for name in self._names():
            try:
                process = self.find(int(name))
            except PermissionError:
                self.unreadable += 1
                continue
            if process is not None and KTHREADD not in (process.pid, process.parent):
                found[process.pid] = process
        return found

    def _names(self) -> list[str]:
        try:
            return [name for name in os.listdir(self._proc) if name.isdigit()]
        except OSError:
            return []

    def find(self, pid: int) -> Process | None:
        """Return the process with this number, None when there is none. Raises: PermissionError."""
        try:
            fd = os.open(f"{self._proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            raise
        except OSError:
            return None
        try:
            return parse_stat(os.read(fd, 4096))
        except (OSError, ValueError):
            return None
        finally:
            os.close(fd)

    def executable(self, pid: int) -> str | None:
        """Return the path of the executable, also of one deleted since; None when it cannot be told."""
        path = link(f"{self._proc}/{pid}/exe")
        return path.removesuffix(_DELETED) if path else None

    def cgroup(self, pid: int) -> str:
        """Return the path of the cgroup in the unified hierarchy, empty when there is none."""
        for line in (read(f"{self._proc}/{pid}/cgroup", 8192) or b"").splitlines():
            if line.startswith(b"0::"):
                return os.fsdecode(line[3:]).removesuffix(_DELETED)
        return ""

    def script(self, pid: int) -> str | None:
        """Return the file that an interpreter was started with, links resolved; None when there is no such file.

        Only the first argument that is no option is looked at, and only what is a file counts.
        """
        words = (read(f"{self._proc}/{pid}/cmdline", 4096) or b"").split(b"\0")[1:]
        word = first_operand([os.fsdecode(word) for word in words])
        if not word:
            return None
        directory = link(f"{self._proc}/{pid}/cwd") or "/"
        path = os.path.realpath(self._root + os.path.join(directory, word))
        if not os.path.isfile(path):
            return None
        return path.removeprefix(os.path.realpath(self._root or "/").rstrip("/"))

    def owner(self, pid: int) -> int:
        """Return the effective user's number, -1 when it cannot be told."""
        return number_in(read(f"{self._proc}/{pid}/status", 4096) or b"", b"\nUid:", 1, otherwise=-1)

    def most(self, pid: int) -> int:
        """Return the memory in bytes that ending the process could free, never too little.

        Pages that it shares with others count in full: see :meth:`share`.
        """
        return self._of_status(pid, _OWN_MEMORY)

    def anonymous(self, pid: int) -> int:
        """Return that part of it in bytes which is in no file, be it one in memory."""
        return self._of_status(pid, _OWN_MEMORY[:1])

    def _of_status(self, pid: int, names: tuple[bytes, ...]) -> int:
        # Before these lines comes one with all groups of the user.
        status = read(f"{self._proc}/{pid}/status", 1 << 16) or b""
        return sum(number_in(status, name, 0) for name in names) << 10

    def share(self, pid: int) -> int | None:
        """Return the process's proportional share in bytes; slow, as the kernel walks its page tables.

        Files of its own program are left out where the kernel tells them apart (5.4 and later).
        """
        fields = read_fields(f"{self._proc}/{pid}/smaps_rollup")
        if b"Pss" not in fields:
            return None
        parts = (b"Pss_Anon", b"Pss_Shmem") if b"Pss_Anon" in fields else (b"Pss",)
        return sum(fields.get(name, 0) for name in (*parts, b"SwapPss")) << 10


def number_in(text: bytes, name: bytes, index: int, *, otherwise: int = 0) -> int:
    """Return one of the numbers in the line of /proc/PID/status that begins with ``name``.

    This is asked of every process of an agent, again and again: nothing else of the file is looked at.
    """
    start = text.find(name)
    if start < 0:
        return otherwise
    start += len(name)
    words = text[start : text.find(b"\n", start)].split()
    return int(words[index]) if len(words) > index and words[index].isdigit() else otherwise


def parse_stat(line: bytes) -> Process:
    """Read a line of /proc/PID/stat; the name in it may hold anything, also parentheses. Raises: ValueError."""
    opened, closed = line.find(b" ("), line.rfind(b")")
    words = line[closed + 1 :].split()
    if opened < 1 or closed < opened or len(words) < 20:
        raise ValueError("no line of /proc/PID/stat")
    name = line[opened + 2 : closed].decode("utf-8", "surrogateescape")
    # proc(5): 3 state, 4 ppid, 7 tty_nr, 22 starttime.
    return Process(int(line[:opened]), int(words[19]), int(words[1]), int(words[4]), words[0].decode("ascii"), name)


# Options of node, bun and deno that take the next word; with the latter three there is no script at all.
_TAKING = ("-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions", "--env-file")
_NO_SCRIPT = ("-e", "--eval", "-p", "--print", "-pe", "-")


def first_operand(words: list[str]) -> str | None:
    """Return the script of an interpreter's arguments, None when it has none."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in _NO_SCRIPT:
            return None
        if word in _TAKING:
            rest[:1] = []
        elif word != "run" and not word.startswith("-"):
            return word
    return None


def children_of(table: dict[int, Process]) -> dict[int, list[Process]]:
    """Return the children of each process."""
    found: dict[int, list[Process]] = {}
    for process in table.values():
        found.setdefault(process.parent, []).append(process)
    return found


def descendants(
    roots: list[Process], children: dict[int, list[Process]], keep: Callable[[Process], bool]
) -> list[Process]:
    """Return the processes and all below them, each once; what is not kept hides what is below it.

    A loop of parents, as numbers given anew can make, ends.
    """
    found: dict[int, Process] = {}
    rest = list(roots)
    while rest:
        process = rest.pop()
        if process.pid not in found and keep(process):
            found[process.pid] = process
            rest.extend(children.get(process.pid, ()))
    return list(found.values())
