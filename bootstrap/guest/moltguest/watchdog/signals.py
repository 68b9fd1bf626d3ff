"""Signals by pidfd: what was opened is what gets the signal, whoever has the number by then."""

from __future__ import annotations

import os
import select
import signal
from typing import Protocol


class Handle(Protocol):
    """A process that is held on to."""

    def send(self, number: int) -> bool:
        """Send a signal. Returns False when the process has ended, or it may not be sent."""

    def has_ended(self) -> bool:
        """Whether the process has ended, also when nobody has asked for its exit status yet."""

    def fileno(self) -> int:
        """Return a descriptor that becomes readable at the end."""

    def close(self) -> None:
        """Let go."""


class Signals(Protocol):
    """Where handles come from."""

    def open(self, pid: int) -> Handle | None:
        """Hold on to a process. None when there is none with that number."""


class PidfdHandle:
    """A handle over pidfd_open(2), of Linux 5.3."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def send(self, number: int) -> bool:
        """Send a signal."""
        try:
            signal.pidfd_send_signal(self._fd, number)
        except OSError:
            return False
        return True

    def has_ended(self) -> bool:
        """Whether the process has ended."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(0))

    def fileno(self) -> int:
        """Return the pidfd."""
        return self._fd

    def close(self) -> None:
        """Close the pidfd; more than once does no harm."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class PidfdSignals:
    """Handles of the processes of this machine."""

    def open(self, pid: int) -> PidfdHandle | None:
        """Hold on to a process."""
        try:
            return PidfdHandle(os.pidfd_open(pid))
        except OSError:
            return None
