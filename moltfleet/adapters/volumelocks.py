"""Locks of a remote libvirt: a volume that cannot be made twice, since libvirt has no lock of its own (DESIGN D2).

Such a lock outlives a killed holder. It is stale when its time is over, or when its holder ran on this machine and is
gone; a stale one is taken over by whoever gets the right to break it, which is a volume too.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from moltfleet.adapters import hostinfo
from moltfleet.adapters.lockholder import Holder, busy, user_name
from moltfleet.model.errors import AlreadyExists, NotFound
from moltfleet.model.size import Size

if TYPE_CHECKING:
    from moltfleet.model.ports import Clock, HeldLock, Storage

_POLL_S = 0.2
_SUFFIX = ".lock"
# One block; a claim takes about 300 bytes of it.
_BYTES = 4096
# Longer than any act; a holder on another machine cannot be asked whether it still lives.
LIFETIME_S = 6 * 3600.0
# A volume without content is one whose maker is just about to write it, or was killed before.
_WRITING_S = 30.0


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a process runs. ``key`` tells machines of one name apart."""

    name: str
    key: str
    boot: str

    @classmethod
    def this(cls) -> Machine:
        """Describe the machine that this runs on."""
        return cls(hostinfo.host_name(), hostinfo.machine_key(), hostinfo.boot_id())


@dataclass(frozen=True, slots=True)
class Claim:
    """The content of a lock. Times are in seconds since the epoch.

    ``started``, in ticks since the boot, tells a process from a later one with the same number.
    """

    pid: int
    started: int
    user: str
    verb: str
    since: float
    expires: float
    host: str
    host_key: str
    boot: str
    note: str = ""

    def to_bytes(self) -> bytes:
        """Return the content of the volume, padded to its size."""
        return json.dumps(asdict(self)).encode("ascii").ljust(_BYTES)

    @classmethod
    def from_bytes(cls, content: bytes) -> Claim | None:
        """Read a volume's content; None when it is not, or not yet, a claim."""
        try:
            data = json.loads(content)
            user, verb, host, key, boot = (str(data[name]) for name in ("user", "verb", "host", "host_key", "boot"))
            since, expires = float(data["since"]), float(data["expires"])
            note = str(data.get("note", ""))
            return cls(int(data["pid"]), int(data["started"]), user, verb, since, expires, host, key, boot, note)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            return None

    def is_stale(self, now: float, machine: Machine) -> bool:
        """Whether nobody holds the lock any more, as far as this machine can know."""
        if now >= self.expires:
            return True
        if (self.host, self.host_key) != (machine.name, machine.key):
            return False
        return self.boot != machine.boot or hostinfo.process_started_at(self.pid) != self.started

    @property
    def holder(self) -> Holder:
        """Who to name to the next one."""
        return Holder(self.pid, f"{self.user} on {self.host}", self.verb, self.since, self.note)


class VolumeLocks:
    """The ``Locks`` port over ``storage``, which must not itself take locks from here (:class:`NoLocks`)."""

    def __init__(self, storage: Storage, clock: Clock, *, machine: Machine | None = None) -> None:
        self._storage = storage
        self._clock = clock
        self._machine = machine or Machine.this()

    @contextlib.contextmanager
    def hold(self, name: str, *, verb: str, wait_s: float = 0.0, note: str = "") -> Iterator[None]:
        """See the port; unlike it, the lock of a holder killed on another machine ends only with its time."""
        volume = lock_volume(name)
        deadline = self._clock.monotonic() + wait_s
        while (mine := self._take(volume, verb, note)) is None:
            claim = self._read(volume)
            if claim is not None and claim.is_stale(self._clock.now(), self._machine):
                self._break(volume, claim)
            elif self._clock.monotonic() >= deadline:
                raise busy(name, claim.holder if claim else None, self._clock.now())
            else:
                self._clock.sleep(_POLL_S)
        try:
            yield
        finally:
            # After its time the lock may be somebody else's.
            if self._read(volume) == mine:
                self._storage.delete(volume)

    def is_held(self, name: str) -> bool:
        """See the port."""
        volume = lock_volume(name)
        if self._storage.find(volume) is None:
            return False
        claim = self._read(volume)
        return claim is None or not claim.is_stale(self._clock.now(), self._machine)

    def held(self, prefix: str) -> tuple[HeldLock, ...]:
        """See the port. Without a pool nothing is held, and none is made to find that out."""
        if self._storage.find_free_space() is None:
            return ()
        names = sorted(volume.name for volume in self._storage.volumes())
        claims = [self._read(name) for name in names if name.startswith(prefix) and name.endswith(_SUFFIX)]
        now = self._clock.now()
        return tuple(c.holder.as_held() for c in claims if c is not None and not c.is_stale(now, self._machine))

    def _take(self, volume: str, verb: str, note: str = "") -> Claim | None:
        """Make the volume, or return None when there is one."""
        try:
            self._storage.create_empty(volume, capacity=Size(_BYTES), format="raw")
        except AlreadyExists:
            return None
        claim = self._claim(verb, note)
        try:
            content = claim.to_bytes()
            self._storage.upload(volume, io.BytesIO(content), length=len(content))
        except BaseException:
            self._storage.delete(volume)
            raise
        return claim

    def _claim(self, verb: str, note: str) -> Claim:
        now = self._clock.now()
        return Claim(
            pid=os.getpid(),
            started=hostinfo.process_started_at(os.getpid()) or 0,
            user=user_name(os.getuid()),
            verb=verb,
            since=now,
            expires=now + LIFETIME_S,
            host=self._machine.name,
            host_key=self._machine.key,
            boot=self._machine.boot,
            note=note,
        )

    def _read(self, volume: str) -> Claim | None:
        """Return the claim in a lock; one that stays unwritten past its moment counts as over."""
        try:
            claim = Claim.from_bytes(self._storage.read(volume, limit=_BYTES))
            if claim is not None:
                return claim
            made_at = float(self._storage.get(volume).mtime)
        except NotFound:
            return None
        except ValueError:
            return None
        return self._unwritten(made_at)

    def _unwritten(self, made_at: float) -> Claim | None:
        if self._clock.now() < made_at + _WRITING_S:
            return None
        return Claim(0, 0, "nobody", "nothing", made_at, made_at + _WRITING_S, "", "", "")

    def _break(self, volume: str, stale: Claim) -> None:
        """Remove a stale lock, unless it has changed hands meanwhile.

        Of two that find it stale, the slower must not remove the faster one's new lock: only who makes the second
        volume may look again and remove.
        """
        right = f"{volume}.break"
        if self._take(right, "break") is None:
            claim = self._read(right)
            if claim is not None and claim.is_stale(self._clock.now(), self._machine):
                self._storage.delete(right)
            self._clock.sleep(_POLL_S)
            return
        try:
            if self._read(volume) == stale:
                self._storage.delete(volume)
        finally:
            self._storage.delete(right)


class NoLocks:
    """The ``Locks`` port that locks nothing: for the storage that keeps the locks themselves."""

    @contextlib.contextmanager
    def hold(self, name: str, *, verb: str, wait_s: float = 0.0, note: str = "") -> Iterator[None]:
        """Hold nothing."""
        yield

    def is_held(self, name: str) -> bool:
        """Nobody holds anything."""
        return False

    def held(self, prefix: str) -> tuple[HeldLock, ...]:
        """Nobody holds anything."""
        return ()


def lock_volume(name: str) -> str:
    """Name the volume that is a lock; a clone's name has no dot, so that no other volume is called so."""
    return f"{name}{_SUFFIX}"
