"""Snapshots that cannot be gone back to any more, and chains of layers that got long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moltfleet.model.doctor import Area, Finding, Remedy
from moltfleet.model.errors import WrongState
from moltfleet.model.snapshots import ChainView
from moltfleet.operations import chains, snapshots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moltfleet.model.records import CloneRecord
    from moltfleet.operations.doctor_scene import Scene

_WHY_MISSING = "Somebody deleted it beside moltfleet; what needs it fails when it is asked for."
_WHY_VOID = "What was written to a frozen layer shows through to everything above it."
_WHY_LONG = "A read that one layer does not answer goes on to the next one."


def examine(scene: Scene, name: str, clone: CloneRecord) -> Iterator[Finding]:
    """Look at a clone's snapshots, and at the chain that it runs on."""
    for snapshot in clone.snapshots:
        volume = snapshot.stamp.volume
        if volume not in scene.volumes:
            fact, fix = f"its snapshot {snapshot.name!r} ({volume}) is gone", "Forget it: nothing else is lost."
            yield Finding("missing-layer", Area.FLEET, name, fact, _WHY_MISSING, fix, Remedy.FORGET, volume)
            continue
        try:
            snapshots.check_frozen(scene.fleet, name, clone, snapshot)
        except WrongState as error:
            yield Finding("void", Area.FLEET, name, error.brief, _WHY_VOID, error.hint or "")
    chain = ChainView(name, len(chains.own_chain(scene.fleet, clone, clone.top)))
    if chain.is_long:
        fact = f"it stands on {chain.layers} layers of its own"
        fix = (
            f"moltfleet molt {name} goes back to a short chain, moltfleet snapshot flatten {name} makes this one short."
        )
        yield Finding("long-chain", Area.FLEET, name, fact, _WHY_LONG, fix)
