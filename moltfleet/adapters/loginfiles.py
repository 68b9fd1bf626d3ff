"""Logins on this machine: read by name, replaced whole, and never lost: what has to give way is kept for its owner."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import getpass
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from moltfleet.adapters.gitidentity import identity, signing
from moltfleet.adapters.hostinfo import host_name
from moltfleet.adapters.localfile import write_atomically
from moltfleet.model.errors import InvalidInput, NoSpace, ToolFailed
from moltfleet.model.logins import (
    GIT_IDENTITY,
    LARGEST_FILE,
    HostLogins,
    LoginEntry,
    LoginFile,
    Merged,
    Winner,
    newer,
)
from moltfleet.model.names import check_name

# Versions that lost, of one file; the oldest go.
MOST_KEPT = 50
# How often this machine's own programs may get in between before it is said.
_ATTEMPTS = 5


class LoginFiles(HostLogins):
    """The port over a home directory; ``store`` is where losers are kept."""

    def __init__(
        self, home: Path, store: Path, *, signing_key: Path | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._home = home
        self._store = store
        self._signing_key = signing_key
        self._now = now

    def owner(self) -> str:
        """See the port."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):
            user = str(os.geteuid())
        return f"{user}@{host_name()}"

    def read(self, entry: LoginEntry) -> tuple[LoginFile, ...]:
        """See the port."""
        if entry.made:
            return identity(self._home) if GIT_IDENTITY in entry.files else signing(self._signing_key)
        found = (self._find(path) for path in entry.files)
        return tuple(file for file in found if file is not None)

    def merge(self, entry: LoginEntry, guest: LoginFile, *, clone: str) -> Merged:
        """See the port."""
        if not entry.rotates or guest.path not in entry.files:
            raise ValueError(f"not to be pulled: {guest.path}")
        target = self._home / guest.path
        with _faults(target), self._locked():
            for _ in range(_ATTEMPTS):
                host = self._find(guest.path)
                winner = newer(host, guest, newest_by=entry.newest_by, now=self._now())
                if winner is Winner.SAME:
                    return Merged(winner)
                if winner is Winner.HOST:
                    if not guest.content.strip():
                        return Merged(winner)
                    return Merged(winner, self._keep(entry, guest, origin=check_name(clone, what="clone")))
                kept = self._keep(entry, host, origin="host") if host else None
                if self._replace(guest, host):
                    return Merged(winner, kept)
        raise ToolFailed(f"Login {entry.name!r} is being changed on this machine all the time")

    def _find(self, path: str) -> LoginFile | None:
        """Read a file of ours, through the links that its owner made."""
        file = self._home / path
        with _faults(file):
            try:
                descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError):
                return None
            with os.fdopen(descriptor, "rb") as source:
                seen = os.fstat(source.fileno())
                if not stat.S_ISREG(seen.st_mode):
                    raise InvalidInput(f"Login file {file} is not a file")
                content = source.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise InvalidInput(f"Login file {file} is longer than {LARGEST_FILE // 1024} KiB")
        return LoginFile(path, content, seen.st_mtime)

    def _replace(self, guest: LoginFile, host: LoginFile | None) -> bool:
        """Put the guest's version there; False when this machine's own changed in between."""
        target = (self._home / guest.path).resolve()
        _make_private(target.parent)
        beside = target.with_name(f".{target.name}.moltfleet")
        beside.unlink(missing_ok=True)
        # The time of the guest's change, so that two clones' versions can be told apart.
        _write(beside, guest.content, changed_at=min(guest.changed_at, self._now()))
        try:
            again = self._find(guest.path)
            if (again.content if again else None) != (host.content if host else None):
                return False
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
        _sync(target.parent)
        return True

    def _keep(self, entry: LoginEntry, file: LoginFile, *, origin: str) -> Path:
        """Keep a version that lost, once; readable by nobody else."""
        directory = self._store / "kept" / entry.name / file.path.replace("/", "_")
        _make_private(directory)
        digest = hashlib.sha256(file.content).hexdigest()[:16]
        for known in directory.glob(f"*-{digest}"):
            return known
        for unfinished in directory.glob(".*"):
            # What a killed command left; nobody else is here now.
            unfinished.unlink(missing_ok=True)
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._now()))
        path = directory / f"{moment}-{origin}-{digest}"
        write_atomically(path, file.content, mode=0o600)
        _sync(directory)
        for old in sorted(directory.glob("[0-9]*"))[:-MOST_KEPT]:
            old.unlink(missing_ok=True)
        return path

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time: clones that molt side by side may share a login."""
        _make_private(self._store)
        descriptor = os.open(self._store / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _make_private(directory: Path) -> None:
    """Make a directory, and those above it that are missing, for their owner alone."""
    missing = [one for one in (directory, *directory.parents) if not one.exists()]
    for one in reversed(missing):
        with contextlib.suppress(FileExistsError):
            one.mkdir(mode=0o700)


def _write(path: Path, content: bytes, *, changed_at: float) -> None:
    """Write a new file, for its owner alone from the first byte, until it is on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.utime(file.fileno(), (changed_at, changed_at))
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    """Make a rename outlive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = NoSpace if error.errno in (errno.ENOSPC, errno.EDQUOT) else ToolFailed
        raise kind(f"Login file {path} cannot be read or written: {error.strerror}") from error
