"""What ends a wait early: pressure and limits reported by the kernel, a victim's end, a signal to the watchdog."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable

# At least 150 ms of stall within 2 s; the window is one that needs no privilege (Documentation/accounting/psi.rst).
# The kernel overwrites the last byte, hence the newline.
TRIGGER = b"some 150000 2000000\n"
_MOST_WATCHED = 64
# The kernel reports a throttled group again and again: a look per report would be a look without pause.
_CLOSEST_S = 0.05


class Wakeups:
    """Descriptors to wait on. Files that cannot be waited on are left out: the next look comes anyway."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._watched: dict[str, int] = {}
        self._paths: dict[int, str] = {}
        self._last = float("-inf")
        self.refused = ""

    def watch(self, paths: Iterable[str]) -> None:
        """Wait on exactly these files: ``*.pressure`` by a trigger, any other for its change."""
        wanted = list(dict.fromkeys(paths))[:_MOST_WATCHED]
        for path in [path for path in self._watched if path not in wanted]:
            self._drop(path)
        for path in wanted:
            if path not in self._watched:
                self._add(path)

    def _add(self, path: str) -> None:
        try:
            fd = os.open(path, (os.O_RDWR if _is_trigger(path) else os.O_RDONLY) | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self.refused = self.refused or f"{path}: {error.strerror}"
            return
        try:
            if _is_trigger(path):
                os.write(fd, TRIGGER)
            else:
                os.pread(fd, 4096, 0)
            self._poll.register(fd, select.POLLPRI)
        except OSError as error:
            self.refused = self.refused or f"{path}: {error.strerror}"
            os.close(fd)
            return
        self._watched[path], self._paths[fd] = fd, path

    def _drop(self, path: str) -> None:
        fd = self._watched.pop(path)
        del self._paths[fd]
        self._poll.unregister(fd)
        os.close(fd)

    def wait(self, seconds: float, others: Iterable[int] = ()) -> list[int]:
        """Wait until something happens or the time is over. Returns those of the ``others`` that are readable."""
        others = [fd for fd in others if fd >= 0]
        for fd in others:
            self._poll.register(fd, select.POLLIN)
        try:
            began = time.monotonic()
            ready = self._poll.poll(max(0, int(seconds * 1000)))
            woken = [fd for fd, _ in ready if fd in others]
            if ready and not woken:
                self._calm(seconds - (time.monotonic() - began))
        finally:
            for fd in others:
                self._poll.unregister(fd)
        for fd, event in ready:
            if fd in self._paths:
                self._take(fd, event)
        return woken

    def _calm(self, left: float) -> None:
        """Keep a distance to the last early end."""
        now = time.monotonic()
        rest = min(self._last + _CLOSEST_S - now, left)
        if rest > 0:
            time.sleep(rest)
        self._last = time.monotonic()

    def _take(self, fd: int, event: int) -> None:
        """Take note of a change, so that the next one is reported too; a group that has gone is dropped."""
        path = self._paths[fd]
        if _is_trigger(path):
            if event & (select.POLLERR | select.POLLNVAL):
                self._drop(path)
            return
        try:
            # POLLERR comes with every change of such a file; reading it ends the report.
            os.pread(fd, 4096, 0)
        except OSError:
            self._drop(path)

    def close(self) -> None:
        """Stop waiting on anything."""
        for path in list(self._watched):
            self._drop(path)


def _is_trigger(path: str) -> bool:
    return path.endswith((".pressure", "/pressure/memory"))
