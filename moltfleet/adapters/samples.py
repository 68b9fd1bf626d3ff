"""The time series of surveys: a small SQLite file of this machine's user, bounded by age and by number.

Any number of processes may write and read it at once (WAL). A file that is damaged is put aside and begun anew; one
that is locked for long, full or not ours raises, and whoever surveys goes on without a history. Reading makes no file.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from moltfleet.model.errors import MoltfleetError, ToolFailed
from moltfleet.model.samples import Sample

if TYPE_CHECKING:
    from moltfleet.model.ports import Clock

_LOG = logging.getLogger(__name__)
# Goes up with every change of the table; what another version wrote is put aside, as a forecast learns anew in minutes.
_VERSION = 1
KEPT_S = 24 * 3600.0
# Six hours of a thousand clones, one sample a minute: some 60 MB.
MOST = 400_000
# Writers hold the file for milliseconds.
_PATIENCE_S = 5.0
# SQLite takes a bounded number of parameters; of more subjects than that all are read, and some passed over.
_MOST_NAMES = 100
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_COLUMNS = Sample._fields
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS samples"
    f" (number INTEGER PRIMARY KEY, boot TEXT NOT NULL, taken_at REAL NOT NULL, {', '.join(_COLUMNS)})",
    "CREATE UNIQUE INDEX IF NOT EXISTS moments ON samples (boot, subject, time_s)",
    "CREATE INDEX IF NOT EXISTS ages ON samples (taken_at)",
)
_INSERT = f"INSERT OR IGNORE INTO samples (boot, taken_at, {', '.join(_COLUMNS)}) VALUES (?, ?{', ?' * len(_COLUMNS)})"


def samples_path(uri: str, directory: Path | None = None) -> Path:
    """Return the file for the clones of one libvirt; the same name may exist on another."""
    state = directory or platformdirs.user_state_path("moltfleet")
    return state / f"samples.{hashlib.sha256(uri.encode()).hexdigest()[:12]}.sqlite3"


class SqliteSamples:
    """The :class:`~moltfleet.model.ports.Samples` port. ``boot`` is of the machine whose clock the samples have."""

    def __init__(self, path: Path, clock: Clock, *, boot: str, most: int = MOST, kept_s: float = KEPT_S) -> None:
        self._path = path
        self._clock = clock
        self._boot = boot
        self._most = most
        self._kept_s = kept_s

    def add(self, samples: Sequence[Sample]) -> None:
        """See the port."""
        try:
            found = self._identity()
            try:
                self._write(samples)
            except sqlite3.DatabaseError as error:
                if not _is_useless(error):
                    raise
                self._put_aside(found)
                self._write(samples)
        except (sqlite3.DatabaseError, OSError) as error:
            raise self._unavailable(error) from error

    def history(self, *, since_s: float, subjects: Collection[str] = ()) -> Iterator[tuple[str, tuple[Sample, ...]]]:
        """See the port."""
        if not self._path.exists():
            return
        try:
            with self._open(read_only=True) as database:
                if _version(database) == _VERSION:
                    yield from self._read(database, since_s, frozenset(subjects))
        except sqlite3.DatabaseError as error:
            raise self._unavailable(error) from error

    def _read(
        self, database: sqlite3.Connection, since_s: float, subjects: frozenset[str]
    ) -> Iterator[tuple[str, tuple[Sample, ...]]]:
        query = f"SELECT {', '.join(_COLUMNS)} FROM samples WHERE boot = ? AND time_s >= ?"
        values: list[object] = [self._boot, since_s]
        if 0 < len(subjects) <= _MOST_NAMES:
            query += f" AND subject IN ({', '.join('?' * len(subjects))})"
            values += sorted(subjects)
        rows = database.execute(f"{query} ORDER BY subject, time_s", values)
        for subject, group in itertools.groupby(rows, key=itemgetter(0)):
            if not subjects or subject in subjects:
                yield subject, tuple(map(Sample._make, group))

    def _write(self, samples: Sequence[Sample]) -> None:
        now = self._clock.now()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._open(read_only=False) as database:
            _prepare(database)
            database.execute("BEGIN IMMEDIATE")
            database.executemany(_INSERT, ((self._boot, now, *sample) for sample in samples))
            # What a clock that was wrong has dated into the future would never grow old.
            oldest, newest = now - self._kept_s, now + self._kept_s
            database.execute("DELETE FROM samples WHERE taken_at < ? OR taken_at > ?", (oldest, newest))
            database.execute("DELETE FROM samples WHERE number <= (SELECT max(number) FROM samples) - ?", (self._most,))
            database.execute("COMMIT")

    @contextlib.contextmanager
    def _open(self, *, read_only: bool) -> Iterator[sqlite3.Connection]:
        address = f"{self._path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        database = sqlite3.connect(address, uri=True, timeout=_PATIENCE_S, isolation_level=None)
        with contextlib.closing(database):
            yield database

    def _identity(self) -> int | None:
        """Which file it is, None when there is none."""
        try:
            return self._path.stat().st_ino
        except FileNotFoundError:
            return None

    def _put_aside(self, found: int | None) -> None:
        """Take the file that was ``found`` useless out of the way, unless another process has done so meanwhile."""
        if self._identity() != found:
            return
        aside = self._path.with_suffix(".damaged")
        self._path.replace(aside)
        for tail in ("-wal", "-shm"):
            self._path.with_name(self._path.name + tail).unlink(missing_ok=True)
        _LOG.warning("samples could not be read and begin anew; the old file is %s", aside)

    def _unavailable(self, error: Exception) -> MoltfleetError:
        return ToolFailed(f"Samples in {self._path} cannot be used: {error}")


class _OtherVersion(sqlite3.DatabaseError):
    """Another version of this program wrote the file."""

    def __str__(self) -> str:
        return "another version wrote them"


def _is_useless(error: sqlite3.DatabaseError) -> bool:
    """Whether nobody will ever read that file again."""
    code = getattr(error, "sqlite_errorcode", 0)
    return isinstance(error, _OtherVersion) or code & 0xFF in _DAMAGED


def _prepare(database: sqlite3.Connection) -> None:
    """Make the table in a new file. Raises: _OtherVersion."""
    version = _version(database)
    if version not in (0, _VERSION):
        raise _OtherVersion
    if version == 0:
        # Of several at once one gets the lock, and the others wait for it here.
        database.execute("BEGIN EXCLUSIVE")
        for statement in _SCHEMA:
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {_VERSION}")
        database.execute("COMMIT")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])
