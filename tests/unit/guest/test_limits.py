"""moltguest.limits: the order of all limits in guests of any size, and the documented figures where they fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltguest.limits import GIB, MIB, SMALLEST_CONTAINED, Levels, derive, levels, reserve_of, scope_levels
from moltguest.settings import Settings

# A guest of 1 GiB shows less than that; one of 64 GiB at most that.
totals = st.integers(min_value=900 * MIB, max_value=64 * GIB)
amounts = st.none() | st.integers(min_value=16, max_value=1 << 24)
wishes = st.builds(
    Settings,
    warn_mib=amounts,
    kill_mib=amounts,
    scope_mib=amounts,
    base_mib=st.integers(0, 1 << 24),
    shm_mib=amounts,
    tmp_mib=amounts,
)


def in_order(found: Levels, ceiling: int) -> bool:
    return 0 < found.warn < found.term < found.high < found.max <= ceiling


@settings(deadline=None)
@given(total=totals, wished=wishes)
def test_the_order_holds_in_every_guest_and_whatever_is_wished(total: int, wished: Settings) -> None:
    limits = derive(total, wished)

    assert limits.ceiling == total - limits.reserve
    assert all(in_order(found, limits.ceiling) for found in (limits.scope, limits.agents, limits.outside))
    assert 0 < limits.shm.size <= total / 2
    assert 0 < limits.tmp.size <= total / 2
    assert 0 < limits.shm.inodes * 8192 <= limits.shm.size


@settings(deadline=None)
@given(total=totals, base=st.integers(0, 64 * GIB))
def test_memory_runs_out_in_the_right_order(total: int, base: int) -> None:
    reserve = reserve_of(total, base)
    limits = derive(total, Settings(base_mib=base // MIB))

    assert 0.1 * total - 1 <= reserve <= 0.5 * total
    earlyoom = limits.earlyoom_term_percent * total / 100
    assert limits.earlyoom_kill_percent * total / 100 < earlyoom < limits.available_term
    if base + 0.08 * total <= 0.5 * total:
        # With every agent at its ceiling, more is left than what the watchdog and earlyoom act at.
        assert reserve - base >= limits.available_term - 2 * MIB > earlyoom - 2 * MIB


@settings(deadline=None)
@given(total=totals, more=st.integers(0, 8 * GIB))
def test_more_memory_never_lowers_a_limit(total: int, more: int) -> None:
    less, grown = derive(total), derive(total + more)

    assert less.ceiling <= grown.ceiling
    for name in ("warn", "term", "high", "max"):
        assert getattr(less.scope, name) <= getattr(grown.scope, name)
        assert getattr(less.outside, name) <= getattr(grown.outside, name)


@settings(deadline=None)
@given(total=totals, maximum=st.integers(64 * MIB, 1 << 45), wished=wishes)
def test_a_scope_that_somebody_wants_is_in_order_too(total: int, maximum: int, wished: Settings) -> None:
    limits = derive(total, wished)
    assert in_order(scope_levels(limits, maximum, wished), limits.ceiling)


@pytest.mark.parametrize("size_gib", [16, 24, 32, 64])
def test_the_documented_thresholds_stay_where_they_fit(size_gib: int) -> None:
    # Linux shows about 2.4 % less than what the machine has.
    limits = derive(int(size_gib * GIB * 0.976))
    assert (limits.outside.warn, limits.outside.term) == (8000 * MIB, 13000 * MIB)


@pytest.mark.parametrize("size_gib", [20, 24, 64])
def test_the_documented_scope_stays_where_it_fits(size_gib: int) -> None:
    assert derive(int(size_gib * GIB * 0.976)).scope.max == 12 * GIB


def test_a_guest_of_8_gib_gets_limits_that_it_can_reach() -> None:
    limits = derive(7995 * MIB)

    assert (limits.reserve // MIB, limits.ceiling // MIB) == (1536, 6459)
    assert [value // MIB for value in (limits.scope.high, limits.scope.max)] == [5215, 5490]
    assert [value // MIB for value in (limits.scope.warn, limits.scope.term)] == [3233, 4797]
    assert limits.contained and limits.notes == ()


def test_a_guest_below_2_gib_gets_the_watchdog_only_and_is_told() -> None:
    small, sold_as_two = derive(SMALLEST_CONTAINED - 1), derive(1970 * MIB)

    assert not small.contained
    assert small.notes == ("Guest has 1791 MiB: too small for limits by slice and scope, only the watchdog acts",)
    assert sold_as_two.contained and sold_as_two.notes == ()


def test_thresholds_of_ones_own_count_where_they_fit() -> None:
    limits = derive(16 * GIB, Settings(warn_mib=500, kill_mib=900))

    assert (limits.outside.warn, limits.outside.term) == (500 * MIB, 900 * MIB)
    assert (limits.scope.warn, limits.scope.term) == (500 * MIB, 900 * MIB)
    assert limits.agents == derive(16 * GIB).agents
    assert limits.notes == ()


def test_thresholds_that_do_not_fit_are_derived_and_named() -> None:
    limits = derive(4 * GIB, Settings(warn_mib=8000, kill_mib=13000, scope_mib=12288))

    assert limits.outside == derive(4 * GIB).outside
    assert limits.scope.max == limits.ceiling
    assert limits.notes == (
        "WATCHDOG_KILL_MB=13000 does not fit a guest of 4096 MiB: 2237 is used",
        "WATCHDOG_WARN_MB=8000 does not fit a guest of 4096 MiB: 1507 is used",
        "SCOPE_MAX_MB=12288 does not fit a guest of 4096 MiB: 2560 is used",
    )


def test_a_warning_at_or_above_the_end_comes_before_it_instead() -> None:
    limits = derive(64 * GIB, Settings(warn_mib=13000))

    assert limits.outside.warn < limits.outside.term == 13000 * MIB
    assert limits.notes[0].startswith("WATCHDOG_WARN_MB=13000 does not fit")


def test_a_scope_raised_above_the_default_has_its_own_thresholds() -> None:
    raised = levels(16 * GIB)
    assert (raised.term // MIB, raised.high // MIB) == (14318, 15564)


def test_a_desktop_that_idles_on_much_keeps_more() -> None:
    assert reserve_of(8 * GIB, base=1600 * MIB) // MIB == 2255


def test_a_guest_that_idles_on_more_than_it_can_spare_is_told() -> None:
    limits = derive(4 * GIB, Settings(base_mib=2000))

    assert limits.reserve == 2 * GIB
    assert limits.notes == ("Guest uses 2000 MiB without any agent: more than its memory leaves room for",)


def test_file_systems_in_memory_can_be_sized_by_hand() -> None:
    limits = derive(16 * GIB, Settings(shm_mib=6144, tmp_mib=1 << 20))
    assert (limits.shm.size, limits.tmp.size) == (6 * GIB, 8 * GIB)


@pytest.mark.parametrize("maximum", [0, 64 * MIB - 1])
def test_a_scope_that_holds_no_program_is_refused(maximum: int) -> None:
    with pytest.raises(ValueError, match="less than 64 MiB"):
        levels(maximum)


def test_what_is_no_guests_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="no guest's memory"):
        derive(0)


def test_the_check_of_the_order_would_notice_two_that_are_equal() -> None:
    found = derive(8 * GIB).scope
    assert not in_order(replace(found, term=found.high), 8 * GIB)
