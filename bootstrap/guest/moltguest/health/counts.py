"""What runs out beside memory: processes, threads, open files; of the guest, of its groups, of single processes."""

from __future__ import annotations

import os
from collections.abc import Iterable

from moltguest.health.report import Count
from moltguest.watchdog.files import printable, read, read_fields, read_int
from moltguest.watchdog.processes import Process

# Of a guest with very many agents' processes, only so many are looked at one by one.
_MOST_LOOKED_AT = 128
_WORTH_TELLING = 0.5


def read_counts(root: str, table: dict[int, Process], agents: Iterable[int]) -> tuple[Count, ...]:
    """Return the guest's own counts, then those of groups and agents' processes that are half used up or more."""
    top = root.rstrip("/")
    threads, open_files = _threads(top), (read(top + "/proc/sys/fs/file-nr", 64) or b"").split()
    found = [
        Count("processes", len(table), read_int(top + "/proc/sys/kernel/pid_max")),
        Count("threads", threads, read_int(top + "/proc/sys/kernel/threads-max")),
        Count("open files", _number(open_files, 0), _number(open_files, 2) or None),
        Count("zombies", sum(process.state == "Z" for process in table.values()), None),
    ]
    found += [count for count in _groups(top) if count.full >= _WORTH_TELLING or count.refused]
    found += [count for pid in list(agents)[:_MOST_LOOKED_AT] if (count := _files(top, pid, table))]
    return tuple(found)


def _threads(top: str) -> int:
    """Return the threads of all processes, the kernel's own too: what /proc/loadavg counts."""
    words = (read(top + "/proc/loadavg", 256) or b"").split()
    running = words[3].partition(b"/")[2] if len(words) > 3 else b""
    return int(running) if running.isdigit() else 0


def _number(words: list[bytes], index: int) -> int:
    return int(words[index]) if len(words) > index and words[index].isdigit() else 0


def _groups(top: str) -> list[Count]:
    """The limits of processes (pids.max) that people and agents run under."""
    base = top + "/sys/fs/cgroup"
    found = []
    for path in ("/agents.slice", "/user.slice", *_below(base, "/user.slice", ".slice"), "/docker.slice"):
        paths = [path, *_below(base, path, ".scope")]
        for group in paths:
            most, used = read_int(f"{base}{group}/pids.max"), read_int(f"{base}{group}/pids.current")
            refused = read_fields(f"{base}{group}/pids.events").get(b"max", 0)
            if used is not None and (most is not None or refused):
                found.append(Count("processes", used, most, printable(group.rsplit("/", 1)[-1]), refused))
    return found


def _below(base: str, path: str, end: str) -> list[str]:
    try:
        names = sorted(os.listdir(base + path))
    except OSError:
        return []
    return [f"{path}/{name}" for name in names if name.endswith(end)][:_MOST_LOOKED_AT]


def _files(top: str, pid: int, table: dict[int, Process]) -> Count | None:
    """The open files of one process, when half of what it may have are open; None also when it is not ours to see."""
    try:
        used = len(os.listdir(f"{top}/proc/{pid}/fd"))
    except OSError:
        return None
    most = _soft_limit(read(f"{top}/proc/{pid}/limits", 4096) or b"")
    if not most or used / most < _WORTH_TELLING:
        return None
    name = table[pid].comm if pid in table else "?"
    return Count("open files", used, most, f"{printable(name)} (pid {pid})")


def _soft_limit(text: bytes) -> int:
    for line in text.splitlines():
        if line.startswith(b"Max open files"):
            word = line[len(b"Max open files") :].split()[0]
            return int(word) if word.isdigit() else 0
    return 0
