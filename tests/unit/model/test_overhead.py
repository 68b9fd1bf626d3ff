"""QEMU's own memory: the figures it is estimated from, and that the inverse is exact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.model.overhead import footprint, largest_memory, overhead
from moltfleet.model.size import Size

memories = st.integers(0, 2**42).map(Size)
vcpus = st.integers(1, 512)


@pytest.mark.parametrize(
    ("gib", "cpus", "emulated", "mib"),
    [
        (8, 2, False, 256),  # 16 + 30 + 16 + 8 + 32 = 102
        (24, 8, False, 256),  # 48 + 30 + 64 + 8 + 32 = 182
        (128, 8, False, 390),  # 256 + 30 + 64 + 8 + 32
        (8, 2, True, 102 + 384),
        (0.75, 2, True, 471),  # 1.5 + 30 + 16 + 8 + 32 + 384
    ],
)
def test_the_sum_is_the_published_one(gib: float, cpus: int, emulated: bool, mib: int) -> None:
    assert overhead(Size.of_gib(gib), vcpus=cpus, emulated=emulated).mib == mib


# Measured (docs/adr/0007): a 768 MiB guest, about 300 MiB of it touched, with 256 MiB of translation cache.
def test_an_emulated_guest_is_counted_with_at_least_what_was_measured() -> None:
    measured = Size.of_mib(640) - Size.of_mib(300)
    assert overhead(Size.of_mib(768), vcpus=2, emulated=True) >= measured


@given(memories, memories, vcpus, st.booleans())
def test_a_larger_guest_never_takes_less(one: Size, other: Size, cpus: int, emulated: bool) -> None:
    small, large = sorted((one, other))
    assert overhead(small, vcpus=cpus, emulated=emulated) <= overhead(large, vcpus=cpus, emulated=emulated)
    assert overhead(small, vcpus=cpus, emulated=False) <= overhead(small, vcpus=cpus, emulated=True)


@given(memories, vcpus, st.booleans())
def test_the_largest_guest_fits_and_one_mib_more_does_not(room: Size, cpus: int, emulated: bool) -> None:
    largest = largest_memory(room, vcpus=cpus, emulated=emulated)
    if largest.bytes:
        assert footprint(largest, vcpus=cpus, emulated=emulated) <= room
    assert footprint(largest + Size.of_mib(1), vcpus=cpus, emulated=emulated) > room
