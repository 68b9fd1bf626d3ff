"""Says whether everything is there that the watchdog needs; tries each thing on itself, and ends nobody."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator

from moltguest.watchdog.agents import protection
from moltguest.watchdog.cgroups import Cgroups
from moltguest.watchdog.journal import Journal
from moltguest.watchdog.memory import read_memory
from moltguest.watchdog.processes import Processes
from moltguest.watchdog.signals import PidfdSignals
from moltguest.watchdog.wakeups import TRIGGER

Check = Callable[[str], str]


def checks() -> dict[str, tuple[Check, bool]]:
    """Return each check by what it shows, and whether the watchdog is of no use without it."""
    return {
        "the guest's memory can be read": (_memory, True),
        "processes can be read, also those of others": (_processes, True),
        "signals by pidfd": (_signals, True),
        "the system is protected": (_protection, True),
        "cgroups are version 2, with memory": (_cgroups, False),
        "whole groups can be ended": (_group_kill, False),
        "pressure is reported": (_pressure, False),
        "the journal can be reached": (_journal, False),
        "the state can be kept": (_state, False),
    }


def run(root: str, state_root: str) -> Iterator[tuple[str, str, bool]]:
    """Yield each check with what is wrong, empty when nothing is, and whether that is fatal."""
    for what, (check, is_fatal) in checks().items():
        try:
            yield what, check(state_root if check is _state else root), is_fatal
        except OSError as error:
            yield what, error.strerror or str(error), is_fatal


def _memory(root: str) -> str:
    return "" if read_memory(root) else "/proc/meminfo tells no MemAvailable"


def _processes(root: str) -> str:
    processes = Processes(root)
    table = processes.scan()
    told = sum(processes.executable(pid) is not None for pid in table)
    if not table or processes.unreadable:
        return f"{len(table)} can be read, {processes.unreadable} not"
    # Some never have one: those that have ended, helpers of the kernel.
    return "" if 2 * told > len(table) else f"the executables of only {told} of {len(table)} can be told"


def _signals(_: str) -> str:
    handle = PidfdSignals().open(os.getpid())
    if handle is None:
        return "pidfd_open(2) is refused"
    try:
        # 0 is sent to nobody: it only asks whether it might.
        return "" if handle.send(0) and not handle.has_ended() else "pidfd_send_signal(2) is refused"
    finally:
        handle.close()


def _protection(root: str) -> str:
    processes = Processes(root)
    first = processes.find(1)
    if first is None:
        return "there is no process 1"
    executable = processes.executable(1)
    return "" if protection(first, executable, processes.cgroup(1), is_agent=True) else "process 1 is not"


def _cgroups(root: str) -> str:
    return "" if Cgroups(root).is_unified() else "agents are found by their executables only, and polled"


def _group_kill(root: str) -> str:
    cgroups = Cgroups(root)
    own = Processes(root).cgroup(os.getpid())
    return "" if os.access(cgroups.file(own, "cgroup.kill"), os.W_OK) else "cgroup.kill cannot be written (Linux 5.14)"


def _pressure(root: str) -> str:
    fd = os.open(root.rstrip("/") + "/proc/pressure/memory", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(fd, TRIGGER)
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        return "" if not any(event & select.POLLERR for _, event in poll.poll(0)) else "its trigger does not work"
    finally:
        os.close(fd)


def _journal(_: str) -> str:
    return "" if Journal().is_reachable() else "events go to standard output"


def _state(root: str) -> str:
    for directory in ("var/lib/moltfleet/watchdog", "run/moltfleet/watchdog"):
        path = root.rstrip("/") + "/" + directory
        nearest = path
        while not os.path.exists(nearest):
            nearest = os.path.dirname(nearest)
        if not os.access(nearest, os.W_OK):
            return f"{path} cannot be written"
    return ""
