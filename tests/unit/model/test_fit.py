"""What would have to give: each answer, followed, makes it fit, and nothing less does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.model.capacity import Verdict, calculate
from moltfleet.model.fit import fit
from moltfleet.model.size import Size

GIB = Size.of_gib
MIB = Size.of_mib


def test_four_clones_of_16_gib_on_64_gib_need_smaller_clones_or_a_larger_host() -> None:
    found = fit(calculate(GIB(64), reserve=GIB(10), clone=GIB(16)), 4)
    assert found.verdict is Verdict.NO
    assert found.clone_memory == (MIB(11059), MIB(13824))  # 54 GiB / 5 and / 4
    assert found.host_memory == (GIB(90), GIB(74))
    assert found.reserve == (None, None)


def test_one_clone_of_16_gib_on_32_gib_is_possible_and_not_safe() -> None:
    found = fit(calculate(GIB(32), reserve=GIB(10), clone=GIB(16)), 1)
    assert found.verdict is Verdict.POSSIBLE
    assert found.clone_memory == (GIB(11), GIB(22))
    assert found.reserve == (None, GIB(16))


def test_a_host_below_its_reserve_cannot_be_helped_by_smaller_clones() -> None:
    found = fit(calculate(GIB(8), reserve=GIB(10), clone=GIB(4)), 1)
    assert found.clone_memory == (None, None)
    assert (found.host_memory, found.reserve) == ((GIB(18), GIB(14)), (None, GIB(4)))


def test_no_clones_are_no_question() -> None:
    with pytest.raises(ValueError, match="no clones"):
        fit(calculate(GIB(64), reserve=GIB(10), clone=GIB(16)), 0)


sizes = st.integers(1, 2**20).map(Size.of_mib)


@given(sizes, sizes, st.integers(64, 2**18).map(Size.of_mib), st.integers(1, 100_000))
def test_what_is_named_is_enough_and_nothing_less_is(host: Size, reserve: Size, clone: Size, clones: int) -> None:
    capacity = calculate(host, reserve=reserve, clone=clone)
    found = fit(capacity, clones)
    assert found.verdict is (
        Verdict.SAFE if clones <= capacity.safe_clones
        else Verdict.POSSIBLE if clones <= capacity.max_clones else Verdict.NO
    )  # fmt: skip
    for index, enough in enumerate(("safe_clones", "max_clones")):
        memory, larger_host, less_reserve = found.clone_memory[index], found.host_memory[index], found.reserve[index]
        if memory is not None:
            assert getattr(calculate(host, reserve=reserve, clone=memory), enough) >= clones
            assert getattr(calculate(host, reserve=reserve, clone=memory + MIB(1)), enough) < clones
        else:
            assert getattr(calculate(host, reserve=reserve, clone=MIB(64)), enough) < clones
        assert getattr(calculate(larger_host, reserve=reserve, clone=clone), enough) >= clones
        assert getattr(calculate(larger_host - Size(1), reserve=reserve, clone=clone), enough) < clones
        if less_reserve is not None:
            assert getattr(calculate(host, reserve=less_reserve, clone=clone), enough) >= clones
            assert getattr(calculate(host, reserve=less_reserve + Size(1), clone=clone), enough) < clones
