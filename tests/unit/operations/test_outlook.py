"""Asking clones where their memory is heading: what grows comes soonest first, and silence is told as such."""

from __future__ import annotations

import json
from dataclasses import replace

from fakes import World, a_world, failed
from fakes.health import GIB, a_health, a_leaking_health
from moltfleet.model.domain import CommandResult
from moltfleet.model.forecast import Verdict
from moltfleet.model.health import Health
from moltfleet.model.outlook import Forecast, Outlook
from moltfleet.model.requests import StopRequest
from moltfleet.model.size import Size
from moltfleet.operations import stop
from moltfleet.operations.outlook import ask
from moltfleet.operations.report import gather

PROGRAM = "vm-health-check"


def a_fleet_of(**healths: Health | None) -> World:
    """Clones whose guests tell these; None is a guest without the program."""
    world = a_world(clones=tuple(name.replace("_", "-") for name in healths))
    for name, health in healths.items():
        told = failed("", code=127)
        if health is not None:
            told = CommandResult(0, json.dumps(health.document()).encode(), b"")
        world.hypervisor.behave(name.replace("_", "-"), answers={PROGRAM: told})
    return world


def a_growing_guest() -> Health:
    trend = replace(a_health().trends[0], verdict="growing", seconds=9000.0, rate=1e6, seen_s=600.0, bound_s=1e4)
    return replace(a_health(), verdict="growing", trends=(trend,))


def test_the_soonest_end_comes_first_and_the_silent_are_named() -> None:
    world = a_fleet_of(crab_1=a_growing_guest(), crab_2=a_leaking_health(), crab_3=a_health(), crab_4=None)
    assert ask(world.fleet, ["crab-1", "crab-2", "crab-3", "crab-4"]) == Outlook(
        forecasts=(
            Forecast("crab-2", "claude", Verdict.CRITICAL, Size(3 * GIB + GIB // 2), Size(4 * GIB), 640.0),
            Forecast("crab-1", "", Verdict.GROWING, Size(2 * GIB), Size(7 * GIB), 9000.0),
        ),
        steady=("crab-3",),
        silent=("crab-4",),
    )


def test_a_guest_that_does_not_know_yet_is_silent() -> None:
    trend = replace(a_health().trends[0], verdict="unknown", reason="too few samples")
    world = a_fleet_of(crab_1=replace(a_health(), verdict="unknown", trends=(trend,)))
    assert ask(world.fleet, ["crab-1"]) == Outlook(silent=("crab-1",))


def test_the_report_asks_those_that_run_and_only_when_told_to() -> None:
    world = a_fleet_of(crab_1=a_leaking_health(), crab_2=a_health())
    stop.stop(world.fleet, ["crab-2"], StopRequest())
    assert gather(world.fleet).outlook is None
    report = gather(world.fleet, forecasts=True)
    assert report.outlook is not None
    assert ([f.clone for f in report.outlook.forecasts], report.outlook.steady) == (["crab-1"], ())
    (finding,) = (finding for finding in report.findings if "used up" in finding.text)
    assert (finding.level.value, finding.names) == ("critical", ("crab-1",))


def test_nobody_is_asked_where_nobody_runs() -> None:
    assert gather(a_world().fleet, forecasts=True).outlook == Outlook()
