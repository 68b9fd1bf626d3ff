"""Output of commands in guests, as it comes: raw for one guest in a pipe, else safe for a terminal and by line."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from moltfleet.model.names import printable_lines

if TYPE_CHECKING:
    from moltfleet.model.results import ActResult

# A guest that never ends its line must not fill our memory.
_LONGEST_LINE = 64 * 1024


# With --json output is held until the end.
_MOST_KEPT = 2**20


@dataclass(slots=True)
class GuestOutput:
    """What one guest wrote, up to a limit, and how its command ended."""

    result: ActResult
    stdout: bytearray
    stderr: bytearray
    truncated: bool

    @property
    def exit_status(self) -> int | None:
        """The command's exit status; None when it did not run to its end."""
        return None if self.result.error else int(self.result.detail)


@dataclass(slots=True)
class Collected:
    """Guests' output in memory, bounded for each (``--json``)."""

    _kept: dict[tuple[str, bool], bytearray] = field(default_factory=dict)
    _truncated: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, name: str, is_error: bool, chunk: bytes) -> None:  # noqa: FBT001 - the operation's callback
        """Take what guest ``name`` wrote to its standard output or standard error."""
        with self._lock:
            kept = self._kept.setdefault((name, is_error), bytearray())
            room = _MOST_KEPT - len(kept)
            kept += chunk[:room]
            if len(chunk) > room:
                self._truncated.add(name)

    def of(self, result: ActResult) -> GuestOutput:
        """Return what was kept of one guest."""
        stdout, stderr = (self._kept.get((result.clone, is_error), bytearray()) for is_error in (False, True))
        return GuestOutput(result, stdout, stderr, result.clone in self._truncated)


@dataclass(slots=True)
class Streams:
    """Where guests' output goes. Lines of several guests (``prefixed``) never mix; any thread may write."""

    stdout: BinaryIO
    stderr: BinaryIO
    prefixed: bool
    raw: bool = False
    _partial: dict[tuple[str, bool], bytes] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, name: str, is_error: bool, chunk: bytes) -> None:  # noqa: FBT001 - the operation's callback
        """Take what guest ``name`` wrote to its standard output or standard error."""
        with self._lock:
            if self.raw:
                self._put(chunk, is_error=is_error)
                return
            *lines, rest = (self._partial.pop((name, is_error), b"") + chunk).split(b"\n")
            if len(rest) > _LONGEST_LINE:
                lines.append(rest)
                rest = b""
            for line in lines:
                self._put_line(name, line, is_error=is_error)
            if rest:
                self._partial[name, is_error] = rest

    def close(self) -> None:
        """Write what is left of lines that were never ended."""
        with self._lock:
            for (name, is_error), rest in self._partial.items():
                self._put_line(name, rest, is_error=is_error)
            self._partial.clear()

    def _put_line(self, name: str, line: bytes, *, is_error: bool) -> None:
        text = printable_lines(line.decode("utf-8", "replace").rstrip("\r"), limit=_LONGEST_LINE * 2)
        prefix = f"{name}: " if self.prefixed else ""
        self._put(f"{prefix}{text}\n".encode(), is_error=is_error)

    def _put(self, content: bytes, *, is_error: bool) -> None:
        stream = self.stderr if is_error else self.stdout
        stream.write(content)
        stream.flush()
