"""A fleet that needs a night: two clones leak until they are molted, one rests; nobody works in any."""

from __future__ import annotations

import json
from dataclasses import replace

from fakes.guests import ok
from fakes.health import a_health
from fakes.leaking import GIB, PROGRAM
from fakes.world import World, a_world
from moltfleet.model.domain import CommandResult
from moltfleet.model.health import Health
from moltfleet.model.nightly import Scope
from moltfleet.model.size import Size
from moltfleet.model.vitals import Balloon
from moltfleet.operations.nightly import NightRequest

LEAKING = ("fast", "slow")
NIGHT = NightRequest(Scope.LEAKING, hours=4)
ALL = NightRequest(Scope.ALL, hours=4)


class BalloonsByLayer(dict[str, Balloon]):
    """What balloons tell: much is in use on the layer that a clone has at first, and little after each molt.

    ``ill`` are clones that a molt does not help.
    """

    def __init__(self, world: World, used: dict[str, float]) -> None:
        super().__init__()
        self.world = world
        self.ill: set[str] = set()
        self.used = {name: (world.record(name).top, gib) for name, gib in used.items()}

    def get(self, name: str, default: object = None) -> Balloon | None:  # type: ignore[override]
        """Tell it as of now."""
        running = self.world.hypervisor.machines[name].running
        top, gib = self.used.get(name, ("", 0.0))
        is_old = running is not None and running.chain[0] == self.world.storage.path_of(top)
        used = gib if is_old or name in self.ill else 1.0
        return Balloon(Size.of_gib(16), Size.of_gib(16 - used), self.world.clock.now() - 1)


def balloons(world: World) -> BalloonsByLayer:
    """What a leaky world's balloons tell, for a test to change."""
    assert isinstance(world.hypervisor.balloons, BalloonsByLayer)
    return world.hypervisor.balloons


def deserted() -> Health:
    """A guest that nobody is attached to, without an agent."""
    calm = a_health()
    return replace(calm, sessions=(), agents=(), memory=replace(calm.memory, total=16 * GIB, available=15 * GIB))


def answer(world: World, name: str, health: Health) -> None:
    """Let a guest tell how it is, and have no work that is not elsewhere."""
    said = {
        PROGRAM: ok(json.dumps(health.document())),
        "rescue look": CommandResult(0, b"end\0", b""),
    }
    world.hypervisor.behave(name, answers=said)


def a_leaky_world(**used: float) -> World:
    """Clones "fast" and "slow", 15.6 and 15.4 of 16 GiB in use, and "rests"; other amounts by name."""
    world = a_world(clones=(*LEAKING, "rests"))
    for name in (*LEAKING, "rests"):
        answer(world, name, deserted())
    world.hypervisor.balloons = BalloonsByLayer(world, {"fast": 15.6, "slow": 15.4, "rests": 1.0, **used})
    # Past the cool-down of nothing, and on another second than the creation.
    world.clock.sleep(7200)
    return world
