"""Tallies of molts in a small JSON file of this machine's user; what is damaged begins anew, as nothing hangs on it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import platformdirs

from moltfleet.adapters.localfile import read_small, write_atomically
from moltfleet.model.chronicle import MoltTally
from moltfleet.model.errors import ToolFailed
from moltfleet.model.results import MoltResult, MoltSeconds

_LARGEST = 4 << 20
# Of more clones than that, those whose last molt is the longest ago are forgotten.
MOST = 2000


def chronicle_path(uri: str, directory: Path | None = None) -> Path:
    """Return the file for the clones of one libvirt; the same name may exist on another."""
    state = directory or platformdirs.user_state_path("moltfleet")
    return state / f"molts.{hashlib.sha256(uri.encode()).hexdigest()[:12]}.json"


class ChronicleFile:
    """The port ``Chronicle``."""

    def __init__(self, path: Path, *, most: int = MOST) -> None:
        self._path = path
        self._most = most

    def molted(self, result: MoltResult, *, at: str) -> None:
        """See the port."""
        try:
            with self._held():
                tallies = self._read()
                tallies[result.clone] = tallies.get(result.clone, MoltTally()).with_one(result, at)
                latest = sorted(tallies.items(), key=lambda item: item[1].last_at)[-self._most :]
                content = json.dumps({name: asdict(tally) for name, tally in latest}).encode()
                write_atomically(self._path, content, mode=0o600)
        except OSError as error:
            raise ToolFailed(f"Tallies in {self._path} cannot be written: {error.strerror}") from error

    def molts(self) -> Mapping[str, MoltTally]:
        """See the port."""
        return self._read()

    def _read(self) -> dict[str, MoltTally]:
        try:
            document = json.loads(read_small(self._path, limit=_LARGEST) or b"{}")
            return {str(name): _tally(told) for name, told in document.items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Keep other writers out; the lock is a file beside it, as the file itself is replaced."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _tally(told: Mapping[str, object]) -> MoltTally:
    seconds = told["seconds"]
    if not isinstance(seconds, dict):
        raise TypeError("seconds")
    return MoltTally(
        molts=int(str(told["molts"])),
        failures=int(str(told["failures"])),
        last_at=str(told["last_at"]),
        mode=str(told["mode"]),
        seconds=MoltSeconds(**{str(phase): float(value) for phase, value in seconds.items()}),
    )
