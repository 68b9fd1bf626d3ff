"""Sizes: what is read, what is said, and that no amount of text is a fault."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.model.errors import InvalidInput
from moltfleet.model.size import Size

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("12288", 12288 << 20),
        ("12G", 12 << 30),
        ("12g", 12 << 30),
        ("12GB", 12 << 30),
        ("12GiB", 12 << 30),
        ("1.5G", 3 << 29),
        (" 512 MiB ", 512 << 20),
        ("1T", 1 << 40),
        ("64k", 64 << 10),
    ],
)
def test_a_size_is_read_as_memory_is_sold(text: str, bytes_: int) -> None:
    assert Size.parse(text).bytes == bytes_


@pytest.mark.parametrize(
    "text",
    ["", "lots", "0", "0G", "0.0", "-1", "-1G", "1e9", "1,5G", "G", "1 2", "1P", "9" * 30, "2000T", "١٢G", "nan"],
)
def test_what_is_no_amount_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Size.parse(text)
    assert repr(text) in caught.value.brief and caught.value.hint


@given(st.text(max_size=40))
def test_any_text_is_a_size_or_is_refused(text: str) -> None:
    try:
        assert Size.parse(text).bytes > 0
    except InvalidInput as error:
        assert "\n" not in error.brief


@given(st.integers(1, 2**20), st.sampled_from(sorted(UNITS)), st.sampled_from(["", "B", "iB"]))
def test_numbers_with_units_are_exact(number: int, unit: str, ending: str) -> None:
    if number * UNITS[unit] <= 2**50:
        assert Size.parse(f"{number}{unit}{ending}").bytes == number * UNITS[unit]


@given(st.integers(0, 2**50), st.integers(0, 2**50))
def test_what_is_left_is_never_negative(one: int, other: int) -> None:
    assert (Size(one) - Size(other)).bytes == max(0, one - other)
    assert (Size(one) + Size(other)).bytes == one + other


@given(st.integers(0, 2**50))
def test_a_size_is_said_in_few_figures_that_are_near(number: int) -> None:
    value, unit = str(Size(number)).split()
    said = float(value) * {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}[unit]
    assert len(value.replace(".", "")) <= 5
    assert said == pytest.approx(number, rel=0.06)


def test_a_negative_size_is_a_bug() -> None:
    with pytest.raises(ValueError, match="negative"):
        Size(-1)
