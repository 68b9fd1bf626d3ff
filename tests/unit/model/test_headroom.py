"""The headroom matrix: sizes around the default, and the same numbers as the calculator and admission."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.report import DEFAULT, GIB, MIB, a_report
from moltfleet.model import headroom
from moltfleet.model.admission import decide, how_many
from moltfleet.model.capacity import calculate
from moltfleet.model.size import Size

SITUATION = a_report().situation


@pytest.mark.parametrize(
    ("default", "sizes"),
    [
        (GIB(16), [GIB(n) for n in (4, 8, 12, 16, 24, 32)]),
        (GIB(12), [GIB(n) for n in (3, 6, 9, 12, 18, 24)]),
        (MIB(192), [MIB(n) for n in (96, 144, 192, 288, 384)]),
        (MIB(64), [MIB(n) for n in (64, 96, 128)]),
    ],
)
def test_sizes_lie_around_the_default_and_no_guest_is_too_small_to_boot(default: Size, sizes: list[Size]) -> None:
    rows = headroom.rows(SITUATION, replace(DEFAULT, memory=default))
    assert [row.memory for row in rows] == sizes
    assert [row.memory for row in rows if row.is_default] == [default]


def test_hosts_are_this_one_and_the_usual_ones_with_the_same_reserve() -> None:
    row = headroom.rows(SITUATION, DEFAULT)[3]
    hosts = (SITUATION.host.total, GIB(32), GIB(64), GIB(128))
    assert row.hosts == tuple(calculate(host, reserve=GIB(10), clone=GIB(16)) for host in hosts)


@given(st.integers(64, 40_000))
def test_more_now_is_what_admission_would_grant_one_after_the_other(mib: int) -> None:
    for row in headroom.rows(SITUATION, replace(DEFAULT, memory=MIB(mib))):
        candidate = replace(DEFAULT, memory=row.memory)
        assert row.more == how_many(SITUATION, candidate)
        assert bool(row.more) is decide(SITUATION, candidate).admit


@given(st.integers(64, 40_000))
def test_a_larger_clone_never_fits_more_often(mib: int) -> None:
    rows = headroom.rows(SITUATION, replace(DEFAULT, memory=MIB(mib)))
    for smaller, larger in itertools.pairwise(rows):
        assert smaller.more >= larger.more
        assert all(a.max_clones >= b.max_clones for a, b in zip(smaller.hosts, larger.hosts, strict=True))
