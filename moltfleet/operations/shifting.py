"""Put a clone onto another top layer, which is made for it, and boot it there; the layer that it had is shed or kept.

Until the guest is ready on the new one everything is in its place: a failure goes back to it, and so does the next
command after an interruption (see moving). The caller holds the clone's lock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import MoltfleetError
from moltfleet.model.records import Pending, Verb
from moltfleet.operations import layers, login_keeping, molting, moving
from moltfleet.operations.clones import find_endpoint
from moltfleet.operations.deadlines import timestamp
from moltfleet.operations.ready import Guest, ready

if TYPE_CHECKING:
    from collections.abc import Callable

    from moltfleet.model.records import CloneRecord
    from moltfleet.operations.fleet import Fleet


@dataclass(frozen=True, slots=True)
class NewLayer:
    """A layer to be made: ``make`` makes it under the name that it is given.

    ``label`` keeps the layer before it under a name; ``stands_alone`` says that it stands on no other.
    """

    make: Callable[[str], None]
    label: str | None = None
    stands_alone: bool = False


def shift(
    fleet: Fleet, name: str, clone: CloneRecord, layer: NewLayer, account: login_keeping.Account, *, title: str
) -> CloneRecord:
    """Make the layer, and boot the clone on it; ``account`` is told what became of its logins.

    Raises: what making or booting it fails with, the clone as it was, or left off where it was.
    """
    clone = _journal(fleet, name, clone, layer)
    try:
        login_keeping.pull_back(fleet, name, clone, account)
        # What is below may hold some.
        clone = login_keeping.note_layer(fleet, name, clone)
        with fleet.progress.step(title):
            _boot(fleet, name, clone, layer)
    except MoltfleetError:
        moving.take_back(fleet, name, clone)
        raise
    clone = login_keeping.put_back(fleet, name, clone, account, looks_first=True)
    clone = molting.commit(fleet, name, clone, warm=False)
    return molting.empty_trash(fleet, name, clone)


def _journal(fleet: Fleet, name: str, clone: CloneRecord, layer: NewLayer) -> CloneRecord:
    target, following = layers.new_overlay_name(fleet, name, clone)
    now = timestamp(fleet.clock)
    pending = Pending(verb=Verb.MOVE, target=target, source=clone.top, started_at=now, keep=layer.label)
    known = (volume for volume in clone.alone if volume in clone.volumes())
    alone = (*known, *((target,) if layer.stands_alone else ()))
    clone = replace(clone, pending=pending, next_number=following, alone=alone)
    fleet.hypervisor.write_record(name, clone)
    record(Effect.MOLT_JOURNALLED, name)
    return clone


def _boot(fleet: Fleet, name: str, clone: CloneRecord, layer: NewLayer) -> None:
    if clone.pending is None:
        raise ValueError("no journal entry")
    target = clone.pending.target
    layer.make(target)
    record(Effect.MOLT_OVERLAID, name)
    fleet.hypervisor.set_disk(name, target)
    record(Effect.MOLT_REDEFINED, name)
    fleet.hypervisor.destroy(name)
    record(Effect.MOLT_DESTROYED, name)
    fleet.hypervisor.start(name)
    record(Effect.MOLT_STARTED, name)
    layers.check_live_chain(fleet, name, clone, target)
    with ready(fleet, Guest(name, lambda: find_endpoint(fleet, name, clone)), title=f"Booting {name}"):
        pass
    record(Effect.MOLT_READIED, name)
