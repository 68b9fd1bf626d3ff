"""Small reads of /proc and of cgroups below a root; whatever has gone or cannot be read is None."""

from __future__ import annotations

import os

_LARGEST = 1 << 20


def read(path: str, limit: int = _LARGEST) -> bytes | None:
    """Return what a file holds, at most ``limit`` bytes of it; None when it is not there or cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(fd, min(limit, 65536))
        # /proc gives a page or a record at a time.
        while data and len(data) < limit and (more := os.read(fd, min(limit - len(data), 65536))):
            data += more
        return data
    except OSError:
        return None
    finally:
        os.close(fd)


def read_int(path: str) -> int | None:
    """Return a file's number; None for "max" and for whatever is none."""
    try:
        return int(read(path, 64) or b"")
    except ValueError:
        return None


def read_fields(path: str) -> dict[bytes, int]:
    """Return the lines "name number [unit]" of a file, colons left out; lines of another form are passed over."""
    fields = {}
    for line in (read(path) or b"").splitlines():
        words = line.split(None, 2)
        if len(words) > 1 and words[1].isdigit():
            fields[words[0].rstrip(b":")] = int(words[1])
    return fields


def link(path: str) -> str | None:
    """Return where a symbolic link points, undecodable bytes kept as surrogates; None when it cannot be told."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def printable(text: str, limit: int = 64) -> str:
    """Return text from a hostile source for people: control characters escaped, cut short."""
    escaped = text.encode("unicode_escape", "surrogateescape").decode("ascii", "replace")
    return escaped if len(escaped) <= limit else escaped[: limit - 3] + "..."
