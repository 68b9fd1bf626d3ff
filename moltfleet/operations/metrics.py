"""Gather what the metrics tell: a look at the fleet, at the host, and at what happened before. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from moltfleet import __version__
from moltfleet.model.metrics import Family, Numbers, families
from moltfleet.model.records import CloneRecord
from moltfleet.operations import measuring
from moltfleet.operations.nights import last_night
from moltfleet.operations.survey import survey

if TYPE_CHECKING:
    from moltfleet.model.load import Situation
    from moltfleet.model.survey import Ask
    from moltfleet.operations.fleet import Fleet

# Counts what earlyoom ended on the host of late; None where nobody knows.
Count = Callable[[], int | None]


def gather(fleet: Fleet, earlyoom: Count, *, ask: Ask) -> tuple[Family, ...]:
    """Look at everything once. Raises: MoltfleetError when libvirt cannot be asked."""
    found = survey(fleet, record=False, ask=ask)
    situation = measuring.measure(fleet, reservations=fleet.reservations.current())
    records = {d.name: d.record for d in fleet.hypervisor.domains() if isinstance(d.record, CloneRecord)}
    numbers = Numbers(
        survey=found,
        situation=situation,
        promised=_promised(situation),
        records=records,
        tallies=fleet.chronicle.molts(),
        earlyoom_kills=earlyoom(),
    )
    return families(numbers, last_night(fleet), __version__)


def without_fleet(fleet: Fleet) -> tuple[Family, ...]:
    """Return what can be told when libvirt cannot be asked: that it cannot, and how the last night was."""
    return families(None, last_night(fleet), __version__)


def _promised(situation: Situation) -> dict[str, int]:
    return {domain.name: domain.promised.bytes for domain in situation.domains}
