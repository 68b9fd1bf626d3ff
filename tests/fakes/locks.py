"""Locks in memory: between threads of one process, and against scripted others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fakes.clock import FakeClock
from moltfleet.model.errors import Busy
from moltfleet.model.ports import HeldLock

# A thread of ours holds a lock for milliseconds; longer is a deadlock of the code under test.
_PATIENCE_S = 5.0


class FakeLocks:
    """The Locks port. ``history`` is what was held, in order, as "verb name"."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._held: dict[str, int] = {}
        self._notes: dict[str, HeldLock] = {}
        self._others: dict[str, str] = {}
        self.history: list[str] = []

    def hold_by_other(self, name: str, *, verb: str = "molt", user: str = "bob") -> None:
        """Let another process hold a lock from now on."""
        self._others[name] = f"{name!r} is in use for {verb} by {user}"

    def release_by_other(self, name: str) -> None:
        """Let the other process end."""
        del self._others[name]
        self._notes.pop(name, None)

    def note_by_other(self, name: str, note: str, *, user: str = "bob", verb: str = "start") -> None:
        """Let another process hold a lock with something to say."""
        self.hold_by_other(name, verb=verb, user=user)
        self._notes[name] = HeldLock(user=user, pid=4711, verb=verb, since=self._clock.now(), note=note)

    @contextmanager
    def hold(self, name: str, *, verb: str, wait_s: float = 0.0, note: str = "") -> Iterator[None]:
        self._acquire(name, wait_s)
        self.history.append(f"{verb} {name}")
        self._notes[name] = HeldLock(user="alice", pid=1, verb=verb, since=self._clock.now(), note=note)
        try:
            yield
        finally:
            with self._changed:
                del self._held[name]
                del self._notes[name]
                self._changed.notify_all()

    def _acquire(self, name: str, wait_s: float) -> None:
        if name in self._others:
            self._clock.sleep(wait_s)
            raise Busy(self._others[name], hint="--wait SECONDS waits for it.")
        me = threading.get_ident()
        with self._changed:
            patience = _PATIENCE_S if wait_s and self._held.get(name) != me else 0.0
            if not self._changed.wait_for(lambda: name not in self._held, timeout=patience):
                self._clock.sleep(wait_s)
                raise Busy(f"{name!r} is in use by this process itself")
            self._held[name] = me

    def is_held(self, name: str) -> bool:
        return name in self._held or name in self._others

    def held(self, prefix: str) -> tuple[HeldLock, ...]:
        return tuple(held for name, held in sorted(self._notes.items()) if name.startswith(prefix))
