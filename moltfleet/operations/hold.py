"""Hold clones: until a moment none of them is molted by itself, unless its memory is about to be used up."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moltfleet.model.errors import MoltfleetError
from moltfleet.model.names import printable
from moltfleet.model.records import CloneRecord, Hold
from moltfleet.model.results import ActResult
from moltfleet.operations.clones import clone_names, get_clone
from moltfleet.operations.deadlines import find_epoch
from moltfleet.operations.parallel import each

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet

_LONGEST_WHY = 200


@dataclass(frozen=True, slots=True)
class Held:
    """A clone and its hold."""

    clone: str
    hold: Hold


def list_holds(fleet: Fleet, patterns: Sequence[str]) -> tuple[Held, ...]:
    """All holds that still hold, of the named clones (none named: all). Raises: NotFound."""
    chosen = set(clone_names(fleet, patterns))
    records = {d.name: d.record for d in fleet.hypervisor.domains() if d.name in chosen}
    now = fleet.clock.now()
    found = ((name, record.hold) for name, record in sorted(records.items()) if isinstance(record, CloneRecord))
    return tuple(Held(name, hold) for name, given in found if (hold := holding_now(given, now)) is not None)


def holding_now(hold: Hold | None, now: float) -> Hold | None:
    """Return a hold that still holds; one of which nobody can tell until when does."""
    if hold is None:
        return None
    until = find_epoch(hold.until)
    return hold if until is None or until > now else None


def hold(fleet: Fleet, patterns: Sequence[str], *, until: float, by: str, why: str) -> tuple[ActResult, ...]:
    """Hold every named clone until a moment (of the epoch); a hold that there is, is replaced. Raises: NotFound."""
    moment = datetime.datetime.fromtimestamp(until, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    wanted = Hold(moment, printable(by, limit=60), printable(why, limit=_LONGEST_WHY))
    return _each(fleet, patterns, wanted, "held", f"until {moment}")


def release(fleet: Fleet, patterns: Sequence[str]) -> tuple[ActResult, ...]:
    """End the hold of every named clone; one without is left alone. Raises: NotFound."""
    return _each(fleet, patterns, None, "released", "")


def _each(
    fleet: Fleet, patterns: Sequence[str], wanted: Hold | None, outcome: str, detail: str
) -> tuple[ActResult, ...]:
    def act(name: str) -> ActResult:
        try:
            with fleet.locks.hold(name, verb="hold"):
                _, clone = get_clone(fleet, name)
                if clone.hold == wanted:
                    return ActResult(name, "unchanged")
                fleet.hypervisor.write_record(name, replace(clone, hold=wanted))
        except MoltfleetError as error:
            return ActResult(name, "failed", error.brief, error=error)
        return ActResult(name, outcome, detail)

    return each(clone_names(fleet, patterns), act, jobs=1)
