"""The content tells what a file is, never its name."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.adapters.diskimage import DiskFormat, detect
from moltfleet.model.errors import InvalidInput
from moltfleet.model.size import Size

SIZE = 1 << 20


def disk(*marks: tuple[int, bytes], size: int = SIZE) -> bytes:
    content = bytearray(size)
    for offset, mark in marks:
        content[offset : offset + len(mark)] = mark
    return bytes(content)


def partition(first: int, count: int, *, kind: int = 0x83) -> tuple[int, bytes]:
    return 446, struct.pack("<B3xB3xII", 0x80, kind, first, count)


def ext(blocks: int) -> tuple[int, bytes]:
    """A superblock with blocks of 4 KiB."""
    block = bytearray(1024)
    block[4:8], block[24:28], block[56:58] = struct.pack("<I", blocks), struct.pack("<I", 2), b"\x53\xef"
    return 1024, bytes(block)


BOOT = (510, b"\x55\xaa")


def found(content: bytes) -> DiskFormat:
    return detect("x", io.BytesIO(content), len(content))


def refusal(content: bytes) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        found(content)
    return caught.value


@pytest.mark.parametrize(
    "content",
    [
        disk(BOOT),
        disk(BOOT, partition(1, SIZE // 512 - 1)),
        disk(BOOT, partition(1, 0xFFFFFFFF, kind=0xEE), (512, b"EFI PART"), (544, struct.pack("<Q", SIZE // 512 - 1))),
        disk(ext(SIZE // 4096)),
        disk((0, b"XFSB")),
        disk((65536 + 64, b"_BHRfS_M")),
        disk(BOOT, (54, b"FAT16   "), (446, b"\x80" + b"\xff" * 15)),
    ],
    ids=["boot sector", "MBR", "GPT", "ext", "XFS", "btrfs", "FAT with boot code"],
)
def test_raw_disks_are_known_by_their_marks(content: bytes) -> None:
    assert found(content) == DiskFormat("raw", Size(SIZE))


@pytest.mark.parametrize(
    "content",
    [
        disk(BOOT, size=SIZE - 1),
        disk(BOOT, partition(1, SIZE // 512)),
        disk(BOOT, (512, b"EFI PART"), (544, struct.pack("<Q", SIZE // 512))),
        disk(ext(SIZE // 4096 + 1)),
    ],
    ids=["half a sector", "MBR", "GPT", "ext"],
)
def test_a_raw_disk_that_lacks_its_end_is_truncated(content: bytes) -> None:
    assert refusal(content).brief.startswith("Image x is truncated: ")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (disk(BOOT, (0, b"\x1f\x8b")), "gzip data"),
        (disk((0, b"\xfd7zXZ\0")), "xz data"),
        (disk((0, b"PK\x03\x04")), "a zip archive"),
        (disk((257, b"ustar")), "a tar archive"),
        (disk((0, b"KDMV")), "a VMDK image"),
        (disk((0, b"vhdxfile")), "a VHDX image"),
        (disk(BOOT, (0x8001, b"CD001")), "a CD or DVD image"),
    ],
)
def test_what_looks_like_something_else_is_named_with_a_way_out(content: bytes, what: str) -> None:
    error = refusal(content)
    assert error.brief == f"File x is not a disk image that can be used: it is {what}"
    assert error.hint


@pytest.mark.parametrize("content", [b"<html>not found</html>", disk(), b"\x55\xaa" * 100])
def test_anything_else_is_not_a_disk_image(content: bytes) -> None:
    assert refusal(content).brief == "File x is not a disk image"


def test_an_empty_file_is_said_to_be_empty() -> None:
    assert refusal(b"").brief == "Image x is empty"


@given(st.binary(max_size=2048), st.sampled_from([b"", b"QFI\xfb\0\0\0\3", b"QFI\xfb\0\0\0\2"]))
def test_any_file_is_known_or_refused(content: bytes, start: bytes) -> None:
    try:
        assert found(start + content).format in ("raw", "qcow2")
    except InvalidInput as error:
        assert " x " in error.brief


@given(st.binary(min_size=64, max_size=64), st.binary(min_size=512, max_size=512))
def test_any_partition_table_is_taken_or_refused(table: bytes, second: bytes) -> None:
    try:
        assert found(disk((446, table), BOOT, (512, second))).format == "raw"
    except InvalidInput as error:
        assert error.brief.startswith("Image x is truncated")
