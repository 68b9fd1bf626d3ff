"""Leak like an agent gone wrong, inside a guest: leak.py MANNER MIB_A_SECOND [MIB_AT_ONCE], until somebody ends it.

For tests and benchmarks. It is run by a copy of Python that is named like an agent; it needs the standard library only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

MIB = 1 << 20
SHM = "/dev/shm/leak"
CHILDREN = 300
# What a generation of the fork-heavy leak keeps.
GENERATION_MIB = 4


def paced(rate: float, take: Callable[[], object], *, mib: float = 1) -> None:
    """Take so many MiB again and again, at a rate of MiB a second if the guest can."""
    taken, began = 0.0, time.monotonic()
    while True:
        ahead = taken / rate - (time.monotonic() - began)
        if ahead > 0:
            time.sleep(ahead)
        take()
        taken += mib


def chunk(mib: float = 1) -> bytearray:
    """Memory that is really there."""
    return bytearray(b"x") * int(mib * MIB)


def memory(rate: float, at_once: int) -> None:
    """The plain leak."""
    kept = [chunk() for _ in range(at_once)]
    paced(rate, lambda: kept.append(chunk()))


def deaf(rate: float, at_once: int) -> None:
    """The same, deaf to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    memory(rate, at_once)


def forks(rate: float, at_once: int) -> None:
    """Every process keeps a little and starts the next one: whoever is ended, another goes on."""
    while True:
        if os.fork():
            kept = chunk(GENERATION_MIB)
            while kept:
                signal.pause()
        time.sleep(GENERATION_MIB / rate)


def children(rate: float, at_once: int) -> None:
    """A tool of the agent, and that tool's 300 children; each takes a MiB now and then."""
    subprocess.run(["/usr/bin/python3", "-I", "-S", __file__, "brood", str(rate)], check=False)


def brood(rate: float, at_once: int) -> None:
    """The 300."""
    kept: list[bytearray] = []
    for number in range(CHILDREN):
        if os.fork() == 0:
            time.sleep(number / rate)
            paced(rate / CHILDREN, lambda: kept.append(chunk()))
    while True:
        signal.pause()


def shm(rate: float, at_once: int) -> None:
    """Files in memory; the process itself stays small."""
    with open(f"{SHM}-{os.getpid()}", "wb", buffering=0) as file:  # noqa: PTH123 - a guest's program
        piece = chunk()
        for _ in range(at_once):
            file.write(piece)
        paced(rate, lambda: file.write(piece))


def leave(rate: float, at_once: int) -> None:
    """Once seen where it was started, it goes on in a scope of its user's own service manager."""
    time.sleep(8)
    again = [sys.executable, "-I", "-S", __file__, "memory", str(rate), str(at_once)]
    os.execv("/usr/bin/systemd-run", ["systemd-run", "--user", "--scope", "--quiet", *again])


def hold(rate: float, at_once: int) -> None:
    """No leak: memory in use, under a borrowed name."""
    with open("/proc/self/comm", "w") as comm:  # noqa: PTH123 - a guest's program
        comm.write("claude")
    kept = chunk(at_once)
    while kept:
        signal.pause()


def main() -> None:
    """Choose the manner."""
    manners = {leak.__name__: leak for leak in (memory, deaf, forks, children, brood, shm, leave, hold)}
    manner, rate, *rest = sys.argv[1:]
    manners[manner](float(rate), int(rest[0]) if rest else 0)


if __name__ == "__main__":
    main()
