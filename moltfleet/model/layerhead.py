"""The head of a qcow2 layer, read just far enough to know which files QEMU would open for it; believes none of them.

The format: https://www.qemu.org/docs/master/interop/qcow2.html.
"""

from __future__ import annotations

import posixpath
import struct
from dataclasses import dataclass

from moltfleet.model.errors import InvalidInput

# Header, extensions and the name of the backing file lie in the first cluster.
HEAD_BYTES = 64 * 1024
_MAGIC = b"QFI\xfb"
_FIXED = struct.Struct(">4sIQIIQIIQQIIQ")
_VERSION_3 = struct.Struct(">QQQII")
_EXTENSION = struct.Struct(">II")
_END, _BACKING_FORMAT = 0, 0xE2792ACA
# QEMU's own limit (block/qcow2.c).
_LONGEST_BACKING = 1023
_CORRUPT, _EXTERNAL_DATA = 1 << 1, 1 << 2
_KNOWN_FEATURES = (1 << 5) - 1


@dataclass(frozen=True, slots=True)
class LayerHead:
    """What the head of a layer says. ``backing`` is the name as it stands there, ``flaw`` why it must not be used.

    ``capacity`` is what a guest sees, in bytes; ``snapshots`` are internal ones.
    """

    capacity: int
    backing: str | None = None
    backing_format: str | None = None
    snapshots: int = 0
    flaw: str = ""


def parse_head(start: bytes) -> LayerHead:
    """Read the first bytes of a file, up to :data:`HEAD_BYTES` of them. Raises: InvalidInput when it is no qcow2."""
    if len(start) < _FIXED.size:
        raise InvalidInput("is too short for a qcow2 image")
    magic, version, at, length, _, capacity, encryption, *_, snapshots, _ = _FIXED.unpack_from(start)
    if magic != _MAGIC or version not in (2, 3):
        raise InvalidInput("is no qcow2 image of version 2 or 3")
    features, end = (0, _FIXED.size) if version == 2 else _version_3(start)
    return LayerHead(
        capacity=capacity,
        backing=_backing(start, at, length) if at else None,
        backing_format=_backing_format(start[:at] if at else start, end),
        snapshots=snapshots,
        flaw=_flaw(features, encryption),
    )


def _version_3(start: bytes) -> tuple[int, int]:
    """The incompatible features, and where the header ends."""
    if len(start) < _FIXED.size + _VERSION_3.size:
        raise InvalidInput("has a qcow2 header that is cut off")
    features, *_, length = _VERSION_3.unpack_from(start, _FIXED.size)
    return features, length


def _backing(start: bytes, at: int, length: int) -> str:
    if not 0 < length <= _LONGEST_BACKING or at + length > len(start):
        raise InvalidInput("names its backing file where no qcow2 header does")
    return start[at : at + length].decode("utf-8", "surrogateescape")


def _backing_format(head: bytes, at: int) -> str | None:
    while at + _EXTENSION.size <= len(head):
        kind, length = _EXTENSION.unpack_from(head, at)
        at += _EXTENSION.size
        if kind == _END:
            return None
        if kind == _BACKING_FORMAT:
            return head[at : at + length].decode("ascii", "replace")
        at += -(-length // 8) * 8
    return None


def _flaw(features: int, encryption: int) -> str:
    if features & _EXTERNAL_DATA:
        return "keeps its data in another file"
    if encryption:
        return "is encrypted"
    if features & _CORRUPT:
        return "is marked corrupt"
    return "uses qcow2 features that are not known" if features & ~_KNOWN_FEATURES else ""


def resolve_backing(path: str, backing: str) -> str | None:
    """The path that a backing file's name means in the layer at ``path``; None when it means no plain file."""
    protocol, colon, _ = backing.partition(":")
    if (colon and "/" not in protocol) or not backing.isprintable():
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), backing))
