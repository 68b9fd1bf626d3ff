"""The memory of the guest and of its agents over the last hours: a small file in /run that one program writes.

It is gone with a reboot, as is the clock that its times are of (time.monotonic), and a molt takes it back to the clean
point along with everything else. A line is "seconds available total", and for each of the largest agents its key, what
it uses, and at how much it is ended; amounts are KiB.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from moltguest.forecast import FROZEN, Sample

PATH = "run/moltfleet/watchdog/samples"
EVERY_S = 10.0
# A move by this share of what there is, is worth a sample of its own, not oftener than once a second.
MOVE = 0.02
CLOSEST_S = 1.0
# What the longest window of a forecast looks back to.
KEPT_S = FROZEN.windows_s[-1] * 1.1
MOST_GROUPS = 4
# In between, lines older than that may stay; a guest whose memory never rests writes more of them.
MOST_LINES = 4096
_LARGEST = MOST_LINES * 512
_LONGEST_KEY = 80


@dataclass(frozen=True, slots=True)
class Load:
    """One agent with all that it started: bytes used, and at how many it is ended."""

    key: str
    used: int
    end: int


@dataclass(frozen=True, slots=True)
class Record:
    """One line: the guest, and its largest agents."""

    time_s: float
    available: int
    total: int
    loads: tuple[Load, ...] = ()


class SampleLog:
    """The file's one writer; it continues what the last writer of this boot has left."""

    def __init__(self, root: str = "/") -> None:
        self._path = root.rstrip("/") + "/" + PATH
        kept = read(root)
        self._lines = len(kept)
        self._last: Record | None = kept[-1] if kept else None

    def offer(self, now: float, available: int, total: int, loads: Iterable[Load] = ()) -> str:
        """Keep the sample if it is time for one, or memory has moved. Returns what is wrong, empty when nothing is."""
        record = Record(now, available, total, tuple(sorted(loads, key=lambda load: -load.used)[:MOST_GROUPS]))
        if not (is_due(self._last, record) or have_loads_moved(self._last, record)):
            return ""
        # Taken as kept even when it could not be written: a full /run is not to be tried anew at every look.
        self._last = record
        try:
            self._append(record)
        except OSError as error:
            return f"{self._path}: {error.strerror}"
        return ""

    def _append(self, record: Record) -> None:
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        if self._lines >= MOST_LINES:
            self._compact(record.time_s)
        with open(self._path, "ab") as file:
            file.write(_line(record))
        self._lines += 1

    def _compact(self, now: float) -> None:
        recent = [record for record in _read(self._path) if 0 <= now - record.time_s <= KEPT_S]
        # When samples came closely, every other one is enough.
        kept = recent if len(recent) < MOST_LINES * 3 // 4 else recent[::2]
        with open(self._path + ".new", "wb") as file:
            file.write(b"".join(map(_line, kept)))
        os.replace(self._path + ".new", self._path)
        self._lines = len(kept)


def is_due(last: Record | None, record: Record) -> bool:
    """Whether a record is kept after the last one that was."""
    if last is None or record.time_s < last.time_s or record.total != last.total:
        return True
    moved = abs(record.available - last.available) >= MOVE * record.total
    return record.time_s - last.time_s >= (CLOSEST_S if moved else EVERY_S)


def have_loads_moved(last: Record | None, record: Record) -> bool:
    """Whether an agent has moved by that share of what it may use, which can be little beside the guest's memory."""
    if last is None or record.time_s - last.time_s < CLOSEST_S:
        return False
    before = {load.key: load.used for load in last.loads}
    # One that was not among the largest is as good as one that has just begun.
    return any(abs(load.used - before.get(load.key, 0)) >= MOVE * load.end for load in record.loads)


def read(root: str = "/") -> tuple[Record, ...]:
    """Return the records as they were written; no file is none, and a line that is no record is passed over."""
    return _read(root.rstrip("/") + "/" + PATH)


def of_guest(records: Iterable[Record], left: int = 0) -> tuple[Sample, ...]:
    """Return the guest's samples; with ``left`` bytes available it counts as used up, as something is ended then."""
    return tuple(Sample(r.time_s, max(0, r.available - left), max(1, r.total - left)) for r in records)


def of_load(records: Iterable[Record], key: str) -> tuple[Sample, ...]:
    """Return one agent's samples."""
    found = ((record.time_s, load) for record in records for load in record.loads if load.key == key)
    return tuple(Sample(time_s, max(0, load.end - load.used), max(1, load.end)) for time_s, load in found)


def _read(path: str) -> tuple[Record, ...]:
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST)
    except OSError:
        return ()
    return tuple(record for line in data.splitlines() if (record := _parsed(line)))


def _parsed(line: bytes) -> Record | None:
    first, *rest = line.decode("ascii", "replace").split()[: 3 + 3 * MOST_GROUPS] or [""]
    try:
        available, total = _kib(rest[0]), _kib(rest[1])
        loads = tuple(Load(*_load(rest[at : at + 3])) for at in range(2, len(rest), 3))
        return Record(_seconds(first), available, total, loads)
    except (ValueError, IndexError):
        return None


def _load(words: list[str]) -> tuple[str, int, int]:
    return words[0], _kib(words[1]), _kib(words[2])


def _seconds(word: str) -> float:
    """Read a time. Raises: ValueError, also for what only float() takes for one."""
    if not word.replace(".", "", 1).isdigit() or len(word) > 15:
        raise ValueError(word)
    return float(word)


def _kib(word: str) -> int:
    """Read KiB as bytes. Raises: ValueError for what no guest has."""
    if not word.isdigit() or len(word) > 13:
        raise ValueError(word)
    return int(word) << 10


def _line(record: Record) -> bytes:
    words = [f"{record.time_s:.1f}", str(record.available >> 10), str(record.total >> 10)]
    for load in record.loads:
        words += [key_of(load.key), str(load.used >> 10), str(load.end >> 10)]
    return " ".join(words).encode("ascii", "replace") + b"\n"


def key_of(text: str) -> str:
    """Return a group's key as it stands in the file: one printable word, its end when it is long."""
    return "".join(c if c.isascii() and c.isprintable() and c != " " else "?" for c in text[-_LONGEST_KEY:]) or "?"
