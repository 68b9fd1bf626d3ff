"""The replay behind `scripts/bench forecast`: its traces, its scores, and what must fire and must not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from replay import command, rules, scoring, traces
from replay.scoring import Score, score, summarize
from replay.traces import DAY_S, HOUR_S, LIMIT_MIB, NEVER, TELLERS, TEST, TRAINING, Trace, make

# From level ground it leaks for an hour, until the end.
LEAK = Trace("leak", 1, ((0.0, 500.0),), ((3600.0, NEVER),), 7200.0, 7200.0)
CALM = Trace("calm", 1, ((0.0, 500.0),), (), 10 * HOUR_S, None)


def alarms(*raised: tuple[float, float], until: float = 7200.0) -> Iterable[tuple[float, bool]]:
    """A rule that is asked every 30 s and worries within these times."""
    return ((float(now), any(begin <= now <= end for begin, end in raised)) for now in range(0, int(until), 30))


@pytest.mark.parametrize("family", ["linear:450", "burst:95", "steps:250", "builds:240", "jobs", "lossy:120"])
def test_a_trace_is_the_same_every_time_and_another_one_for_another_seed(family: str) -> None:
    assert make(family, 7) == make(family, 7)
    assert make(family, 7).rows != make(family, 8).rows


@pytest.mark.parametrize("family", [*TRAINING, *TEST])
def test_every_family_has_a_teller_and_a_true_story(family: str) -> None:
    trace = make(family, 3)
    kind = family.partition(":")[0]
    assert kind in TELLERS
    times = [now for now, _ in trace.rows]
    assert times == sorted(set(times))
    assert all(0 < used < LIMIT_MIB for _, used in trace.rows)
    leaks_to_the_end = bool(trace.leaks) and trace.leaks[-1][1] == NEVER
    assert (trace.exhausted_s is not None) == leaks_to_the_end
    assert trace.end_s <= DAY_S


def test_no_family_is_in_training_and_in_the_test_but_those_without_a_figure() -> None:
    assert set(TRAINING) & set(TEST) == {"idle"}


def test_a_leak_takes_as_long_as_its_rate_says() -> None:
    trace = make("linear:300", 1)
    # The collector's pile and the noise reach the limit a little before the leak itself does.
    assert trace.longest_lead_s == pytest.approx((LIMIT_MIB - 800) / 300 * 60, rel=0.08)


@pytest.mark.parametrize(
    ("raised", "lead", "false"),
    [
        ((), None, 0),
        (((5400, 7200),), 1800.0, 0),
        # What was on before the leak began has not foreseen it: it counts from the onset at most.
        (((3000, 7200),), 3600.0, 0),
        (((600, 900), (5400, 7200)), 1800.0, 1),
        # Two alarms with less than ten minutes between them are one.
        (((5400, 5700), (6000, 7200)), 1800.0, 0),
        (((600, 900),), None, 1),
    ],
)
def test_leads_and_false_alarms(raised: tuple[tuple[float, float], ...], lead: float | None, false: int) -> None:
    found = score(LEAK, iter(alarms(*raised)))
    assert (found.lead_s, found.false_alarms) == (lead, false)


def test_every_alarm_without_a_leak_is_false() -> None:
    found = score(CALM, iter(alarms((600, 900), (5400, 5700), until=36000)))
    assert (found.ends, found.lead_s, found.false_alarms) == (False, None, 2)
    assert summarize([found]).false_per_100_hours == 20.0


def test_an_alarm_that_outlives_a_leak_that_was_ended_is_false() -> None:
    ended = replace(CALM, leaks=((3600.0, 5400.0),))
    assert score(ended, iter(alarms((4500, 5600)))).false_alarms == 0
    assert score(ended, iter(alarms((4500, 6000)))).false_alarms == 1


def test_an_alarm_many_hours_early_is_no_forecast() -> None:
    long = replace(LEAK, end_s=10 * HOUR_S, exhausted_s=10 * HOUR_S)
    found = score(long, iter(alarms((4500, 36000), until=36000)))
    assert (found.lead_s, found.false_alarms) == (None, 1)


def test_a_miss_counts_as_no_lead_at_all() -> None:
    one = Score("x", 1.0, True, 3600.0, 1800.0, 0)
    summary = summarize([one, replace(one, lead_s=None), replace(one, lead_s=600.0), replace(one, ends=False)])
    assert (summary.traces, summary.misses, summary.lead, summary.lead_p10) == (3, 1, 10.0, 0.0)


@pytest.mark.parametrize("family", ["linear:630", "burst:95", "burst:220"])
def test_the_forecast_fires_before_the_end(family: str) -> None:
    trace = make(family, 2)
    found = score(trace, rules.ours()(trace))
    assert found.lead_s is not None
    assert found.lead_s > 0.5 * trace.longest_lead_s
    assert found.false_alarms == 0


@pytest.mark.parametrize("family", ["idle", "cache:4000", "collector:1"])
def test_the_forecast_does_not_fire_when_nothing_leaks(family: str) -> None:
    trace = make(family, 2)
    assert score(trace, rules.ours(least_s=60.0)(trace)).false_alarms == 0


def test_the_two_point_rule_is_the_seeds_own() -> None:
    rising = Trace("x", 1, tuple((30.0 * n, 5000.0 + 100 * n) for n in range(60)), (), 1800.0, None)
    # 2001 MB in fewer than 60 rows count as if they were half an hour: (12000 - level) * 30 / growth < 120.
    first = next(now for now, is_alarm in rules.two_point(rising) if is_alarm)
    assert first == 21 * 30.0
    slow = Trace("x", 1, tuple((30.0 * n, 500.0 + 33 * n) for n in range(60)), (), 1800.0, None)
    assert not any(is_alarm for _, is_alarm in rules.two_point(slow))


def test_quiet_and_grace_are_as_the_page_says() -> None:
    assert (scoring.QUIET_S, scoring.GRACE_S, scoring.PREMATURE_S) == (600.0, 300.0, 4 * HOUR_S)
    assert traces.LIMIT_MIB == 13000


def test_the_tables_tell_each_rule_and_each_family() -> None:
    leak, calm = Score("linear:1", 30.0, True, 3600.0, 1800.0, 0), Score("idle", 10.0, False, 0.0, None, 1)
    missed = replace(leak, lead_s=None, false_alarms=3)
    scores = {name: [leak if name == command.OURS else missed, calm] for name in command.RULES}

    assert list(command.overall(scores))[2:4] == [
        "| forecast | 30.0 (30.0) | 60.0 (60.0) | 0 of 1 | 2.5 | 10.0 |",
        "| two points | 0.0 (0.0) | 60.0 (60.0) | 1 of 1 | 10.0 | 10.0 |",
    ]
    assert list(command.by_family(scores))[2:] == [
        "| linear:1 | 60.0 | 30.0 (30.0) | 0.0 (0.0) | 0 | 1 | 0.0 | 10.0 |",
        "| idle | - | - | - | - | - | 10.0 | 10.0 |",
    ]


def test_nothing_of_the_test_is_in_the_training() -> None:
    assert set(command.TEST_SEEDS).isdisjoint(command.TRAINING_SEEDS)
    assert command.CANDIDATES["frozen"] is rules.FROZEN
