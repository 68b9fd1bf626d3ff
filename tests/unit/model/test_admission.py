"""Admission: each rule by its figures, and what holds for any host and any clones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.model.admission import Admission, Rule, decide, how_many
from moltfleet.model.capacity import calculate
from moltfleet.model.domain import DomainState
from moltfleet.model.load import Candidate, DomainUse, HostLoad, Reservation, Situation
from moltfleet.model.size import Size

GIB = Size.of_gib


def a_host(**changes: Any) -> HostLoad:
    fields: dict[str, Any] = {
        "total": GIB(64),
        "total_origin": "/proc/meminfo",
        "available": GIB(60),
        "available_origin": "MemAvailable, /proc/meminfo",
        "pressure": 0.0,
        "pressure_origin": "/proc/pressure/memory",
        "oom_kills": 0,
        "oom_origin": "/proc/vmstat, last 10 minutes",
    }
    return HostLoad(**fields | changes)


def a_situation(*, host: HostLoad | None = None, **changes: Any) -> Situation:
    fields: dict[str, Any] = {
        "host": host or a_host(),
        "reserve": GIB(10),
        "reserve_origin": "default",
        "pool_free": GIB(100),
        "pool_origin": "pool 'moltfleet'",
    }
    return Situation(**fields | changes)


def a_domain(name: str = "crab-1", **changes: Any) -> DomainUse:
    fields: dict[str, Any] = {
        "name": name,
        "state": DomainState.RUNNING,
        "memory": GIB(12),
        "vcpus": 4,
        "resident": GIB(1),
        "emulated": False,
    }
    return DomainUse(**fields | changes)


def a_candidate(name: str = "crab-9", **changes: Any) -> Candidate:
    fields: dict[str, Any] = {"name": name, "memory": GIB(12), "vcpus": 4, "emulated": False}
    return Candidate(**fields | changes)


def failed(admission: Admission) -> list[str]:
    return [str(result.rule) for result in admission.failed]


def detail(admission: Admission, rule: Rule) -> str:
    return next(result.detail for result in admission.rules if result.rule is rule)


def test_an_empty_host_admits_and_every_rule_tells_its_arithmetic() -> None:
    admission = decide(a_situation(), a_candidate(disk_growth=GIB(1), ram_image=GIB(2)))
    assert admission.admit and admission.warning is None
    assert [(str(r.rule), r.passed, r.measured) for r in admission.rules] == [
        ("committed", True, True), ("live", True, True), ("pressure", True, True), ("disk", True, True),
    ]  # fmt: skip
    assert [result.detail for result in admission.rules] == [
        "0 active domains 0.00 GiB (memory and QEMU's own, libvirt) + 0.00 GiB reserved for starts + 12.25 GiB for"
        " this clone = 12.25 GiB; limit 54.00 GiB = 64.00 GiB (/proc/meminfo) - 10.00 GiB reserve (default)",
        "60.00 GiB available (MemAvailable, /proc/meminfo) - 0.00 GiB promised to running domains and not touched yet"
        " - 0.00 GiB reserved for starts = 60.00 GiB; needed 1.2 x 12.25 GiB = 14.70 GiB",
        "memory pressure 0.0 % (some avg60, /proc/pressure/memory), below 10 %;"
        " 0 OOM kills (/proc/vmstat, last 10 minutes)",
        "100.00 GiB free (pool 'moltfleet') - 0.00 GiB reserved for starts; needed 1.00 GiB expected growth"
        " + 2.00 GiB RAM image = 3.00 GiB",
    ]


@pytest.mark.parametrize("state", [DomainState.RUNNING, DomainState.PAUSED, DomainState.CRASHED])
def test_every_active_domain_counts_with_its_maximum(state: DomainState) -> None:
    domains = tuple(a_domain(f"theirs-{n}", state=state, resident=None) for n in range(4))
    admission = decide(a_situation(domains=domains), a_candidate())
    assert failed(admission)[0] == "committed"
    assert "4 active domains 49.00 GiB" in detail(admission, Rule.COMMITTED)
    assert "61.25 GiB; limit 54.00 GiB" in detail(admission, Rule.COMMITTED)
    assert detail(admission, Rule.COMMITTED).endswith(": 7.2 GiB short")


def test_promises_that_are_not_touched_yet_are_not_free() -> None:
    started = tuple(a_domain(f"crab-{n}", resident=Size.of_mib(100)) for n in range(3))
    host = a_host(available=GIB(50))
    admission = decide(a_situation(host=host, domains=started), a_candidate())
    assert failed(admission) == ["live"]
    assert decide(a_situation(host=host), a_candidate()).admit


def test_a_guest_that_has_touched_everything_promises_nothing_more() -> None:
    full = a_domain(resident=GIB(14))
    assert (full.untouched, full.promised) == (Size(0), GIB(14))


def test_a_reservation_counts_until_its_domain_does() -> None:
    kept = Reservation("crab-1", GIB(12.25), "ann", 7, 0.0)
    assert a_situation(reservations=(kept,)).reserved == GIB(12.25)
    assert a_situation(reservations=(kept,), domains=(a_domain(),)).reserved == Size(0)
    assert a_situation(reservations=(kept,), domains=(a_domain("other"),)).reserved == GIB(12.25)


def test_ones_own_reservation_does_not_stand_in_the_way() -> None:
    mine = Reservation("crab-9", GIB(50), "ann", 7, 0.0)
    assert decide(a_situation(reservations=(mine,)), a_candidate()).admit
    assert failed(decide(a_situation(reservations=(replace(mine, name="crab-8"),)), a_candidate())) == [
        "committed", "live",
    ]  # fmt: skip


def test_a_molting_clone_gives_its_memory_back_first() -> None:
    others = tuple(a_domain(f"crab-{n}", resident=GIB(12)) for n in range(3))
    situation = a_situation(host=a_host(available=GIB(8)), domains=(*others, a_domain("crab-9", resident=GIB(13))))
    admission = decide(situation, a_candidate("crab-9"))
    assert admission.admit
    assert "with the 13 GiB that 'crab-9' gives back" in detail(admission, Rule.LIVE)
    assert failed(decide(situation, a_candidate("crab-8"))) == ["committed", "live"]


@pytest.mark.parametrize(("pressure", "passes"), [(0.0, True), (9.99, True), (10.0, False), (55.5, False)])
def test_a_host_that_waits_for_memory_admits_nothing(pressure: float, passes: bool) -> None:
    admission = decide(a_situation(host=a_host(pressure=pressure)), a_candidate())
    assert admission.admit is passes
    assert (admission.largest.bytes > 0) is passes
    assert how_many(a_situation(host=a_host(pressure=pressure)), a_candidate()) == (4 if passes else 0)


def test_a_recent_oom_kill_stops_starts() -> None:
    admission = decide(a_situation(host=a_host(oom_kills=1)), a_candidate())
    assert failed(admission) == ["pressure"]
    assert "1 OOM kill (/proc/vmstat" in detail(admission, Rule.PRESSURE)


def test_what_is_not_measured_passes_and_says_so() -> None:
    host = a_host(
        available=None,
        available_origin="libvirt tells none",
        pressure=None,
        pressure_origin="the host is remote",
        oom_kills=None,
        oom_origin="the host is remote",
    )
    admission = decide(a_situation(host=host, pool_free=None, pool_origin="there is no pool yet"), a_candidate())
    assert admission.admit
    assert [result.measured for result in admission.rules] == [True, False, False, False]
    assert [result.detail for result in admission.rules[1:]] == [
        "not measured: libvirt tells none",
        "memory pressure not measured: the host is remote; OOM kills not measured: the host is remote",
        "not measured: there is no pool yet",
    ]


def test_a_pool_without_room_for_growth_and_ram_stops_a_start() -> None:
    wanted = a_candidate(disk_growth=GIB(3), ram_image=GIB(2))
    assert decide(a_situation(pool_free=GIB(5)), wanted).admit
    assert failed(decide(a_situation(pool_free=GIB(4)), wanted)) == ["disk"]
    assert how_many(a_situation(pool_free=GIB(11)), wanted) == 2


def test_a_refusal_names_the_largest_clone_that_would_fit() -> None:
    admission = decide(a_situation(domains=(a_domain(memory=GIB(40)),)), a_candidate(memory=GIB(16)))
    assert not admission.admit
    # 54 - 40.25 of the limit leave 13.75 GiB, of which QEMU takes 256 MiB.
    assert admission.largest == GIB(13.5)
    assert decide(a_situation(domains=(a_domain(memory=GIB(40)),)), a_candidate(memory=admission.largest)).admit


def test_a_host_that_is_full_fits_nothing() -> None:
    assert decide(a_situation(domains=(a_domain(memory=GIB(54)),)), a_candidate()).largest == Size(0)


def test_the_last_one_that_fits_comes_with_a_warning() -> None:
    one = a_situation(host=a_host(total=GIB(32), available=GIB(30)))
    admission = decide(one, a_candidate(memory=GIB(16)))
    assert admission.admit and admission.warning is not None and "16 GiB" in admission.warning


def situations() -> st.SearchStrategy[Situation]:
    sizes = st.integers(0, 2**40).map(Size)
    domain = st.builds(
        DomainUse,
        name=st.sampled_from(["a", "b", "c", "d", "e"]),
        state=st.sampled_from(DomainState),
        memory=sizes,
        vcpus=st.integers(1, 64),
        resident=st.none() | sizes,
        emulated=st.booleans(),
    )
    reservation = st.builds(
        Reservation, st.sampled_from(["a", "b", "x", "y"]), sizes, st.just("ann"), st.just(1), st.just(0.0)
    )
    host = st.builds(
        a_host,
        total=sizes,
        available=st.none() | sizes,
        pressure=st.none() | st.floats(0, 100),
        oom_kills=st.none() | st.integers(0, 3),
    )
    return st.builds(
        a_situation,
        host=host,
        reserve=sizes,
        domains=st.lists(domain, max_size=6, unique_by=lambda d: d.name).map(tuple),
        reservations=st.lists(reservation, max_size=4, unique_by=lambda r: r.name).map(tuple),
        pool_free=st.none() | sizes,
    )


def candidates() -> st.SearchStrategy[Candidate]:
    sizes = st.integers(0, 2**38).map(Size)
    return st.builds(
        Candidate,
        name=st.sampled_from(["a", "x", "new"]),
        memory=st.integers(2**26, 2**40).map(Size),
        vcpus=st.integers(1, 64),
        emulated=st.booleans(),
        disk_growth=sizes,
        ram_image=sizes,
    )


@given(situations(), candidates())
def test_what_is_admitted_fits_into_the_host_without_its_reserve(situation: Situation, candidate: Candidate) -> None:
    if decide(situation, candidate).admit:
        others = sum(d.memory.bytes for d in situation.domains if d.name != candidate.name)
        assert others + candidate.memory.bytes <= situation.host.total.bytes - situation.reserve.bytes


@given(situations(), candidates())
def test_each_answer_comes_with_four_rules_in_one_line_each(situation: Situation, candidate: Candidate) -> None:
    admission = decide(situation, candidate)
    assert [result.rule for result in admission.rules] == list(Rule)
    assert all(result.detail and "\n" not in result.detail for result in admission.rules)
    assert admission.admit == (not admission.failed)


@given(situations(), candidates())
def test_the_largest_clone_is_admitted_and_a_larger_one_is_not(situation: Situation, candidate: Candidate) -> None:
    largest = decide(situation, candidate).largest
    if largest.bytes:
        assert decide(situation, replace(candidate, memory=largest)).admit
        assert not decide(situation, replace(candidate, memory=largest + Size.of_mib(1))).admit
    else:
        assert not decide(situation, replace(candidate, memory=Size.of_mib(64))).admit


@given(situations(), candidates(), st.integers(0, 2**38), st.integers(0, 2**38))
def test_more_room_never_turns_a_yes_into_a_no(
    situation: Situation, candidate: Candidate, more: int, less: int
) -> None:
    host, available = situation.host, situation.host.available
    roomier = replace(
        situation,
        host=replace(
            host,
            total=Size(host.total.bytes + more),
            available=None if available is None else Size(available.bytes + more),
        ),
        reserve=situation.reserve - Size(less),
        reservations=situation.reservations[1:],
    )
    smaller = replace(candidate, memory=max(Size.of_mib(64), candidate.memory - Size(less)))
    if decide(situation, candidate).admit:
        assert decide(roomier, candidate).admit
        assert decide(situation, smaller).admit
    assert decide(roomier, candidate).largest >= decide(situation, candidate).largest


@given(situations(), candidates())
def test_as_many_are_admitted_one_after_the_other_as_was_said(situation: Situation, candidate: Candidate) -> None:
    """Each one that is granted is reserved for, as a start does it, and takes its disk."""
    situation = replace(situation, domains=situation.domains[:2])
    promised = how_many(situation, replace(candidate, name="none"))
    granted = 0
    while granted <= min(promised, 40):
        name = f"new-{granted}"
        if not decide(situation, replace(candidate, name=name)).admit:
            break
        granted += 1
        free = situation.pool_free
        situation = replace(
            situation,
            reservations=(*situation.reservations, Reservation(name, candidate.need, "ann", 1, 0.0)),
            pool_free=None if free is None else free - candidate.disk_growth - candidate.ram_image,
        )
    assert granted == min(promised, 41)


@given(st.integers(0, 2**40), st.integers(0, 2**38), st.integers(2**28, 2**38), st.booleans())
def test_admission_never_grants_more_than_the_calculator_says(
    host_bytes: int, reserve_bytes: int, clone_bytes: int, emulated: bool
) -> None:
    host, reserve, clone = Size(host_bytes), Size(reserve_bytes), Size(clone_bytes)
    empty = a_situation(host=a_host(total=host, available=host), reserve=reserve, pool_free=None)
    wanted = a_candidate(memory=clone, emulated=emulated)
    assert 0 <= how_many(empty, wanted) <= calculate(host, reserve=reserve, clone=clone).max_clones
