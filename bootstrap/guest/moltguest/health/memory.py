"""The guest's memory, swap, pressure and load, as /proc tells them; what a kernel does not tell is None."""

from __future__ import annotations

import os

from moltguest.health.report import Memory, Pressure
from moltguest.watchdog.files import read, read_fields

RESOURCES = ("memory", "io", "cpu")


def read_memory(root: str, agents: int) -> Memory:
    """Return the guest's memory; ``agents`` is what they use together. Raises: OSError when /proc/meminfo is no use."""
    fields = read_fields(root.rstrip("/") + "/proc/meminfo")
    if not fields.get(b"MemTotal") or b"MemAvailable" not in fields:
        raise OSError(0, "/proc/meminfo tells no memory")

    def amount(*names: bytes) -> int:
        return sum(fields.get(name, 0) for name in names) << 10

    shm = amount(b"Shmem")
    return Memory(
        total=amount(b"MemTotal"),
        available=amount(b"MemAvailable"),
        agents=agents,
        # What lies in file systems in memory counts as cached, and cannot be dropped.
        cache=max(0, amount(b"Cached", b"Buffers", b"SReclaimable") - shm),
        shm=shm,
        swap_total=amount(b"SwapTotal"),
        swap_used=max(0, amount(b"SwapTotal") - amount(b"SwapFree")),
    )


def read_pressure(root: str) -> dict[str, Pressure | None]:
    """Return the pressure on each resource, None where the kernel does not measure it."""
    return {name: _pressure(read(f"{root.rstrip('/')}/proc/pressure/{name}", 4096)) for name in RESOURCES}


def _pressure(data: bytes | None) -> Pressure | None:
    values: dict[tuple[str, str], float] = {}
    for line in (data or b"").decode("ascii", "replace").splitlines():
        kind, *pairs = line.split() or [""]
        for pair in pairs:
            name, _, value = pair.partition("=")
            try:
                values[kind, name] = float(value)
            except ValueError:
                continue
    if ("some", "avg10") not in values:
        return None
    # Before Linux 5.13 the CPU has no "full".
    some10, some60, full10, full60 = (
        values.get((kind, name), 0.0) for kind in ("some", "full") for name in ("avg10", "avg60")
    )
    return Pressure(some10, some60, full10, full60)


def read_load(root: str) -> tuple[float, ...]:
    """Return the load averages of 1, 5 and 15 minutes; empty when they cannot be told."""
    words = (read(root.rstrip("/") + "/proc/loadavg", 256) or b"").split()
    try:
        return tuple(float(word) for word in words[:3])
    except ValueError:
        return ()


def read_uptime(root: str) -> float:
    """Return the seconds since the boot, 0 when they cannot be told."""
    words = (read(root.rstrip("/") + "/proc/uptime", 64) or b"").split()
    try:
        return float(words[0])
    except (ValueError, IndexError):
        return 0.0


def count_cpus(root: str) -> int:
    """Return the number of processors, at least 1."""
    lines = (read(root.rstrip("/") + "/proc/cpuinfo") or b"").splitlines()
    return sum(line.startswith(b"processor") for line in lines) or os.cpu_count() or 1
