"""What libvirt and guests tell of memory while time passes, for tests of surveys."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from fakes.guests import ok
from fakes.health import a_health
from fakes.world import World
from moltfleet.model.health import Health
from moltfleet.model.size import Size
from moltfleet.model.survey import Ask, SurveyResult
from moltfleet.model.vitals import Balloon
from moltfleet.operations.survey import survey

GIB = 1 << 30
PROGRAM = "vm-health-check"


def tells(world: World, name: str, *, used: float, of: float = 16.0, ago_s: float = 1.0) -> None:
    """Let a balloon tell so many GiB in use, as of some seconds ago."""
    told_at = world.clock.now() - ago_s
    world.hypervisor.balloons[name] = Balloon(Size.of_gib(of), Size.of_gib(max(0.0, of - used)), told_at)


def answers(world: World, name: str, health: Health | None = None) -> None:
    """Let a guest's health check answer; without a word that it is well, of 16 GiB."""
    said = replace(a_health(), memory=replace(a_health().memory, total=16 * GIB)) if health is None else health
    world.hypervisor.behave(name, answers={PROGRAM: ok(json.dumps(said.document()))})


def surveyed_for(
    world: World, minutes: int, used: Callable[[str, int], float | None], *, ask: Ask = Ask.NONE
) -> SurveyResult:
    """Survey and record every minute while clones use what ``used`` says (None: they tell nothing); the last result."""
    result = None
    for minute in range(minutes):
        for name in list(world.hypervisor.machines):
            level = used(name, minute)
            if level is not None:
                tells(world, name, used=level)
        result = survey(world.fleet, record=True, ask=ask)
        world.clock.sleep(60.0)
    assert result is not None
    return result
