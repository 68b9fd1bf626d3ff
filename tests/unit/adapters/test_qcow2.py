"""Whatever bytes claim to be a qcow2 file, the answer is a header or a refusal."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.adapters.qcow2 import check_whole, read_header
from moltfleet.model.errors import InvalidInput

CLUSTER = 65536


@dataclass(frozen=True)
class Fields:
    """A header's fields, as the format's specification names them; by default a whole small image."""

    magic: bytes = b"QFI\xfb"
    version: int = 3
    backing_file_offset: int = 0
    backing_file_size: int = 0
    cluster_bits: int = 16
    size: int = 1 << 20
    crypt_method: int = 0
    l1_size: int = 1
    l1_table_offset: int = 3 * CLUSTER
    refcount_table_offset: int = CLUSTER
    refcount_table_clusters: int = 1
    nb_snapshots: int = 0
    snapshots_offset: int = 0
    incompatible_features: int = 0

    def pack(self) -> bytes:
        fixed = struct.pack(
            ">4sIQIIQIIQQIIQ",
            self.magic,
            self.version,
            self.backing_file_offset,
            self.backing_file_size,
            self.cluster_bits,
            self.size,
            self.crypt_method,
            self.l1_size,
            self.l1_table_offset,
            self.refcount_table_offset,
            self.refcount_table_clusters,
            self.nb_snapshots,
            self.snapshots_offset,
        )
        return fixed + struct.pack(">QQQII", self.incompatible_features, 0, 0, 4, 104)


def image(fields: Fields | None = None, *, l2: bytes = b"", data_clusters: int = 1) -> bytes:
    """Header, refcount table, refcount block, L1, L2, data: one cluster each."""
    clusters = [
        (fields or Fields()).pack(),
        struct.pack(">Q", 2 * CLUSTER),
        b"\0\1" * 6,
        struct.pack(">Q", 4 * CLUSTER | 1 << 63),
        l2 or struct.pack(">Q", 5 * CLUSTER | 1 << 63),
        *[b"x" * CLUSTER] * data_clusters,
    ]
    return b"".join(content.ljust(CLUSTER, b"\0") for content in clusters)


def check(content: bytes) -> int:
    header = read_header("x", content[:512])
    check_whole("x", io.BytesIO(content), header, len(content))
    return header.virtual_size


def refusal(content: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        check(content)
    return caught.value.brief


def test_a_whole_image_is_taken() -> None:
    assert check(image()) == 1 << 20


@pytest.mark.parametrize("missing", [1, 512, CLUSTER, 2 * CLUSTER, 4 * CLUSTER, 6 * CLUSTER - 200, 6 * CLUSTER - 60])
def test_an_image_that_lacks_its_end_is_truncated(missing: int) -> None:
    assert refusal(image()[:-missing]).startswith("Image x is truncated: ")


@pytest.mark.parametrize(
    ("fields", "brief"),
    [
        (Fields(backing_file_offset=400, backing_file_size=11), "Image x is an overlay on a backing file"),
        (Fields(version=2, backing_file_offset=400, backing_file_size=11), "Image x is an overlay on a backing file"),
        (Fields(incompatible_features=1 << 2), "Image x keeps its data in another file"),
        (Fields(incompatible_features=1 << 1), "Image x is marked corrupt"),
        (Fields(incompatible_features=1 << 9), "Image x uses qcow2 features that are not known"),
        (Fields(crypt_method=2), "Image x is encrypted"),
        (Fields(magic=b"QFI\0"), "Image x is not a qcow2 file of version 2 or 3"),
        (Fields(version=4), "Image x is not a qcow2 file of version 2 or 3"),
        (Fields(cluster_bits=8), "Image x is damaged: its header claims clusters of 2^8 bytes"),
        (Fields(cluster_bits=22), "Image x is damaged: its header claims clusters of 2^22 bytes"),
        (Fields(size=0), "Image x is damaged: its header claims a disk of 0 bytes"),
        (Fields(size=1 << 63), f"Image x is damaged: its header claims a disk of {1 << 63} bytes"),
        (Fields(size=1 << 40), "Image x is damaged: its header claims an L1 table of 1 entries"),
        (Fields(l1_size=1 << 31), f"Image x is damaged: its header claims an L1 table of {1 << 31} entries"),
        (Fields(l1_table_offset=CLUSTER + 8), "Image x is damaged: its header claims tables that are not aligned"),
        (Fields(l1_table_offset=0), "Image x is damaged: its header claims tables inside its header"),
        (Fields(refcount_table_clusters=0), "Image x is damaged: its header claims a refcount table of 0 clusters"),
        (
            Fields(l1_table_offset=1 << 40),
            f"Image x is truncated: it has 393216 bytes and needs at least {(1 << 40) + 8}",
        ),
        (Fields(nb_snapshots=1, snapshots_offset=1 << 30), "Image x is truncated: it has 393216 bytes and needs"),
    ],
)
def test_a_header_that_asks_for_what_cannot_be_is_refused(fields: Fields, brief: str) -> None:
    assert refusal(image(fields)).startswith(brief)


def test_a_cluster_that_is_not_aligned_is_damage() -> None:
    assert refusal(image(l2=struct.pack(">Q", 5 * CLUSTER + 512))) == (
        "Image x is damaged: its header claims a cluster at 0x50200"
    )


def test_the_last_cluster_need_only_reach_as_far_as_the_disk() -> None:
    content = image(Fields(size=1024))
    assert check(content[: 5 * CLUSTER + 1024]) == 1024
    assert "truncated" in refusal(content[: 5 * CLUSTER + 1023])


def test_a_cluster_that_reads_as_zeros_need_not_be_there() -> None:
    content = image(l2=struct.pack(">Q", 5 * CLUSTER | 1), data_clusters=0)
    assert check(content) == 1 << 20


def test_a_compressed_cluster_behind_the_end_is_noticed() -> None:
    # With 64 KiB clusters, bits 0 to 53 are the offset, 54 to 61 the further sectors.
    inside, behind = (1 << 62 | 3 << 54 | 5 * CLUSTER + at for at in (100, CLUSTER - 600))
    assert check(image(l2=struct.pack(">Q", inside))) == 1 << 20
    assert "truncated" in refusal(image(l2=struct.pack(">Q", behind)))


def test_subclusters_count_as_far_as_they_are_allocated() -> None:
    extended = replace(Fields(), incompatible_features=1 << 4)
    l2 = struct.pack(">QQ", 5 * CLUSTER, 0b11)
    content = image(extended, l2=l2, data_clusters=0)
    assert check(content + bytes(2 * CLUSTER // 32)) == 1 << 20
    assert "truncated" in refusal(content + bytes(2 * CLUSTER // 32 - 1))


class _CountingFile(io.BytesIO):
    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        return super().read(size)


def test_a_table_that_is_named_a_thousand_times_is_read_once() -> None:
    entries = CLUSTER // 8
    fields = replace(Fields(), l1_size=entries, size=entries * entries * CLUSTER)
    content = bytearray(image(fields))
    content[3 * CLUSTER : 4 * CLUSTER] = struct.pack(">Q", CLUSTER * 4) * entries
    file = _CountingFile(bytes(content))
    check_whole("x", file, read_header("x", bytes(content[:512])), len(content))
    assert file.reads == 3  # refcount table, L1, L2


@given(st.binary(max_size=300))
def test_any_bytes_give_a_header_or_a_refusal(start: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_header("x", start)


@given(st.binary(max_size=120))
def test_any_bytes_after_the_magic_give_a_header_or_a_refusal(rest: bytes) -> None:
    content = b"QFI\xfb\0\0\0\3" + rest
    try:
        header = read_header("x", content)
        check_whole("x", io.BytesIO(content), header, len(content))
    except InvalidInput:
        return
    raise AssertionError("so short a file cannot hold its tables")


_PLACES = st.one_of(
    st.integers(0, 111), st.integers(3 * CLUSTER, 3 * CLUSTER + 15), st.integers(4 * CLUSTER, 4 * CLUSTER + 31)
)


@given(st.lists(st.tuples(_PLACES, st.integers(0, 255)), min_size=1, max_size=12))
def test_a_damaged_image_is_taken_or_refused(changes: list[tuple[int, int]]) -> None:
    content = bytearray(image())
    for place, value in changes:
        content[place] = value
    try:
        assert check(bytes(content)) > 0
    except InvalidInput as error:
        assert error.brief.startswith("Image x ")
