"""The words of a survey: each with what leads to it, and what must not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fakes.health import a_health, a_leaking_health
from moltfleet.model.domain import DomainState
from moltfleet.model.policy import Policy
from moltfleet.model.samples import POOL, Sample
from moltfleet.model.size import Size
from moltfleet.model.verdict import Judgement, Look, Verdict, judge, judge_pool
from moltfleet.model.vitals import Balloon, Reason, Vitals

GIB = 1 << 30
MIB = 1 << 20
NOW = 1_795_168_800.0
SILENT = "it cannot be reached"
LIMITS = Policy().thresholds


def a_balloon(*, ago_s: float = 2.0, used: float = 8) -> Balloon:
    return Balloon(Size.of_gib(16), Size.of_gib(16 - used), NOW - ago_s)


def vitals(**changes: Any) -> Vitals:
    usual = Vitals("crab-1", DomainState.RUNNING, life="1", balloon=a_balloon(), resident=Size.of_gib(9))
    return replace(usual, **changes)


def samples(levels: list[float | None], every_s: float = 60.0) -> tuple[Sample, ...]:
    """Memory in use in GiB of 16, a minute apart; None where the guest told nothing."""
    return tuple(
        Sample("crab-1", "1", 1000.0 + every_s * number, None if level is None else int(level * GIB), 16 * GIB)
        for number, level in enumerate(levels)
    )


def look(**changes: Any) -> Look:
    usual = Look(DomainState.RUNNING, True, NOW, Size.of_gib(16), vitals(), samples([8.0] * 40))
    return replace(usual, **changes)


def word(**changes: Any) -> Verdict:
    return judge(look(**changes), LIMITS).verdict


def rising(per_minute: float, minutes: int = 40, start: float = 2.0) -> list[float | None]:
    return [start + per_minute * minute for minute in range(minutes)]


def test_memory_that_stands_still_is_ok() -> None:
    found = judge(look(), LIMITS)
    assert (found.verdict, found.seconds, found.used, found.total) == (Verdict.OK, None, 8 * GIB, 16 * GIB)
    assert found.evidence[0] == "memory: 8.0 of 16 GiB in use, does not rise; 40 samples of 39 min"


@pytest.mark.parametrize(
    ("start", "per_minute", "expected"),
    # Of 16 GiB, after 40 minutes: 10 GiB left at 0.1 are 100 minutes, 5 GiB at 0.03 nearly three hours.
    [
        (2.0, 0.1, Verdict.LEAKING),
        (10.0, 0.03, Verdict.GROWING),
        (1.0, 0.3, Verdict.CRITICAL),
        (10.0, 0.002, Verdict.OK),
    ],
)
def test_memory_that_rises_is_told_by_when_it_is_used_up(start: float, per_minute: float, expected: Verdict) -> None:
    found = judge(look(samples=samples(rising(per_minute, start=start))), LIMITS)
    assert found.verdict is expected
    if expected is not Verdict.OK:
        assert found.seconds is not None and found.rate is not None
        assert found.rate == pytest.approx(per_minute * GIB / 60, rel=0.1)
        assert "all of it in" in found.evidence[0] and "warning were possible" in found.evidence[0]


def test_a_shorter_horizon_makes_less_of_it() -> None:
    leak = samples(rising(0.1))
    assert judge(look(samples=leak), Policy(horizon_s=1800.0).thresholds).verdict is Verdict.GROWING


def test_too_few_samples_are_no_verdict_unless_the_guest_has_one() -> None:
    few = samples([8.0] * 3)
    assert judge(look(samples=few), LIMITS).reason == "too few samples (3)"
    assert word(samples=few) is Verdict.UNKNOWN
    assert word(samples=few, health=a_health()) is Verdict.OK
    assert word(samples=few, health=a_leaking_health()) is Verdict.CRITICAL


def test_the_most_urgent_of_guest_agents_and_statistics_counts() -> None:
    found = judge(look(health=a_leaking_health()), LIMITS)
    assert (found.verdict, found.reason) == (Verdict.CRITICAL, "agent claude: used up in 11 min")
    assert found.seconds == 640.0
    assert word(samples=samples(rising(0.1)), health=a_health()) is Verdict.LEAKING
    assert "kills: 2 in the guest since its boot" in found.evidence


def test_a_guests_own_forecast_is_judged_by_the_horizon_that_counts_here() -> None:
    ill = a_leaking_health()
    slow = replace(ill, trends=(replace(ill.trends[1], seconds=3000.0, used=GIB),))
    assert word(health=slow) is Verdict.LEAKING
    assert judge(look(health=slow), Policy(horizon_s=1800.0, critical_s=600.0).thresholds).verdict is Verdict.GROWING
    full = replace(ill, trends=(replace(ill.trends[1], seconds=30_000.0, used=4 * GIB, total=4 * GIB),))
    assert word(health=full) is Verdict.CRITICAL


def test_words_that_a_guest_made_up_count_for_nothing() -> None:
    ill = a_leaking_health()
    odd = replace(ill, trends=(replace(ill.trends[1], verdict="doomed"),))
    assert word(health=odd) is Verdict.OK
    assert word(samples=(), vitals=vitals(balloon=None), health=odd) is Verdict.UNKNOWN
    zero = replace(ill, trends=(replace(ill.trends[1], used=0, total=0, seconds=None),))
    assert word(health=zero) is Verdict.CRITICAL


class TestAGuestThatTellsNothing:
    """Silence is never taken for good news, nor by itself for bad."""

    stale = vitals(balloon=a_balloon(ago_s=120.0))

    def test_is_unknown_with_the_reason(self) -> None:
        found = judge(look(vitals=self.stale, samples=samples([None])), LIMITS)
        assert (found.verdict, found.reason) == (Verdict.UNKNOWN, "its balloon told nothing for 2 min")
        found = judge(look(vitals=self.stale, samples=samples([8.0] * 20 + [None]), silence=SILENT), LIMITS)
        assert (found.verdict, found.reason) == (Verdict.UNKNOWN, SILENT)

    def test_is_unknown_before_it_has_booted_and_when_libvirt_did_not_tell(self) -> None:
        assert judge(look(vitals=vitals(balloon=None), samples=()), LIMITS).reason == "its balloon tells nothing yet"
        assert judge(look(vitals=None, samples=()), LIMITS).reason == "libvirt did not tell in time"

    def test_what_is_in_use_is_told_where_too_few_samples_tell_more(self) -> None:
        few = samples([8.0] * 2)
        found = judge(look(samples=few), LIMITS)
        assert (found.verdict, found.reason) == (Verdict.UNKNOWN, "too few samples (2)")
        assert (found.used, found.total) == (few[-1].used, few[-1].total)

    def test_is_critical_when_it_leaked_as_long_as_it_told_anything(self) -> None:
        leaked: list[float | None] = [*rising(0.1), None, None]
        found = judge(look(vitals=self.stale, samples=samples(leaked), silence=SILENT), LIMITS)
        assert found.verdict is Verdict.CRITICAL
        assert found.reason.startswith("used up in") and "as it was 2 min ago" in found.reason
        # As long as it was not asked, nobody knows that it is beyond answering.
        assert word(vitals=self.stale, samples=samples(leaked)) is Verdict.UNKNOWN

    def test_is_critical_when_its_qemu_takes_all_that_it_has(self) -> None:
        full = replace(self.stale, resident=Size.of_gib(15))
        assert word(vitals=full, samples=samples([None]), silence=SILENT) is Verdict.CRITICAL
        # A guest without a balloon driver, or before its boot, says nothing by that.
        never = replace(full, balloon=None)
        assert word(vitals=never, samples=samples([None]), silence=SILENT) is Verdict.UNKNOWN
        # One that answered, and has no health check, is not beyond answering.
        found = judge(look(vitals=full, samples=samples([None]), silence="no health check", answered=True), LIMITS)
        assert (found.verdict, found.reason) == (Verdict.UNKNOWN, "no health check")
        # One that merely caches tells its memory, and answers.
        assert word(vitals=vitals(resident=Size.of_gib(16))) is Verdict.OK


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({"work": "alice molts it"}, Verdict.BUSY, "alice molts it"),
        ({"state": DomainState.SHUTTING_DOWN}, Verdict.BUSY, "it is shutting down"),
        (
            {"state": DomainState.PAUSED, "vitals": vitals(reason=Reason.IO_ERROR), "full_pool": "pool 'moltfleet'"},
            Verdict.PAUSED,
            "paused by an I/O error: pool 'moltfleet' is full",
        ),
        ({"state": DomainState.PAUSED, "vitals": vitals(reason=Reason.BY_HAND)}, Verdict.PAUSED, "paused by hand"),
        (
            {"state": DomainState.SHUT_OFF, "vitals": vitals(reason=Reason.CRASHED)},
            Verdict.DOWN,
            "off, and should run: it crashed",
        ),
        ({"state": DomainState.SHUT_OFF, "should_run": False}, Verdict.OK, "off, as it should be"),
        ({"state": DomainState.SUSPENDED}, Verdict.UNKNOWN, "libvirt calls it pm-suspended"),
    ],
)
def test_what_is_no_matter_of_memory(changes: dict[str, Any], verdict: Verdict, reason: str) -> None:
    assert judge(look(**changes), LIMITS) == Judgement(verdict, reason)


def test_a_pool_that_fills_is_forecast_like_memory() -> None:
    limits = Policy().pool_thresholds

    def told(free: list[float]) -> list[Sample]:
        levels = [int((100 - one) * GIB) for one in free]
        return [Sample(POOL, "", 60.0 * number, used, 100 * GIB) for number, used in enumerate(levels)]

    assert judge_pool([], limits).verdict is Verdict.UNKNOWN
    assert judge_pool(told([40.0] * 30), limits).verdict is Verdict.OK
    assert judge_pool(told([4.0] * 30), limits).verdict is Verdict.CRITICAL
    falling = judge_pool(told([60.0 - number for number in range(40)]), limits)
    assert falling.verdict is Verdict.LEAKING
    assert falling.seconds == pytest.approx(21 * 60, rel=0.1)
    assert falling.evidence[0].startswith("room: 79 of 100 GiB in use, all of it in 2")
