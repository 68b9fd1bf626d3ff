"""Names: what may be a name, how patterns expand, and foreign text made harmless."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.model.errors import InvalidInput, NotFound
from moltfleet.model.names import check_name, match_names, next_name, not_found, printable, printable_lines

ALLOWED = string.ascii_lowercase + string.digits + "-"


@given(st.text(max_size=60))
def test_an_accepted_name_is_a_host_name(name: str) -> None:
    try:
        check_name(name, what="clone")
    except InvalidInput as error:
        assert error.brief.isprintable()
    else:
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?", name, re.ASCII)


@given(st.text(ALLOWED, min_size=1, max_size=48))
def test_every_host_name_is_accepted_but_those_of_our_locks(name: str) -> None:
    if name.strip("-") == name and name not in ("fleet", "pool", "network"):
        assert check_name(name, what="clone") == name


@given(st.sets(st.text(ALLOWED, min_size=1, max_size=5)), st.text(ALLOWED, min_size=1, max_size=3))
def test_the_next_name_is_free_and_the_smallest(taken: set[str], stem: str) -> None:
    name = next_name(stem, taken)
    number = int(name.removeprefix(f"{stem}-"))
    assert name not in taken
    assert all(f"{stem}-{lower}" in taken for lower in range(1, number))


def test_patterns_expand_in_order_and_each_name_once() -> None:
    known = ["crab-2", "crab-1", "eel"]
    assert match_names(["crab-*", "crab-1", "eel"], known, what="clone") == ("crab-1", "crab-2", "eel")
    assert match_names(["eel", "*"], known, what="clone") == ("eel", "crab-1", "crab-2")


@pytest.mark.parametrize(("asked", "verb"), [("nope", "is named"), ("nope*", "matches")])
def test_what_matches_nothing_is_said_with_what_there_is(asked: str, verb: str) -> None:
    with pytest.raises(NotFound, match=verb) as caught:
        match_names([asked], ["crab-1"], what="clone")
    assert caught.value.hint == "There are: crab-1."


def test_a_long_list_of_names_is_cut() -> None:
    error = not_found("clone", "x", [f"crab-{n}" for n in range(9)])
    assert error.hint and error.hint.endswith("crab-5, ….")


@given(st.text(max_size=500))
def test_foreign_text_becomes_printable_and_bounded(text: str) -> None:
    assert printable(text).isprintable() and len(printable(text)) <= 200
    for line in printable_lines(text).split("\n"):
        assert line.replace("\t", "").isprintable()
