"""The calculator: the published table and scenarios, and that it never promises what is not there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.model.capacity import calculate, vcpu_ratio
from moltfleet.model.size import Size

RESERVE = Size.of_gib(10)
hosts = st.integers(0, 2**45).map(Size)
clones = st.integers(1, 2**42).map(Size)


# Host, clone, then available, max and safe, in GiB. The planning guide's table recommends 1 to 2 clones of 12 to 16 GB
# on 32 GB, 2 to 4 on 64, 4 to 8 on 128. On 64 that is safe at 16 to possible at 12; on 128 its 8 are safe at 12. On 32
# the formula is stricter than the table: 1 is possible at either size and 0 are safe; 2 need clones of 11 GB or less.
@pytest.mark.parametrize(
    ("host", "clone", "available", "most", "safe"),
    [
        (32, 12, 22, 1, 0),
        (32, 16, 22, 1, 0),
        (32, 11, 22, 2, 1),
        (32, 8, 22, 2, 1),
        (64, 12, 54, 4, 3),
        (64, 16, 54, 3, 2),
        (128, 12, 118, 9, 8),
        (128, 16, 118, 7, 6),
        # Scenarios A to D: one agent on 32 GB or more; two of 12 and four of 8 GB on 64; six of 16 GB on 128.
        (64, 8, 54, 6, 5),
        (128, 24, 118, 4, 3),
    ],
)
def test_the_published_figures_come_out(host: int, clone: int, available: int, most: int, safe: int) -> None:
    found = calculate(Size.of_gib(host), reserve=RESERVE, clone=Size.of_gib(clone))
    assert (found.available, found.max_clones, found.safe_clones) == (Size.of_gib(available), most, safe)


@pytest.mark.parametrize(("host", "clone", "wanted"), [(64, 12, 2), (64, 8, 4), (128, 16, 6)])
def test_the_scenarios_with_several_clones_are_safe(host: int, clone: int, wanted: int) -> None:
    assert calculate(Size.of_gib(host), reserve=RESERVE, clone=Size.of_gib(clone)).safe_clones >= wanted


@pytest.mark.parametrize(("host", "wanted", "buffer"), [(64, 2 * 12, 30), (64, 4 * 8, 22)])
def test_the_scenarios_leave_the_buffer_that_they_name(host: int, wanted: int, buffer: int) -> None:
    available = calculate(Size.of_gib(host), reserve=RESERVE, clone=Size.of_gib(1)).available
    assert available - Size.of_gib(wanted) == Size.of_gib(buffer)


@pytest.mark.parametrize("host", [Size(0), Size.of_gib(4), RESERVE])
def test_a_host_that_is_no_larger_than_its_reserve_carries_nothing(host: Size) -> None:
    found = calculate(host, reserve=RESERVE, clone=Size.of_gib(1))
    assert (found.available, found.max_clones, found.safe_clones) == (Size(0), 0, 0)


def test_a_clone_without_memory_is_a_bug() -> None:
    with pytest.raises(ValueError, match="without memory"):
        calculate(Size.of_gib(64), reserve=RESERVE, clone=Size(0))


@given(hosts, hosts, clones)
def test_what_is_promised_is_there(host: Size, reserve: Size, clone: Size) -> None:
    found = calculate(host, reserve=reserve, clone=clone)
    assert 0 <= found.safe_clones <= found.max_clones
    assert found.max_clones * clone.bytes <= max(0, host.bytes - reserve.bytes)
    assert (found.max_clones + 1) * clone.bytes > host.bytes - reserve.bytes


@given(hosts, clones, st.integers(0, 2**40), st.integers(0, 2**40))
def test_more_host_is_never_fewer_clones_and_a_larger_clone_never_more(
    host: Size, clone: Size, more_host: int, more_clone: int
) -> None:
    found = calculate(host, reserve=RESERVE, clone=clone)
    on_more = calculate(Size(host.bytes + more_host), reserve=RESERVE, clone=clone)
    larger = calculate(host, reserve=RESERVE, clone=Size(clone.bytes + more_clone))
    assert larger.max_clones <= found.max_clones <= on_more.max_clones
    assert larger.safe_clones <= found.safe_clones <= on_more.safe_clones


def test_vcpus_are_shared_out_over_the_cpus() -> None:
    assert vcpu_ratio(4, vcpus=4, cpus=8) == 2.0
    assert vcpu_ratio(0, vcpus=4, cpus=8) == 0.0
    assert vcpu_ratio(4, vcpus=4, cpus=None) is None
