"""Mixes of clones: what is read, and that what is not is pointed at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.model.capacity import Verdict
from moltfleet.model.errors import InvalidInput
from moltfleet.model.mix import Mix, MixPart, parse_mix
from moltfleet.model.size import Size

GIB = Size.of_gib


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("2x16G+4x8G", ((2, GIB(16)), (4, GIB(8)))),
        (" 2 x 16 GiB + 4X8g ", ((2, GIB(16)), (4, GIB(8)))),
        ("16G", ((1, GIB(16)),)),
        ("3×1.5G", ((3, GIB(1.5)),)),
        ("2x12288", ((2, GIB(12)),)),
        ("99999x64M", ((99999, Size.of_mib(64)),)),
    ],
)
def test_a_mix_is_read(text: str, parts: tuple[tuple[int, Size], ...]) -> None:
    assert parse_mix(text) == Mix(tuple(MixPart(*part) for part in parts))


@pytest.mark.parametrize(
    ("text", "at", "what"),
    [
        ("2x16G+4y8G", 8, "'y' where an x, a unit, a + or the end was expected"),
        ("2x16G,4x8G", 6, "',' where a + or the end was expected"),
        ("2x16G+", 7, "the end where a count or a size, such as 2x16G, was expected"),
        ("", 1, "the end where a count or a size, such as 2x16G, was expected"),
        ("2x", 3, "the end where a size such as 16G was expected"),
        ("x16G", 1, "'x' where a count or a size, such as 2x16G, was expected"),
        ("0x16G", 1, "no clone at all"),
        ("1x8G+123456x8G", 6, "more clones than any host carries"),
        ("2x0G", 3, "not a usable amount of memory"),
        ("2x16", 3, "16 MiB is too little for a guest (a bare number is MiB)"),
        ("2x5000T", 3, "not a usable amount of memory"),
        ("-2x16G", 1, "'-' where a count or a size, such as 2x16G, was expected"),
        ("2x-16G", 3, "'-' where a size such as 16G was expected"),
        ("2.5x16G", 4, "'x' where a unit, a + or the end was expected"),
        ("2x16GG", 6, "'G' where a + or the end was expected"),
        ("2x16P", 5, "'P' where a unit, a + or the end was expected"),
        ("2x١٢G", 3, "'١' where a size such as 16G was expected"),
        ("2x16G\x1b[31m", 6, "'?' where a + or the end was expected"),
    ],
)
def test_what_cannot_be_read_is_pointed_at(text: str, at: int, what: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_mix(text)
    error = caught.value
    assert error.brief.endswith(f"cannot be read: {what}, at character {at}")
    assert error.excerpt is not None and error.hint == "Example: 2x16G+4x8G."
    shown, caret = error.excerpt.split("\n")
    assert caret == " " * (at - 1) + "^"
    assert len(shown) == len(text) and "\x1b" not in error.brief + shown


@given(st.text(max_size=30) | st.text(alphabet="0123456789xX+ GMKTib.", max_size=20))
def test_any_text_is_a_mix_or_is_pointed_into(text: str) -> None:
    try:
        mix = parse_mix(text)
    except InvalidInput as error:
        assert "\n" not in error.brief and error.excerpt is not None
        assert 0 <= error.excerpt.split("\n")[1].index("^") <= len(text)
    else:
        assert mix.clones >= 1 and mix.memory.bytes >= mix.clones * 2**26


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 256)), min_size=1, max_size=5))
def test_a_mix_that_is_written_is_read_back(parts: list[tuple[int, int]]) -> None:
    mix = parse_mix("+".join(f"{count}x{gib}G" for count, gib in parts))
    assert mix.memory == GIB(sum(count * gib for count, gib in parts))
    assert (mix.clones, mix.largest) == (sum(count for count, _ in parts), GIB(max(gib for _, gib in parts)))


@pytest.mark.parametrize(
    ("text", "available", "verdict"),
    [
        ("2x16G+4x8G", 80, Verdict.SAFE),
        ("2x16G+4x8G", 79, Verdict.POSSIBLE),
        ("2x16G+4x8G", 64, Verdict.POSSIBLE),
        ("2x16G+4x8G", 63, Verdict.NO),
        ("3x12G", 54, Verdict.SAFE),
        ("4x12G", 54, Verdict.POSSIBLE),
        ("5x12G", 54, Verdict.NO),
    ],
)
def test_a_mix_is_safe_when_its_largest_clone_fits_once_more(text: str, available: int, verdict: Verdict) -> None:
    assert parse_mix(text).verdict(GIB(available)) is verdict
