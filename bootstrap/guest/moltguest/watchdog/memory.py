"""What the guest as a whole has left, from /proc/meminfo."""

from __future__ import annotations

from dataclasses import dataclass

from moltguest.watchdog.files import read_fields


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. ``available`` is what could be had without swapping, as the kernel estimates it."""

    total: int
    available: int
    shmem: int


def read_memory(root: str = "/") -> Memory | None:
    """Return the guest's memory, None when /proc/meminfo does not tell it."""
    fields = read_fields(root.rstrip("/") + "/proc/meminfo")
    if b"MemTotal" not in fields or b"MemAvailable" not in fields:
        return None
    return Memory(fields[b"MemTotal"] << 10, fields[b"MemAvailable"] << 10, fields.get(b"Shmem", 0) << 10)
