"""Output of commands in guests, as it comes: raw for one guest in a pipe, else safe for a terminal and by line."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import BinaryIO

from moltfleet.model.names import printable_lines

# A guest that never ends its line must not fill our memory.
_LONGEST_LINE = 64 * 1024


@dataclass(slots=True)
class Streams:
    """Where guests' output goes. Lines of several guests (``prefixed``) never mix; any thread may write."""

    stdout: BinaryIO
    stderr: BinaryIO
    prefixed: bool
    raw: bool = False
    _partial: dict[tuple[str, bool], bytes] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, name: str, chunk: bytes, *, is_error: bool) -> None:
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
