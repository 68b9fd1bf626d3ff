"""Metrics: names by the conventions, numbers where they were measured, and a bounded number of them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fakes import a_world
from fakes.metrics import a_clone_survey, a_fleet_in_numbers
from moltfleet.model.metrics import MOST_CLONES, Family, families
from moltfleet.model.nightly import LastNight, Outcome
from moltfleet.model.verdict import Verdict

NIGHT = LastNight("2026-11-20T03:30:00Z", "2026-11-20T03:45:00Z", Outcome.FAILED)
BASE_UNITS = ("_bytes", "_seconds", "_ratio", "_total", "_info")


def value(found: tuple[Family, ...], name: str, *labels: str) -> float | None:
    """One sample, None when it is not there."""
    told = {(f.name, p.labels): p.value for f in found for p in f.points}
    return told.get((f"moltfleet_{name}", labels))


ALL = families(a_fleet_in_numbers(), NIGHT, "1.0")


def test_names_follow_the_conventions() -> None:
    for family in ALL:
        assert re.fullmatch(r"moltfleet_[a-z_]+", family.name)
        assert family.help.endswith(".")
        assert (family.kind == "counter") == family.name.endswith("_total")
        # Everything that has a unit names it, and base units only.
        assert not re.search(r"_(mib|gib|kb|ms|minutes|percent)\b", family.name)
        assert all(len(point.labels) == len(family.labels) for point in family.points)
        assert len({point.labels for point in family.points}) == len(family.points)
    assert len({family.name for family in ALL}) == len(ALL)


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("up", (), 1),
        ("clone_verdict", ("crab-1", "leaking"), 1),
        ("clone_verdict", ("crab-1", "ok"), 0),
        ("clone_verdict", ("crab-2", "down"), 1),
        ("clone_running", ("crab-2",), 0),
        ("clone_running", ("crab-3",), 1),
        ("clone_promised_bytes", ("crab-2",), 0),
        ("clone_resident_bytes", ("crab-1",), 9 * 2**30),
        ("clone_resident_bytes", ("crab-2",), None),
        ("clone_used_bytes", ("crab-1",), 8 * 2**30),
        ("clone_memory_bytes", ("crab-1",), 16 * 2**30),
        ("clone_oom_forecast_seconds", ("crab-1",), 3600),
        ("clone_oom_forecast_seconds", ("crab-3",), None),
        ("clone_kills_total", ("crab-1",), 2),
        ("clone_kills_total", ("crab-2",), None),
        ("clone_molts_total", ("crab-1",), 7),
        ("clone_molts_total", ("crab-3",), 0),
        ("clone_molt_failures_total", ("crab-1",), 1),
        ("clone_last_molt_seconds", ("crab-1", "restore"), 0.4),
        ("clone_last_molt_seconds", ("crab-3", "restore"), None),
        ("clone_last_molt_timestamp_seconds", ("crab-1",), 1_795_145_700),
        ("clones", ("leaking",), 1),
        ("clones", ("critical",), 0),
        ("host_memory_bytes", (), 64 * 2**30),
        ("host_memory_pressure_ratio", (), 0),
        ("host_oom_kills_recent", (), 0),
        ("host_earlyoom_kills_recent", (), 0),
        ("pool_free_bytes", (), 50 * 2**30),
        ("pool_full_forecast_seconds", (), None),
        ("night_last_outcome", ("failed",), 1),
        ("night_last_outcome", ("ok",), 0),
        ("night_last_start_timestamp_seconds", (), 1_795_145_400),
    ],
)
def test_what_was_measured_is_told_and_nothing_else(name: str, labels: tuple[str, ...], expected: float | None) -> None:
    assert value(ALL, name, *labels) == expected


def test_headroom_is_what_may_still_be_promised() -> None:
    committed, headroom = value(ALL, "host_committed_bytes"), value(ALL, "host_headroom_bytes")
    assert committed is not None and headroom is not None
    assert committed == sum(a_fleet_in_numbers().promised.values())
    assert committed + headroom == 54 * 2**30


def test_too_much_promised_is_a_negative_headroom() -> None:
    many = families(a_fleet_in_numbers([a_clone_survey(f"crab-{n}") for n in range(5)]), None, "1.0")
    assert (value(many, "host_headroom_bytes") or 0) < 0


def test_a_night_that_runs_has_no_end_and_without_nights_there_is_nothing_of_them() -> None:
    running = families(None, replace(NIGHT, ended_at=None, outcome=Outcome.RUNNING), "1.0")
    assert value(running, "night_last_end_timestamp_seconds") is None
    assert value(running, "night_last_outcome", "running") == 1
    assert not any("night" in family.name for family in families(a_fleet_in_numbers(), None, "1.0"))


def test_without_libvirt_only_that_is_told() -> None:
    names = {family.name for family in families(None, None, "1.0")}
    assert names == {"moltfleet_build_info", "moltfleet_up"}
    assert value(families(None, None, "1.0"), "up") == 0


def test_what_a_clone_was_made_from_is_told_by_labels() -> None:
    records = {"crab-1": a_world(clones=("crab-1",)).record("crab-1")}
    assert value(families(a_fleet_in_numbers(records=records), None, "1.0"), "clone_info", "crab-1", "base", "1") == 1


def test_of_too_many_clones_the_most_urgent_stand_by_name_and_all_are_counted() -> None:
    clones = [a_clone_survey(f"crab-{number}") for number in range(1000)]
    clones[700] = a_clone_survey("crab-700", Verdict.CRITICAL, seconds=60)
    clones[900] = a_clone_survey("crab-900", Verdict.DOWN)
    found = families(a_fleet_in_numbers(clones), None, "1.0")
    named = {point.labels[0] for f in found if f.name == "moltfleet_clone_running" for point in f.points}
    assert len(named) == MOST_CLONES
    assert {"crab-700", "crab-900"} <= named
    assert value(found, "clones_left_out") == 750
    assert value(found, "clones", "ok") == 998
    assert sum(len(family.points) for family in found) < 5000
