"""Room kept for starts under way, as notes in locks: seen by all users of one libvirt, gone with its process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from moltfleet.model.load import Reservation, Wanted
from moltfleet.model.size import Size

if TYPE_CHECKING:
    from moltfleet.model.ports import Clock, HeldLock, Locks

_PREFIX = "room."
# No clone is called so: names of clones have no dot.
_CHECK = "check.room"
# A check takes milliseconds; a host whose statistics hang must not stop every start without a word.
_CHECK_WAIT_S = 60.0
# Where a holder cannot be asked whether it lives (a remote libvirt), its room is not kept for ever: after that long its
# domain runs, and counts by itself, or will never do.
_LONGEST_S = 3600.0


class LockReservations:
    """The ``Reservations`` port over the ``Locks`` of the same libvirt."""

    def __init__(self, locks: Locks, clock: Clock) -> None:
        self._locks = locks
        self._clock = clock
        self._mine: set[str] = set()
        self._guard = threading.Lock()

    def current(self) -> tuple[Reservation, ...]:
        """See the port. What cannot be read is nobody's reservation."""
        oldest = self._clock.now() - _LONGEST_S
        found = (_read(held) for held in self._locks.held(_PREFIX))
        return tuple(reservation for reservation in found if reservation is not None and reservation.since > oldest)

    def is_mine(self, name: str) -> bool:
        """See the port."""
        with self._guard:
            return name in self._mine

    @contextmanager
    def hold(self, wanted: Wanted, *, check: Callable[[tuple[Reservation, ...]], None]) -> Iterator[None]:
        """See the port."""
        with ExitStack() as kept:
            with self._locks.hold(_CHECK, verb="check", wait_s=_CHECK_WAIT_S):
                check(self.current())
                kept.enter_context(self._locks.hold(_PREFIX + wanted.name, verb="start", note=_note(wanted)))
            self._remember(wanted.name)
            kept.callback(self._forget, wanted.name)
            yield

    def _remember(self, name: str) -> None:
        with self._guard:
            self._mine.add(name)

    def _forget(self, name: str) -> None:
        with self._guard:
            self._mine.discard(name)


def _note(wanted: Wanted) -> str:
    return json.dumps({"name": wanted.name, "memory": wanted.amount.bytes, "disk": wanted.disk.bytes})


def _read(held: HeldLock) -> Reservation | None:
    """Read a note; None when it is not, or not yet, one of ours."""
    try:
        data = json.loads(held.note)
        amount, disk = Size(int(data["memory"])), Size(int(data["disk"]))
        return Reservation(str(data["name"]), amount, owner=held.user, pid=held.pid, since=held.since, disk=disk)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
