"""The forecast, on curves whose end is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltfleet.model import forecast as subject
from moltfleet.model.forecast import MIB, NOTHING, Forecast, Sample, Verdict, assess, current_life, forecast, settled

TOTAL = 13000
MINUTE = 60.0


def sample(time_s: float, used: float, total: int = TOTAL) -> Sample:
    return Sample(time_s, int((total - used) * MIB), total * MIB)


def curve(level: Callable[[float], float], *, until: float, step: float = 10.0, begin: float = 0.0) -> list[Sample]:
    count = int((until - begin) / step) + 1
    return [sample(begin + number * step, level(begin + number * step)) for number in range(count)]


def leak(rate: float, *, onset: float = 0.0, base: float = 800) -> Callable[[float], float]:
    """MiB in use, with a leak of ``rate`` MiB a minute."""
    return lambda now: base + max(0.0, now - onset) * rate / 60


def sawtooth(now: float, height: float = 400, period: float = 200) -> float:
    return height * (now % period) / period


def test_no_samples_are_no_reason_to_guess() -> None:
    assert forecast([]) == NOTHING
    assert NOTHING.verdict is Verdict.UNKNOWN


def test_a_few_samples_are_too_few() -> None:
    found = forecast(curve(leak(0), until=80))
    assert (found.verdict, found.reason, found.samples) == (Verdict.UNKNOWN, "too few samples (9)", 9)


def test_memory_that_is_gone_needs_no_second_sample() -> None:
    found = forecast([sample(0, 0.96 * TOTAL)])
    assert (found.verdict, found.reason) == (Verdict.CRITICAL, "96 % are in use")
    assert forecast([sample(0, 0.86 * TOTAL)]).verdict is Verdict.LEAKING


def test_an_idle_guest_is_ok() -> None:
    found = forecast(curve(lambda now: 800 + sawtooth(now), until=3600))
    assert (found.verdict, found.reason, found.trend) == (Verdict.OK, "does not rise", None)


@pytest.mark.parametrize(("rate", "minutes"), [(60, 90), (120, 30), (300, 12), (630, 6)])
def test_a_leak_is_told_with_its_rate_and_its_end(rate: float, minutes: float) -> None:
    level = leak(rate)
    found = forecast(curve(level, until=minutes * MINUTE))
    assert found.verdict.is_alarm
    assert found.trend is not None
    left = (TOTAL - level(minutes * MINUTE)) / rate * 60
    assert found.trend.rate == pytest.approx(rate * MIB / 60, rel=0.02)
    assert found.trend.seconds == pytest.approx(left, rel=0.05)


def test_the_bound_is_what_was_left_when_the_rise_began() -> None:
    found = forecast(curve(leak(120), until=30 * MINUTE)).trend
    assert found is not None
    assert found.bound_s == found.seconds + found.seen_s
    # From 800 MiB at 120 MiB a minute nobody has more than this.
    assert found.bound_s <= (TOTAL - 800) / 120 * 60 * 1.05


def test_garbage_on_a_leak_does_not_change_its_slope() -> None:
    found = forecast(curve(lambda now: leak(120)(now) + sawtooth(now), until=30 * MINUTE)).trend
    assert found is not None
    assert found.rate == pytest.approx(120 * MIB / 60, rel=0.2)


def test_a_leak_within_the_horizon_is_leaking_and_one_within_minutes_critical() -> None:
    assert forecast(curve(leak(100), until=40 * MINUTE)).verdict is Verdict.LEAKING
    assert forecast(curve(leak(600), until=8 * MINUTE)).verdict is Verdict.CRITICAL


def test_a_slow_leak_is_growing() -> None:
    found = forecast(curve(leak(30), until=80 * MINUTE))
    assert (found.verdict, found.reason) == (Verdict.GROWING, "rises slowly")
    assert not found.verdict.is_alarm


def test_a_burst_is_seen_within_seconds_and_is_fast() -> None:
    calm = curve(leak(0), until=600)
    found = forecast(calm + curve(leak(95 * 60, onset=600), begin=605, until=650, step=5))
    assert found.verdict is Verdict.CRITICAL
    assert found.is_fast
    assert found.trend is not None
    assert found.trend.seconds < 120


def test_a_build_that_has_reached_its_plateau_is_no_leak() -> None:
    def build(now: float) -> float:
        return 800 + 3000 * min(1.0, max(0.0, now - 600) / 120)

    for minutes in (13, 15, 20, 30):
        assert not forecast(curve(build, until=minutes * MINUTE)).verdict.is_alarm


def test_a_cache_that_fills_up_is_no_leak() -> None:
    found = curve(lambda now: 800 + 3000 * (1 - math.exp(-now / 1200)), until=3 * 3600)
    assert not any(assess(found[:end]).verdict.is_alarm for end in range(10, len(found), 30))


def test_after_a_restart_the_old_rise_is_forgotten() -> None:
    before = curve(leak(300), until=30 * MINUTE)
    after = curve(lambda _: 850, begin=30 * MINUTE + 10, until=34 * MINUTE)
    found = forecast(before + after)
    assert (found.verdict, found.samples) == (Verdict.OK, len(after))


def test_the_end_of_a_build_above_a_leak_is_no_restart() -> None:
    def level(now: float) -> float:
        return leak(40)(now) + (3000 if 40 * MINUTE < now < 50 * MINUTE else 0)

    found = curve(level, until=90 * MINUTE)
    assert len(current_life(found)) == len(found)


@pytest.mark.parametrize(
    "what",
    ["clock went back", "gap", "another total", "impossible"],
)
def test_what_came_before_a_break_does_not_count(what: str) -> None:
    breaks = {
        "clock went back": curve(leak(0), begin=5000, until=9000),
        "gap": curve(leak(0), begin=-9000, until=-1000),
        "another total": [Sample(-10.0, 1 << 30, 2 << 30)],
        "impossible": [Sample(-10.0, 2 << 30, 1 << 30)],
    }
    after = curve(leak(100), until=40 * MINUTE)
    assert current_life([*breaks[what], *after]) == after


def test_samples_need_not_come_evenly() -> None:
    whole = curve(leak(120), until=30 * MINUTE)
    found = forecast([one for number, one in enumerate(whole) if number % 7 not in (2, 3, 5)])
    assert found.verdict.is_alarm
    assert found.trend is not None
    assert found.trend.rate == pytest.approx(120 * MIB / 60, rel=0.05)


def said(verdict: Verdict) -> Forecast:
    return Forecast(verdict, verdict.value, 1, 2, 100, 100.0)


@pytest.mark.parametrize(
    ("words", "result"),
    [
        ("ok ok critical", "ok"),
        ("ok critical critical", "critical"),
        ("critical ok critical", "critical"),
        ("critical critical ok", "critical"),
        ("critical ok ok", "ok"),
        ("ok leaking critical", "leaking"),
        ("leaking", "leaking"),
        ("leaking leaking unknown", "unknown"),
        ("unknown unknown critical", "critical"),
    ],
)
def test_one_odd_assessment_changes_nothing(words: str, result: str) -> None:
    assert settled([said(Verdict(word)) for word in words.split()]).verdict.value == result


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(-1e6, 1e6, allow_nan=False), st.integers(-(1 << 40), 1 << 40), st.integers(-5, 1 << 40)
        ).map(lambda drawn: Sample(*drawn)),
        max_size=40,
    )
)
def test_nothing_that_is_fed_to_it_makes_it_fail(samples: list[Sample]) -> None:
    assert forecast(samples).verdict in Verdict


def test_the_guest_has_this_very_file() -> None:
    root = Path(__file__).parents[3]
    assert (root / "bootstrap/guest/moltguest/forecast.py").read_text() == Path(subject.__file__).read_text()
