"""The heaps of node's processes: what one holds, and where V8 is going to end it, which no limit of the guest shows."""

from __future__ import annotations

from dataclasses import dataclass

from moltguest.watchdog.files import read
from moltguest.watchdog.processes import Processes

NODE = ("node", "nodejs")
MIB, GIB = 1 << 20, 1 << 30
_OPTION = b"--max-old-space-size"
_LARGEST = 1 << 17


@dataclass(frozen=True, slots=True)
class Heap:
    """A process of node, of which agent it is, what it holds, and where V8 ends it; bytes."""

    agent: str
    pid: int
    used: int
    limit: int


def read_heap(root: str, processes: Processes, pid: int, total: int) -> Heap | None:
    """Return the heap of a process in a guest of ``total`` bytes, None when it is not node's."""
    executable = processes.executable(pid) or ""
    if executable.rsplit("/", 1)[-1] not in NODE:
        return None
    base = f"{root.rstrip('/')}/proc/{pid}"
    limit = _told(f"{base}/cmdline") or _told(f"{base}/environ") or default_heap(total)
    return Heap("", pid, processes.most(pid), limit)


def _told(path: str) -> int | None:
    """Return the heap that node was told to take, None when it was not told. Nothing else of what is read is kept."""
    found = None
    for word in (read(path, _LARGEST) or b"").replace(b" ", b"\0").split(b"\0"):
        option, _, value = word.removeprefix(b"NODE_OPTIONS=").partition(b"=")
        if option.replace(b"_", b"-") == _OPTION and value.isdigit():
            found = int(value[:9]) * MIB
    return found


def default_heap(total: int) -> int:
    """Return where V8 stops without being told: a quarter of the memory, at most 2 GiB, 4 GiB from 15 GiB on.

    Source: Heap::HeapSizeFromPhysicalMemory and MaxOldGenerationSize in V8's heap.cc.
    """
    return min(total // 4, 4 * GIB if total >= 15 * GIB else 2 * GIB)
