"""tar archives of guests, read member by member in constant memory; refuses every form that rescue.sh does not make.

Python's own reader takes headers of any size, and sparse files that swell; this one knows files, directories and
links, and long names in GNU's way (https://www.gnu.org/software/tar/manual/html_node/Standard.html).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO

_BLOCK = 512
_CHUNK = 1 << 20
# PATH_MAX; a longer name could not have been a path.
_LONGEST_NAME = 4096


class BadArchive(Exception):
    """The bytes are no archive of ours, or it is cut off."""


class Kind(Enum):
    """What a member is; ``OTHER`` stands for devices, pipes, sparse files and whatever else there may be."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    OTHER = "other"


_KINDS = {b"0": Kind.FILE, b"\0": Kind.FILE, b"7": Kind.FILE, b"5": Kind.DIRECTORY, b"1": Kind.LINK, b"2": Kind.LINK}


@dataclass(frozen=True, slots=True)
class Member:
    """One entry. ``name`` and a link's ``target`` are the guest's own; ``offset`` is where its content begins."""

    name: bytes
    kind: Kind
    size: int
    is_executable: bool
    offset: int
    target: bytes = b""


def members(source: BinaryIO) -> Iterator[Member]:
    """Walk an archive that is a file. Raises: BadArchive, also in the middle."""
    length = os.fstat(source.fileno()).st_size
    position, long_name = 0, b""
    while header := _header(source, position):
        size = _number(header[124:136])
        position += _BLOCK
        if size > length - position:
            raise BadArchive("it is cut off")
        kind = header[156:157]
        if kind in b"LK":
            if size > _LONGEST_NAME:
                raise BadArchive(f"a name of {size} bytes")
            source.seek(position)
            # A link is never made: what is left of a long target is enough to tell of it.
            long_name = source.read(size).rstrip(b"\0") if kind == b"L" else long_name
        elif kind in b"xgX":
            raise BadArchive("extended headers")
        else:
            found = _KINDS.get(kind, Kind.OTHER)
            target = header[157:257].partition(b"\0")[0]
            is_executable = bool(_number(header[100:108]) & 0o100)
            yield Member(long_name or _name(header), found, size, is_executable, position, target)
            long_name = b""
        position += -(-size // _BLOCK) * _BLOCK


def content(source: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield a member's content, in pieces."""
    source.seek(member.offset)
    left = member.size
    while left > 0:
        piece = source.read(min(_CHUNK, left))
        if not piece:
            raise BadArchive("it is cut off")
        left -= len(piece)
        yield piece


def _header(source: BinaryIO, position: int) -> bytes | None:
    """Return the header there; None at the end, which is a block of zeros."""
    source.seek(position)
    header = source.read(_BLOCK)
    if len(header) < _BLOCK:
        raise BadArchive("it is cut off")
    if not any(header):
        return None
    total = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if _number(header[148:156]) != total:
        raise BadArchive("a damaged header")
    return header


def _number(field: bytes) -> int:
    """Read a number: octal digits, or big-endian behind a set bit, as GNU writes large sizes."""
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise BadArchive("a negative number")
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip()
    try:
        return int(digits or b"0", 8)
    except ValueError:
        raise BadArchive("a damaged number") from None


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    # POSIX splits a long name; GNU has other things in that place.
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name
