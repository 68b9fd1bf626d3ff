"""Samples: which belong together, and what a counter rose by."""

from __future__ import annotations

import pytest

from moltfleet.model.samples import Sample, course, ending_with, rise


def at(time_s: float, life: str = "1", **more: float) -> Sample:
    return Sample("crab-1", life, time_s, **more)  # type: ignore[arg-type]


def test_a_life_ends_where_another_begins_and_does_not_go_on_later() -> None:
    now = at(50, "1")
    assert ending_with(now, [at(10), at(20)]) == (at(10), at(20), now)
    assert ending_with(now, [at(10), at(20, "2"), at(30), at(40)]) == (at(30), at(40), now)
    assert ending_with(now, [at(40, "2")]) == (now,)
    assert ending_with(now, []) == (now,)


def test_this_moment_wins_over_what_is_kept_of_it_or_of_later() -> None:
    now = at(50, used=2)
    assert ending_with(now, [at(40), at(50, used=1), at(60)]) == (at(40), now)


def test_moments_that_tell_nothing_are_not_in_the_course() -> None:
    told = course([at(10, used=1, total=4), at(20), at(30, used=2, total=4)])
    assert [(level.time_s, level.used) for level in told] == [(10, 1), (30, 2)]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        # Of what is old enough the latest counts; else the oldest, if it is half as old.
        ([0, 100, 200, 300, 400, 500], (300, 300)),
        ([300, 400, 500], (200, 200)),
        ([400, 500], None),
        ([0, 500], (500, 500)),
        ([0, 700], None),
        ([500], None),
        ([], None),
    ],
)
def test_a_rise_is_told_over_about_the_time_that_is_asked_for(
    times: list[float], expected: tuple[float, float] | None
) -> None:
    samples = [at(time_s, cpu_s=float(time_s)) for time_s in times]
    assert rise(samples, "cpu_s", over_s=300) == expected


def test_a_longer_time_counts_where_that_is_allowed() -> None:
    samples = [at(0, disk=0), at(700, disk=7)]
    assert rise(samples, "disk", over_s=300, at_most_s=1000) == (7.0, 700)


def test_a_counter_that_fell_or_was_not_told_rose_by_nothing_that_is_known() -> None:
    assert rise([at(0, cpu_s=9.0), at(300, cpu_s=1.0)], "cpu_s", over_s=300) is None
    assert rise([at(0), at(300, cpu_s=1.0)], "cpu_s", over_s=300) is None
    assert rise([at(0, cpu_s=1.0), at(300, cpu_s=4.0), at(360)], "cpu_s", over_s=300) is None, "that was then"
    # What was not told in between does not matter.
    assert rise([at(0, cpu_s=1.0), at(150), at(300, cpu_s=4.0)], "cpu_s", over_s=300) == (3.0, 300)
