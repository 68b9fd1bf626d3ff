"""The report's sums: memory that is promised and memory in use both add up to the host's."""

from __future__ import annotations

from dataclasses import replace

from fakes.report import CLONES, GIB, GOLDENS, a_clone, a_report, with_load
from moltfleet.model.domain import DomainState
from moltfleet.model.report import NOTHING, total
from moltfleet.model.size import Size


def test_what_is_promised_what_is_free_and_the_reserve_are_the_whole_host() -> None:
    held = a_report().memory
    assert held.committed + held.free + held.reserve == held.total
    assert (held.excess, held.limit) == (NOTHING, GIB(115.5))


def test_what_is_in_use_and_what_is_available_are_the_whole_host() -> None:
    held = a_report().memory
    assert held.clones_used and held.others_used and held.rest_used and held.available
    assert total((held.clones_used, held.others_used, held.rest_used, held.available)) == held.total


def test_promises_are_those_that_admission_counts() -> None:
    report = a_report()
    held = report.memory
    assert held.clones_promised + held.others_promised == report.situation.promised
    assert held.starting == report.situation.reserved == GIB(8)


def test_a_clone_that_is_off_is_promised_nothing() -> None:
    off = a_clone("x", state=DomainState.SHUT_OFF)
    assert (off.is_active, off.promised) == (False, NOTHING)
    assert a_report(clones=(off,), others=()).memory.clones_promised == NOTHING


def test_more_than_there_is_shows_as_an_excess_and_never_as_negative_room() -> None:
    held = a_report(clones=tuple(a_clone(f"c-{n}", taken=GIB(1)) for n in range(9))).memory
    assert held.free == NOTHING
    assert held.excess == held.committed - held.limit > NOTHING


def test_shared_pages_that_are_counted_twice_leave_the_rest_of_the_host_at_zero() -> None:
    held = with_load(a_report(), available=GIB(120)).memory
    assert (held.used, held.rest_used) == (GIB(5.5), NOTHING)


def test_what_was_not_measured_is_none_and_not_zero() -> None:
    held = with_load(a_report(), available=None).memory
    assert (held.used, held.rest_used, held.available) == (None, None, None)
    silent = a_report(clones=(a_clone("x"),), others=()).memory
    assert (silent.clones_used, silent.others_used, silent.rest_used) == (None, NOTHING, GIB(37.5))


def test_a_golden_adds_its_generations_up() -> None:
    assert (GOLDENS[0].clones, GOLDENS[0].allocation) == (4, GIB(4.1) + GIB(4.4))


def test_virtual_cpus_are_those_of_all_active_domains() -> None:
    assert a_report().vcpus == 4 * len([c for c in CLONES if c.is_active]) + 4 + 2


def test_the_default_row_is_the_one_of_the_default_size() -> None:
    assert a_report().default.memory == GIB(16)
    row = a_report().default
    assert replace(row, memory=Size(1)) not in a_report().headroom
