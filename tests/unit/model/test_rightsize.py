"""Right-size advice: by evidence only, never below what an agent at work takes, and only when it gains something."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.report import DEFAULT, GIB, MIB, a_clone, a_report, use_of
from moltfleet.model import rightsize
from moltfleet.model.admission import how_many
from moltfleet.model.domain import DomainState
from moltfleet.model.load import Situation
from moltfleet.model.report import Advice, CloneUse
from moltfleet.model.size import Size


def advise(*clones: CloneUse, host_gib: float = 64) -> tuple[Advice, ...]:
    report = a_report(clones=clones, others=())
    host = GIB(host_gib)
    load = replace(report.situation.host, total=host, available=host)
    situation = replace(report.situation, host=load, reservations=())
    return rightsize.advise(situation, clones, DEFAULT)


@pytest.mark.parametrize(
    ("highest", "suggested"),
    [(GIB(0), GIB(4)), (GIB(2.6), GIB(4)), (GIB(3.1), GIB(6)), (GIB(4), GIB(6)), (GIB(7), GIB(12)), (GIB(20), GIB(32))],
)
def test_a_suggestion_leaves_half_as_much_again_in_a_size_as_memory_is_sold(highest: Size, suggested: Size) -> None:
    assert rightsize.suggest(highest) == suggested


@given(st.integers(0, 2**40))
def test_a_suggestion_is_never_less_than_was_seen(count: int) -> None:
    assert rightsize.suggest(Size(count)) >= max(rightsize.LEAST, Size(count) * 1.4)


def test_clones_of_one_golden_and_size_are_advised_together_by_the_largest_of_them() -> None:
    clones = (a_clone("a", taken=GIB(3.1)), a_clone("b", taken=GIB(1.2)))
    (advice,) = advise(*clones)
    assert (advice.golden, advice.clones, advice.highest, advice.suggested) == ("base", ("a", "b"), GIB(3.1), GIB(6))
    assert (advice.memory, advice.basis) == (GIB(16), "now")


def test_the_peak_counts_where_it_is_known_of_all_of_them() -> None:
    peaks = (replace(a_clone("a", taken=GIB(1)), peak=GIB(3.1)), replace(a_clone("b", taken=GIB(1.2)), peak=GIB(2)))
    (advice,) = advise(*peaks)
    assert (advice.highest, advice.suggested, advice.basis) == (GIB(3.1), GIB(6), "since start")
    (advice,) = advise(peaks[0], a_clone("b", taken=GIB(1.2)))
    assert (advice.highest, advice.basis) == (GIB(3.1), "now")


def test_a_clone_that_was_large_once_is_not_made_smaller() -> None:
    assert advise(replace(a_clone("a", taken=GIB(1)), peak=GIB(11))) == ()


def test_the_gain_is_what_admission_would_grant_before_and_after() -> None:
    clones = (a_clone("a", taken=GIB(3)), a_clone("b", taken=GIB(3)))
    (advice,) = advise(*clones)
    before = Situation(
        host=replace(a_report().situation.host, total=GIB(64), available=GIB(64)), reserve=GIB(10), reserve_origin="",
        domains=tuple(use_of(clone.view, clone.resident) for clone in clones), pool_free=GIB(120),
    )  # fmt: skip
    after = replace(before, domains=tuple(replace(domain, memory=GIB(6)) for domain in before.domains))
    assert advice.more_now == how_many(before, DEFAULT) == 1
    assert advice.more_then == how_many(after, replace(DEFAULT, memory=GIB(6))) == 6


@pytest.mark.parametrize(
    "clone",
    [
        a_clone("silent"),
        a_clone("off", state=DomainState.SHUT_OFF),
        a_clone("paused", taken=GIB(1), state=DomainState.PAUSED),
        a_clone("busy", taken=GIB(11)),
        a_clone("small", taken=MIB(300), memory=GIB(4)),
    ],
    ids=lambda clone: str(clone.view.name),
)
def test_nothing_is_advised_for_want_of_evidence_or_of_a_gain(clone: CloneUse) -> None:
    assert advise(clone) == ()


def test_nothing_is_advised_when_no_more_would_fit_either_way() -> None:
    assert advise(a_clone("a", taken=GIB(3)), host_gib=12) == ()
