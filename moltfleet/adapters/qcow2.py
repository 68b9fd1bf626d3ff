"""qcow2 files, read just far enough to know that one is whole and stands alone; refuses one that names other files.

The format: https://www.qemu.org/docs/master/interop/qcow2.html. The file comes from anywhere, so every figure in it is
bounded before it is used.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from moltfleet.model.errors import InvalidInput

MAGIC = b"QFI\xfb"
_FIXED = struct.Struct(">4sIQIIQIIQQIIQ")
_VERSION_3 = struct.Struct(">QQQII")
_HEADER_BYTES = _FIXED.size + _VERSION_3.size

# Incompatible features; whoever meets an unknown one must not open the file.
_DIRTY, _CORRUPT, _EXTERNAL_DATA, _COMPRESSION_TYPE, _EXTENDED_L2 = (1 << bit for bit in range(5))
_KNOWN_FEATURES = _DIRTY | _CORRUPT | _EXTERNAL_DATA | _COMPRESSION_TYPE | _EXTENDED_L2

_OFFSET_MASK = 0x00FFFFFFFFFFFE00
_COMPRESSED = 1 << 62
_READS_AS_ZEROS = 1
_SUBCLUSTERS = 32
# QEMU's own limits: 32 MiB of L1 table, 8 MiB of refcount table (block/qcow2.h).
_MOST_L1_ENTRIES = (32 << 20) // 8
_MOST_REFCOUNT_BYTES = 8 << 20
_LARGEST_DISK = 1 << 50


@dataclass(frozen=True, slots=True)
class Header:
    """The fields that say where the tables are. Sizes and offsets are bytes."""

    version: int
    virtual_size: int
    cluster_bits: int
    l1_entries: int
    l1_offset: int
    refcount_offset: int
    refcount_clusters: int
    snapshots: int
    snapshots_offset: int
    has_extended_l2: bool

    @property
    def cluster_size(self) -> int:
        """Bytes of a cluster."""
        return 1 << self.cluster_bits

    @property
    def l2_entry_size(self) -> int:
        """Bytes of an L2 entry."""
        return 16 if self.has_extended_l2 else 8

    @property
    def l2_span(self) -> int:
        """Guest bytes that one L2 table maps."""
        return self.cluster_size // self.l2_entry_size * self.cluster_size


def read_header(name: str, start: bytes) -> Header:
    """Read the header from the first bytes of a file. Raises: InvalidInput, whose brief begins with ``name``."""
    if len(start) < _FIXED.size:
        raise _truncated(name, "its header is cut off")
    (magic, version, backing, _, bits, size, encryption, l1_entries, l1, refcounts, clusters, snapshots, at) = (
        _FIXED.unpack_from(start)
    )
    if magic != MAGIC or version not in (2, 3):
        raise InvalidInput(f"Image {name} is not a qcow2 file of version 2 or 3")
    features = 0
    if version == 3:
        if len(start) < _HEADER_BYTES:
            raise _truncated(name, "its header is cut off")
        features = _VERSION_3.unpack_from(start, _FIXED.size)[0]
    _refuse_other_files(name, backing, features, encryption)
    header = Header(
        version, size, bits, l1_entries, l1, refcounts, clusters, snapshots, at, bool(features & _EXTENDED_L2)
    )
    _check_figures(name, header)
    return header


def check_whole(name: str, file: BinaryIO, header: Header, file_size: int) -> None:
    """Follow every table and make sure that all it points to lies inside the file.

    Raises: InvalidInput when the file was cut off, or when its tables make no sense.
    """
    _check_inside(name, header.refcount_offset, header.refcount_clusters << header.cluster_bits, file_size)
    _check_inside(name, header.snapshots_offset if header.snapshots else 0, 1, file_size)
    _check_inside(name, header.l1_offset, header.l1_entries * 8, file_size)
    _check_refcount_blocks(name, file, header, file_size)
    seen: set[int] = set()
    for index, entry in enumerate(_table(name, file, header.l1_offset, header.l1_entries)):
        offset = entry & _OFFSET_MASK
        if offset == 0 or offset in seen:
            continue
        seen.add(offset)
        _check_cluster(name, header, offset, header.cluster_size, file_size)
        words = _table(name, file, offset, header.cluster_size // 8)
        _check_clusters(name, header, words, index * header.l2_span, file_size)


def _refuse_other_files(name: str, backing: int, features: int, encryption: int) -> None:
    # QEMU would open what these name with its own rights: a way to read any file of the host.
    if backing:
        raise InvalidInput(
            f"Image {name} is an overlay on a backing file",
            hint="Flatten it where its backing file is: qemu-img convert -O qcow2 IMAGE FLAT.",
        )
    if features & _EXTERNAL_DATA:
        raise InvalidInput(
            f"Image {name} keeps its data in another file",
            hint="Flatten it where its data file is: qemu-img convert -O qcow2 IMAGE FLAT.",
        )
    if encryption:
        raise InvalidInput(f"Image {name} is encrypted", hint="Decrypt it with qemu-img convert.")
    if features & _CORRUPT:
        raise InvalidInput(f"Image {name} is marked corrupt", hint="Look at it with qemu-img check.")
    if features & ~_KNOWN_FEATURES:
        raise InvalidInput(f"Image {name} uses qcow2 features that are not known", hint="Convert it with qemu-img.")


def _check_figures(name: str, header: Header) -> None:
    smallest = 14 if header.has_extended_l2 else 9
    if not smallest <= header.cluster_bits <= 21:
        raise _senseless(name, f"clusters of 2^{header.cluster_bits} bytes")
    if header.virtual_size == 0 or header.virtual_size > _LARGEST_DISK:
        raise _senseless(name, f"a disk of {header.virtual_size} bytes")
    needed = -(-header.virtual_size // header.l2_span)
    if not needed <= header.l1_entries <= _MOST_L1_ENTRIES:
        raise _senseless(name, f"an L1 table of {header.l1_entries} entries")
    if header.l1_offset % header.cluster_size or header.refcount_offset % header.cluster_size:
        raise _senseless(name, "tables that are not aligned")
    if not 0 < header.refcount_clusters << header.cluster_bits <= max(_MOST_REFCOUNT_BYTES, header.cluster_size):
        raise _senseless(name, f"a refcount table of {header.refcount_clusters} clusters")
    if header.l1_offset == 0 or header.refcount_offset == 0:
        raise _senseless(name, "tables inside its header")


def _check_refcount_blocks(name: str, file: BinaryIO, header: Header, file_size: int) -> None:
    entries = (header.refcount_clusters << header.cluster_bits) // 8
    for entry in _table(name, file, header.refcount_offset, entries):
        if offset := entry & _OFFSET_MASK:
            _check_cluster(name, header, offset, header.cluster_size, file_size)


def _check_clusters(name: str, header: Header, words: array[int], guest_offset: int, file_size: int) -> None:
    for position, entry, needed in _mapped(header, words):
        left = header.virtual_size - guest_offset - position * header.cluster_size
        if left <= 0:
            return
        if entry & _COMPRESSED:
            _check_inside(name, *_compressed_extent(header, entry), file_size)
        elif needed and (offset := entry & _OFFSET_MASK):
            # The last cluster is written only as far as the disk reaches.
            _check_cluster(name, header, offset, min(needed, -(-left // 512) * 512), file_size)


def _mapped(header: Header, words: array[int]) -> Iterator[tuple[int, int, int]]:
    """Yield (position in the table, entry, bytes of it that are read) of every entry that maps something."""
    if not header.has_extended_l2:
        for position, entry in enumerate(words):
            if entry:
                yield position, entry, 0 if entry & _READS_AS_ZEROS and not entry & _COMPRESSED else header.cluster_size
        return
    for position in range(len(words) // 2):
        entry, allocated = words[2 * position], words[2 * position + 1] & 0xFFFFFFFF
        if entry:
            yield position, entry, allocated.bit_length() * (header.cluster_size // _SUBCLUSTERS)


def _compressed_extent(header: Header, entry: int) -> tuple[int, int]:
    """Return offset and length; the length counts up to the start of its last sector, which may be cut short."""
    sectors_at = 62 - (header.cluster_bits - 8)
    offset = entry & ((1 << sectors_at) - 1)
    sectors = (entry & (_COMPRESSED - 1)) >> sectors_at
    return offset, (offset & ~511) + sectors * 512 + 1 - offset if sectors else 1


def _table(name: str, file: BinaryIO, offset: int, entries: int) -> array[int]:
    file.seek(offset)
    content = file.read(entries * 8)
    if len(content) != entries * 8:
        raise _truncated(name, "a table of it is missing")
    table = array("Q", content)
    if sys.byteorder == "little":
        table.byteswap()
    return table


def _check_cluster(name: str, header: Header, offset: int, length: int, file_size: int) -> None:
    if offset % header.cluster_size:
        raise _senseless(name, f"a cluster at {offset:#x}")
    _check_inside(name, offset, length, file_size)


def _check_inside(name: str, offset: int, length: int, file_size: int) -> None:
    if offset + length > file_size:
        raise _truncated(name, f"it has {file_size} bytes and needs at least {offset + length}")


def _truncated(name: str, why: str) -> InvalidInput:
    return InvalidInput(f"Image {name} is truncated: {why}", hint="Copy or download it again.")


def _senseless(name: str, what: str) -> InvalidInput:
    return InvalidInput(f"Image {name} is damaged: its header claims {what}", hint="Copy or download it again.")
