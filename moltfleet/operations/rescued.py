"""What was rescued: listed, verified again, and thrown away when it is old."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from moltfleet.model.errors import ChecksumMismatch, InvalidInput, MoltfleetError
from moltfleet.model.names import match_names, not_found, printable
from moltfleet.model.rescue import SavedRescue, is_label

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet

_DAY_S = 86_400


def list_rescues(fleet: Fleet, patterns: Sequence[str]) -> tuple[SavedRescue, ...]:
    """All rescues of the named clones (none named: all), the oldest first. Raises: NotFound."""
    saved = fleet.rescues.saved()
    if not patterns:
        return saved
    known = {rescue.clone for rescue in saved} | {d.name for d in fleet.hypervisor.domains() if d.is_clone}
    chosen = match_names(patterns, known, what="rescued clone")
    return tuple(rescue for rescue in saved if rescue.clone in chosen)


def get_rescue(fleet: Fleet, name: str, label: str | None) -> SavedRescue:
    """One rescue of a clone, by its date, else the newest. Raises: NotFound, InvalidInput."""
    if label is not None and not is_label(label):
        raise InvalidInput(f"{printable(label)!r} is not a rescue's date", hint="Example: 20261121T031500Z.")
    everything = fleet.rescues.saved()
    of_clone = [saved for saved in everything if saved.clone == name]
    if not of_clone:
        raise not_found("rescued clone", name, {saved.clone for saved in everything})
    for saved in reversed(of_clone):
        if label in (None, saved.label):
            return saved
    raise not_found(f"rescue of {name!r}", label or "", [saved.label for saved in of_clone])


def verify(fleet: Fleet, saved: SavedRescue) -> tuple[MoltfleetError | None, tuple[str, ...]]:
    """Read everything again; returns an error when it is not as it was stored, and what is not."""
    flaws = fleet.rescues.verify(saved)
    if not flaws:
        return None, ()
    brief = f"Rescue {saved.label} of {saved.clone!r} is not as it was stored: {flaws[0]}"
    return ChecksumMismatch(brief, hint="What is listed as sound still is what was rescued."), flaws


def choose_old(fleet: Fleet, patterns: Sequence[str], *, days: float, keep: int) -> tuple[SavedRescue, ...]:
    """Rescues older than ``days``, without the ``keep`` newest of each clone, and whatever was interrupted."""
    kept: Counter[str] = Counter()
    old = []
    for saved in reversed(list_rescues(fleet, patterns)):
        if saved.manifest is None:
            old.append(saved)
            continue
        kept[saved.clone] += 1
        if kept[saved.clone] > keep and fleet.clock.now() - _taken_at(saved) > days * _DAY_S:
            old.append(saved)
    return tuple(reversed(old))


def plan_prune(old: Sequence[SavedRescue]) -> tuple[str, ...]:
    """Say what would go."""
    return tuple(f"would delete {saved.directory} ({saved.size})" for saved in old)


def prune(fleet: Fleet, old: Sequence[SavedRescue]) -> None:
    """Delete them for good."""
    for saved in old:
        fleet.rescues.delete(saved)


def _taken_at(saved: SavedRescue) -> float:
    """When it was taken, as its directory says; in seconds since the epoch."""
    moment = datetime.datetime.strptime(saved.label[:16], "%Y%m%dT%H%M%SZ")
    return moment.replace(tzinfo=datetime.UTC).timestamp()
