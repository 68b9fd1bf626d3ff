"""`moltfleet` on a fleet in memory whose time passes when it is let: DIRECTORY ARGUMENT...

Each wait ends when the next of the files go.1, go.2, … is there; a minute has passed by then.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

from fakes import a_world
from fakes.health import a_health
from fakes.leaking import answers, surveyed_for, tells
from moltfleet.cli.app import app
from moltfleet.cli.invocation import Invocation
from moltfleet.model.size import Size
from moltfleet.model.vitals import Reason

NAMES = ("crab-1", "crab-2", "crab-3")


def used(name: str, minute: int) -> float | None:
    return {"crab-1": 2 + minute * 0.1, "crab-2": 3.0}.get(name)


def main() -> None:
    directory = Path(sys.argv[1])
    world = a_world(clones=NAMES)
    answers(world, "crab-1", replace(a_health(), sessions=(), agents=(), trends=()))
    world.hypervisor.resident = {"crab-1": Size.of_gib(7), "crab-2": Size.of_gib(16)}
    surveyed_for(world, 40, used)
    crashed = world.hypervisor.machines["crab-3"]
    crashed.running, crashed.why_off = None, Reason.CRASHED
    minute, sleep = 40, world.clock.sleep

    def advance(_: float) -> None:
        nonlocal minute
        while not (directory / f"go.{minute - 39}").exists():
            time.sleep(0.02)
        sleep(60.0)
        minute += 1
        tell()

    def tell() -> None:
        world.hypervisor.used_cpu_s = {"crab-1": minute * 21.0, "crab-2": minute * 0.6}
        world.hypervisor.grown = {"crab-1": Size.of_mib(700 + 8 * minute), "crab-2": Size.of_mib(20)}
        for name in NAMES[:2]:
            tells(world, name, used=used(name, minute) or 0.0)

    tell()
    world.clock.sleep = advance  # type: ignore[method-assign]
    invocation = Invocation(build_fleet=lambda config, uri, progress: replace(world.fleet, progress=progress))
    app(sys.argv[2:], obj=invocation, prog_name="moltfleet")


main()
