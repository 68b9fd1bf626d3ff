"""What stands out: each finding for its reason and no other, the worst first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fakes.report import CLONES, GIB, HOST, LOAD, OTHERS, OUTLOOK, a_clone, a_report, with_load
from moltfleet.model.domain import DomainState, VirtType
from moltfleet.model.findings import find_all
from moltfleet.model.load import DomainUse
from moltfleet.model.report import Finding, Level, Report

CALM = (a_clone("calm", taken=GIB(3)),)


def calm(**changes: Any) -> Report:
    return with_load(a_report(clones=CALM, others=()), **changes)


def told(report: Report) -> list[tuple[Level, str]]:
    return [(finding.level, finding.text) for finding in report.findings]


def about(report: Report, words: str) -> Finding:
    return next(finding for finding in report.findings if words in finding.text)


def test_a_calm_host_has_nothing_to_tell() -> None:
    assert calm().findings == ()


def test_the_worst_comes_first() -> None:
    levels = [finding.level for finding in with_load(a_report(), oom_kills=2, available=GIB(9)).findings]
    assert levels == sorted(levels, key=list(Level).index)
    assert set(levels) == set(Level)


def test_too_many_promises_are_told_with_the_excess() -> None:
    report = a_report(clones=tuple(a_clone(f"c-{n}", taken=GIB(9)) for n in range(9)), others=())
    held = report.memory
    text = f"{held.committed} is promised to domains, {held.excess} more than the {held.limit} they may have"
    assert told(report)[0] == (Level.CRITICAL, text)


def test_a_reserve_that_leaves_nothing_is_told() -> None:
    report = calm(total=GIB(8), available=GIB(6))
    assert told(report)[0] == (
        Level.CRITICAL, "The reserve of 10 GiB leaves nothing of the host's 8 GiB to clones",
    )  # fmt: skip


def test_memory_that_is_promised_but_no_longer_there_is_told() -> None:
    report = calm(available=GIB(10))
    short = report.situation.untouched - GIB(10)
    assert told(report)[0] == (
        Level.CRITICAL, f"If the domains took all that they were promised, the host would lack {short}",
    )  # fmt: skip


@pytest.mark.parametrize(("kills", "word"), [(1, "1 process"), (3, "3 processes")])
def test_kills_by_the_kernel_are_told(kills: int, word: str) -> None:
    text = f"The kernel killed {word} for want of memory (last 10 minutes, /proc/vmstat)"
    assert (Level.CRITICAL, text) in told(calm(oom_kills=kills))


def test_pressure_is_told_from_the_limit_on_at_which_nothing_is_started() -> None:
    assert calm(pressure=9.9).findings == ()
    assert about(calm(pressure=10.0), "wait for memory 10 %").level is Level.WARNING


def test_a_host_without_room_for_another_clone_says_what_would_fit() -> None:
    clones = tuple(a_clone(f"c-{n}", taken=GIB(9)) for n in range(6))
    report = a_report(clones=clones, others=())
    finding = about(report, "No other clone with 16 GiB")
    assert (finding.level, finding.hint) == (Level.WARNING, f"The largest that could has {report.largest}.")
    assert GIB(1) < report.largest < GIB(16)


def test_emulation_is_a_warning() -> None:
    host = replace(HOST, virt_type=VirtType.QEMU, virt_reason="the CPU shows neither vmx nor svm")
    text = "Guests are emulated (the CPU shows neither vmx nor svm): slow, and no security boundary"
    assert told(a_report(clones=CALM, others=(), host=host)) == [(Level.WARNING, text)]


def test_shared_cpus_are_noted_beyond_what_does_well() -> None:
    assert a_report(clones=CALM, others=(), host=replace(HOST, cpus=2)).findings == ()
    (finding,) = a_report(clones=CALM, others=(), host=replace(HOST, cpus=1)).findings
    assert (finding.level, finding.text) == (Level.NOTE, "4.0 vCPUs of running domains share each CPU")


@pytest.mark.parametrize(
    ("changes", "level", "text"),
    [
        ({"state": DomainState.CRASHED}, Level.WARNING, "Clones have crashed"),
        ({"state": DomainState.PAUSED}, Level.WARNING, "Clones are paused, and keep their memory"),
        ({"health": "unreadable"}, Level.WARNING, "Metadata of clones cannot be read"),
        ({"health": "unfinished molt"}, Level.WARNING, "A command on clones was interrupted"),
        ({"warm": "stale"}, Level.NOTE, "Saved RAM of clones no longer fits the host, so that they boot when molted"),
        ({"generation": 1}, Level.NOTE, "Clones stand on an older generation of their golden"),
    ],
)
def test_a_clone_stands_out_by_name(changes: dict[str, Any], level: Level, text: str) -> None:
    odd = (a_clone("odd", taken=GIB(3), **changes), a_clone("odder", taken=GIB(3), **changes))
    (finding,) = (found for found in a_report(clones=(*CALM, *odd), others=()).findings if found.names)
    assert (finding.level, finding.text, finding.names) == (level, text, ("odd", "odder"))


def test_a_clone_whose_golden_is_gone_stands_on_no_older_generation() -> None:
    gone = a_clone("orphan", taken=GIB(3), latest_generation=None)
    assert a_report(clones=(gone,), others=()).findings == ()


def with_pool(free: float) -> Report:
    report = a_report(clones=CALM, others=())
    return a_report(clones=CALM, others=(), situation=replace(report.situation, pool_free=GIB(free)))


def test_a_pool_that_cannot_take_what_is_expected_is_a_warning_and_one_that_could_overflow_a_note() -> None:
    # 700 MiB of the expected GiB are written, of a disk of 50 GiB.
    assert (Level.WARNING, "The pool has 102 MiB free, and running clones are expected to write 324 MiB more before"
            " they molt") in told(with_pool(0.1))  # fmt: skip
    note = (Level.NOTE, "Running clones could write 49.3 GiB more in all, and the pool has 20 GiB free")
    assert told(with_pool(20)) == [note]
    assert told(with_pool(50)) == []


def test_what_was_not_measured_is_noted_with_the_reason() -> None:
    origin = "the host is remote, and libvirt does not tell it"
    report = calm(pressure=None, pressure_origin=origin, oom_kills=None, oom_origin=origin)
    assert told(report) == [
        (Level.NOTE, f"Memory pressure: not measured ({origin})"),
        (Level.NOTE, f"OOM kills: not measured ({origin})"),
    ]
    assert about(calm(available=None, available_origin=origin), "Available memory").text.endswith(f"({origin})")


def test_domains_that_libvirt_tells_nothing_about_are_named() -> None:
    silent = DomainUse("silent", DomainState.RUNNING, GIB(1), 1, None, emulated=False)
    (finding,) = a_report(clones=CALM, others=(silent,)).findings
    assert (finding.text, finding.names) == (
        "libvirt does not tell what domains take of the host's memory",
        ("silent",),
    )


def test_the_samples_are_not_calm() -> None:
    assert a_report(clones=CLONES, others=OTHERS).findings
    assert LOAD.oom_kills == 0


def test_what_grows_is_told_with_its_urgency_and_a_clone_once() -> None:
    both = (*OUTLOOK.forecasts, replace(OUTLOOK.forecasts[1], clone="base-2"))
    report = calm()
    grown = find_all(replace(report, outlook=replace(OUTLOOK, forecasts=both)), growth=GIB(1))
    assert [(finding.level, finding.text, finding.names) for finding in grown] == [
        (Level.CRITICAL, "Memory of clones is about to be used up", ("base-2",)),
        (Level.NOTE, "Memory of clones grows", ("base-1",)),
        (Level.NOTE, "Clones tell no forecast", ("<b>base-4",)),
    ]
