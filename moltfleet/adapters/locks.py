"""Locks of a local libvirt: flock(2) on files that all its users see; a killed holder's lock is free at once."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from moltfleet.adapters.lockdirectory import Identity, directory_for, open_directory, wanted
from moltfleet.adapters.lockholder import LARGEST, Holder, busy
from moltfleet.model.errors import ToolFailed

if TYPE_CHECKING:
    from moltfleet.model.ports import Clock, HeldLock

_POLL_S = 0.01
# A lock directory or file takes a moment from its making to its final mode, and a look at a lock (is_held) holds it
# for microseconds: neither is a reason to fail.
_PATIENCE_S = 0.1
_DIRECTORY_PATIENCE_S = 1.0


class FileLocks:
    """The ``Locks`` port. ``is_shared`` locks are for all users of the system's libvirt, others for this user."""

    def __init__(self, directory: Path, clock: Clock, *, is_shared: bool, identity: Identity | None = None) -> None:
        self._directory = directory
        self._clock = clock
        self._is_shared = is_shared
        self._identity = identity or Identity.current()

    @classmethod
    def for_uri(cls, uri: str, clock: Clock, environment: Mapping[str, str]) -> FileLocks:
        """Make the locks of a local libvirt (see :func:`~moltfleet.adapters.lockdirectory.is_local_uri`)."""
        directory, is_shared = directory_for(uri, environment)
        return cls(directory, clock, is_shared=is_shared)

    @contextlib.contextmanager
    def hold(self, name: str, *, verb: str, wait_s: float = 0.0, note: str = "") -> Iterator[None]:
        """See the port. Threads of one process exclude each other too; a lock is not held twice by the same one."""
        descriptor = self._open(name)
        try:
            self._acquire(descriptor, name, wait_s)
            _write(descriptor, Holder.this_process(verb, self._clock.now(), note).to_bytes())
            try:
                yield
            finally:
                _write(descriptor, b"")
        finally:
            # The file stays: removing it would let two processes lock two files of one name.
            os.close(descriptor)

    def is_held(self, name: str) -> bool:
        """See the port. It makes nothing, and two lookers do not take each other for holders."""
        return self._look(file_name(name)) is not None

    def held(self, prefix: str) -> tuple[HeldLock, ...]:
        """See the port. It makes nothing."""
        start = quote(prefix, safe="")
        try:
            files = sorted(path.name for path in self._directory.iterdir() if path.name.startswith(start))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise ToolFailed(f"Lock directory {self._directory} cannot be read: {error.strerror}") from error
        holders = (Holder.from_bytes(content) for file in files if (content := self._look(file)) is not None)
        return tuple(holder.as_held() for holder in holders if holder is not None)

    def _look(self, file: str) -> bytes | None:
        """Return what the holder of a lock file wrote into it; None when nobody holds it."""
        path = self._directory / file
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ToolFailed(f"Lock file {path} cannot be opened: {error.strerror}") from error
        try:
            return None if _try_lock(descriptor, fcntl.LOCK_SH) else os.pread(descriptor, LARGEST, 0)
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int, name: str, wait_s: float) -> None:
        deadline = self._clock.monotonic() + max(wait_s, _PATIENCE_S)
        while not _try_lock(descriptor):
            if self._clock.monotonic() >= deadline:
                raise busy(name, Holder.from_bytes(os.pread(descriptor, LARGEST, 0)), self._clock.now())
            self._clock.sleep(_POLL_S)

    def _open(self, name: str) -> int:
        """Return a descriptor of its own for the lock file, closed on exec; flock belongs to it, not to the process."""
        deadline = self._clock.monotonic() + _DIRECTORY_PATIENCE_S
        while True:
            try:
                return self._open_once(file_name(name))
            except ToolFailed:
                if self._clock.monotonic() >= deadline:
                    raise
            self._clock.sleep(_POLL_S)

    def _open_once(self, name: str) -> int:
        directory = open_directory(self._directory, self._identity, is_shared=self._is_shared)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, 0o660, dir_fd=directory)
        except OSError as error:
            raise ToolFailed(f"Lock file {self._directory / name} cannot be opened: {error.strerror}") from error
        finally:
            os.close(directory)
        self._share(descriptor)
        return descriptor

    def _share(self, descriptor: int) -> None:
        """Give a lock file of our own the group and mode of its directory, whatever the umask and the past."""
        status = os.fstat(descriptor)
        if status.st_uid != self._identity.uid:
            return
        mode, group = wanted(self._identity, is_shared=self._is_shared)
        if group is not None and status.st_gid != group:
            os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, mode & 0o660)


def file_name(name: str) -> str:
    """Return a lock's file name: readable, without a slash, bounded."""
    quoted = quote(name, safe="")
    if len(quoted) > 100:
        quoted = f"{quoted[:60]}~{hashlib.sha256(name.encode()).hexdigest()[:24]}"
    return f"{quoted}.lock"


def _try_lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(descriptor: int, content: bytes) -> None:
    """Say who holds the lock; on a full /run it is held all the same."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)
