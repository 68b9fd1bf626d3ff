"""Runs a guard as a service: waits between its looks, tells systemd that it lives, ends when asked to."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from types import FrameType

from moltguest.watchdog.cgroups import Cgroups
from moltguest.watchdog.guard import Guard
from moltguest.watchdog.wakeups import Wakeups

# mlockall(2): what is mapped and what will be, each page when it is touched.
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


class Requests:
    """SIGTERM and SIGINT end the service, SIGHUP makes it look at once; a descriptor tells of each."""

    def __init__(self) -> None:
        self.is_over = False
        self.fileno, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, self._take_note)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.is_over = True

    def _take_note(self, number: int, frame: FrameType | None) -> None:
        """The descriptor is all that is needed."""

    def drain(self) -> None:
        """Forget the requests so far."""
        try:
            os.read(self.fileno, 512)
        except BlockingIOError:
            return


def notify(message: str) -> None:
    """Tell systemd something (sd_notify(3)); without systemd nobody is told."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as made:
        try:
            made.connect("\0" + path[1:] if path.startswith("@") else path)
            made.send(message.encode())
        except OSError:
            return


def stay_in_memory() -> bool:
    """Keep the program's pages in memory: it has to act just when the kernel takes pages away from everybody."""
    library = ctypes.CDLL(None, use_errno=True)
    return int(library.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)) == 0


def watched_files(root: str, guard: Guard) -> list[str]:
    """Return the files whose changes end a wait: the guest's pressure, each slice's and each scope's events."""
    cgroups = Cgroups(root)
    found = [root.rstrip("/") + "/proc/pressure/memory"]
    for path in [whole.path for whole in guard.census.wholes]:
        # Populated or empty: the first agent of a slice is seen at once.
        found += [cgroups.file(path, "cgroup.events"), cgroups.file(path, "memory.events")]
    for path in guard.census.scopes.groups:
        found += [cgroups.file(path, "memory.events"), cgroups.file(path, "memory.pressure")]
    return found


def run(guard: Guard, root: str) -> None:
    """Watch until asked to end."""
    requests, wakeups = Requests(), Wakeups()
    notify("READY=1")
    while not requests.is_over:
        seconds = guard.tick()
        wakeups.watch(watched_files(root, guard))
        if wakeups.refused:
            guard.complain(f"{wakeups.refused}: pressure is not waited for, memory is polled")
        notify(f"WATCHDOG=1\nSTATUS={guard.summary()}")
        if requests.fileno in wakeups.wait(seconds, [requests.fileno, guard.fileno]):
            requests.drain()
    wakeups.close()
    notify("STOPPING=1")
