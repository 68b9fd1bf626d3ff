"""The short way to "ok" never says it where the forecast says something else."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from moltfleet.model.forecast import FROZEN, Verdict, forecast
from moltfleet.model.policy import Policy
from moltfleet.model.steady import Level, is_steady

GIB = 1 << 30
LIMITS = Policy().thresholds


@st.composite
def courses(draw: st.DrawFn) -> list[Level]:
    """Levels that stand, wobble, climb, fall; with gaps, restarts of the clock and other totals now and then."""
    count = draw(st.integers(1, 60))
    step = draw(st.sampled_from([10.0, 60.0, 300.0]))
    wobble = draw(st.sampled_from([0.0, 0.002, 0.014, 0.016, 0.05]))
    slope = draw(st.sampled_from([0.0, 0.0, 0.0002, -0.001, 0.01]))
    level, time_s, total = draw(st.floats(0.0, 1.0)), 0.0, 16 * GIB
    found = []
    for number in range(count):
        time_s += draw(st.sampled_from([step] * 20 + [step * 100, -step, 0.0]))
        if draw(st.integers(0, 40)) == 0:
            level = draw(st.floats(0.0, 1.0))
        share = min(1.0, max(0.0, level + slope * number + wobble * draw(st.floats(-0.5, 0.5))))
        now = total if draw(st.integers(0, 80)) else 8 * GIB
        found.append(Level(time_s, int(now * share), now))
    return found


@settings(max_examples=600, deadline=None)
@given(courses())
def test_what_is_called_steady_is_ok_to_the_forecast_as_well(course: list[Level]) -> None:
    for end in range(1, len(course) + 1):
        for limits in (LIMITS, FROZEN):
            if is_steady(course[:end], limits):
                assert forecast([level.sample() for level in course[:end]], thresholds=limits).verdict is Verdict.OK


def test_a_guest_at_rest_is_steady() -> None:
    rest = [Level(60.0 * number, 10 * GIB + (number % 7) * 1000, 16 * GIB) for number in range(180)]
    assert is_steady(rest, LIMITS)


def test_what_rises_falls_far_stands_high_or_is_short_is_left_to_the_forecast() -> None:
    def told(levels: list[float]) -> list[Level]:
        return [Level(60.0 * n, int(16 * GIB * level), 16 * GIB) for n, level in enumerate(levels)]

    assert is_steady(told([0.4] * 6), LIMITS)
    assert not is_steady(told([0.4] * 5), LIMITS)
    assert not is_steady(told([0.4] * 60 + [0.42]), LIMITS)
    assert not is_steady(told([0.6] + [0.4] * 60), LIMITS)
    assert not is_steady(told([0.86] * 60), LIMITS)
    assert not is_steady([], LIMITS)
