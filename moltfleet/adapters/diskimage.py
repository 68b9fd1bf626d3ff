"""What kind of disk image a file is, by its content alone; refuses what is none, what is cut off, what names other
files. A name's ending is never believed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from moltfleet.adapters import qcow2
from moltfleet.model.errors import InvalidInput
from moltfleet.model.size import Size

_SECTOR = 512
# As far as the last mark that is looked for: btrfs at 64 KiB + 64.
_START_BYTES = 66 << 10
_BOOT_SIGNATURE = b"\x55\xaa"
_PARTITION = struct.Struct("<B3xB3xII")
_PROTECTIVE = 0xEE

# (offset, mark, what it is, what to do)
_UNPACK, _CONVERT = "Unpack it first.", "Convert it: qemu-img convert -O qcow2 IMAGE NEW."
_INSTALLER = "An installer does not do; take the vendor's cloud image."
_OTHERS = (
    (0, b"\x1f\x8b", "gzip data", _UNPACK),
    (0, b"\xfd7zXZ\0", "xz data", _UNPACK),
    (0, b"BZh", "bzip2 data", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "zstd data", _UNPACK),
    (0, b"PK\x03\x04", "a zip archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"KDMV", "a VMDK image", _CONVERT),
    (0, b"# Disk DescriptorFile", "a VMDK description", _CONVERT),
    (0, b"vhdxfile", "a VHDX image", _CONVERT),
    (0, b"conectix", "a VHD image", _CONVERT),
    (64, b"\x7f\x10\xda\xbe", "a VDI image", _CONVERT),
    (0x8001, b"CD001", "a CD or DVD image", _INSTALLER),
)
_FILE_SYSTEMS = ((1080, b"\x53\xef"), (0, b"XFSB"), (65536 + 64, b"_BHRfS_M"))
# Boot sectors that end in 55 AA as well and hold code where a partition table would be.
_BOOT_SECTOR_FILE_SYSTEMS = ((3, b"NTFS"), (3, b"EXFAT"), (54, b"FAT1"), (82, b"FAT32"))


@dataclass(frozen=True, slots=True)
class DiskFormat:
    """The format in libvirt's word ("qcow2", "raw"), and the size of the disk that the guest sees."""

    format: str
    virtual_size: Size


def detect(name: str, file: BinaryIO, file_size: int) -> DiskFormat:
    """Tell the format and check that the file is whole. ``name`` is for messages.

    Raises: InvalidInput.
    """
    file.seek(0)
    start = file.read(_START_BYTES)
    if not start:
        raise InvalidInput(f"Image {name} is empty", hint="Copy or download it again.")
    if start.startswith(qcow2.MAGIC):
        header = qcow2.read_header(name, start)
        qcow2.check_whole(name, file, header, file_size)
        return DiskFormat("qcow2", Size(header.virtual_size))
    _refuse_others(name, start)
    if not _is_raw_disk(start):
        raise InvalidInput(
            f"File {name} is not a disk image",
            hint="A qcow2 file, or a raw disk with a partition table or a file system, is expected.",
        )
    _check_raw_whole(name, start, file_size)
    return DiskFormat("raw", Size(file_size))


def _has(start: bytes, offset: int, mark: bytes) -> bool:
    return start[offset : offset + len(mark)] == mark


def _refuse_others(name: str, start: bytes) -> None:
    for offset, mark, what, hint in _OTHERS:
        if _has(start, offset, mark):
            raise InvalidInput(f"File {name} is not a disk image that can be used: it is {what}", hint=hint)


def _is_raw_disk(start: bytes) -> bool:
    return _has(start, 510, _BOOT_SIGNATURE) or any(_has(start, offset, mark) for offset, mark in _FILE_SYSTEMS)


def _check_raw_whole(name: str, start: bytes, file_size: int) -> None:
    if file_size % _SECTOR:
        raise _truncated(name, f"its {file_size} bytes are not whole sectors")
    needed = max(_partitions_end(start), _gpt_end(start), _ext_end(start))
    if needed > file_size:
        raise _truncated(name, f"it has {file_size} bytes and needs {needed}")


def _partitions_end(start: bytes) -> int:
    """Return where the last partition of an MBR ends, 0 when there is no plausible one."""
    if not _has(start, 510, _BOOT_SIGNATURE) or any(_has(start, at, mark) for at, mark in _BOOT_SECTOR_FILE_SYSTEMS):
        return 0
    entries = [_PARTITION.unpack_from(start, 446 + 16 * number) for number in range(4)]
    if any(status not in (0, 0x80) for status, _, _, _ in entries):
        return 0
    ends = [first + count for _, kind, first, count in entries if kind not in (0, _PROTECTIVE)]
    return max(ends, default=0) * _SECTOR


def _gpt_end(start: bytes) -> int:
    """Return where the disk of a GPT ends: behind the copy of its header."""
    if not _has(start, _SECTOR, b"EFI PART") or len(start) < _SECTOR + 40:
        return 0
    (copy_at,) = struct.unpack_from("<Q", start, _SECTOR + 32)
    return int(copy_at + 1) * _SECTOR


def _ext_end(start: bytes) -> int:
    """Return where an ext2/3/4 file system that fills the disk ends."""
    if not _has(start, 1080, b"\x53\xef") or len(start) < 2048:
        return 0
    blocks, block_size_log = struct.unpack_from("<I", start, 1024 + 4)[0], start[1024 + 24]
    has_64bit = struct.unpack_from("<I", start, 1024 + 96)[0] & 0x80
    high = struct.unpack_from("<I", start, 1024 + 336)[0] if has_64bit else 0
    return int(high << 32 | blocks) << (10 + min(block_size_log, 6))


def _truncated(name: str, why: str) -> InvalidInput:
    return InvalidInput(f"Image {name} is truncated: {why}", hint="Copy or download it again.")
