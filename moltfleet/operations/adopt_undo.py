"""Give adopted domains back to whoever made them: each by one definition; every file stays, and what it holds.

A clone that was started since goes on from its present top layer, as its first one is frozen under that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moltfleet.model.adoption import Adoptee, Kind
from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import InUse, MoltfleetError, NotFound, WrongState
from moltfleet.model.names import match_names
from moltfleet.model.records import CloneRecord, GoldenRecord
from moltfleet.operations import chains
from moltfleet.operations.foreign import check_untouched

if TYPE_CHECKING:
    from moltfleet.model.domain import Domain
    from moltfleet.model.records import Origin
    from moltfleet.model.takeover import Takeover
    from moltfleet.operations.fleet import Fleet

_LOCK_WAIT_S = 60.0


def plan_undo(fleet: Fleet, names: tuple[str, ...]) -> tuple[Adoptee, ...]:
    """Say for each adopted domain that was named, and the clones of each golden, whether it can go back; no effect.

    Nothing named means all. Clones come before their golden. Raises: NotFound.
    """
    rows = [_look(fleet, domain) for domain in _named(fleet, names)]
    stays = {row.golden for row in rows if row.kind is Kind.CLONE and row.outcome == "refused"}
    return tuple(_keep_golden(row) if row.kind is Kind.GOLDEN and row.golden in stays else row for row in rows)


def undo(fleet: Fleet, takeover: Takeover, names: tuple[str, ...]) -> tuple[Adoptee, ...]:
    """Give them back; a failure of one stands in its row, and keeps its golden. Raises: NotFound."""
    with fleet.locks.hold("fleet", verb="adopt --undo", wait_s=_LOCK_WAIT_S):
        return tuple(_give_back(fleet, takeover, row) for row in plan_undo(fleet, names))


def _named(fleet: Fleet, names: tuple[str, ...]) -> list[Domain]:
    adopted = {d.name: d for d in fleet.hypervisor.domains() if _origin(d) is not None}
    if not names:
        chosen = set(adopted)
    else:
        chosen = set(match_names(names, adopted, what="adopted domain"))
        chosen |= {n for n, d in adopted.items() if isinstance(d.record, CloneRecord) and d.record.golden in chosen}
    return sorted((adopted[name] for name in chosen), key=lambda domain: (domain.is_golden, domain.name))


def _origin(domain: Domain) -> Origin | None:
    return domain.record.adopted if isinstance(domain.record, CloneRecord | GoldenRecord) else None


def _look(fleet: Fleet, domain: Domain) -> Adoptee:
    try:
        return (
            _look_at_clone(fleet, domain) if isinstance(domain.record, CloneRecord) else _look_at_golden(fleet, domain)
        )
    except MoltfleetError as error:
        kind = Kind.CLONE if isinstance(domain.record, CloneRecord) else Kind.GOLDEN
        golden = domain.record.golden if isinstance(domain.record, CloneRecord) else domain.name
        return Adoptee(domain.name, kind, golden, "refused", error=error)


def _look_at_clone(fleet: Fleet, domain: Domain) -> Adoptee:
    """Raises: WrongState unless it is off, with nothing half done and nothing that only we would find again."""
    clone, name = domain.record, domain.name
    if not isinstance(clone, CloneRecord):
        raise TypeError(name)
    if domain.is_active:
        raise WrongState(f"Clone {name!r} is {domain.state}", hint=f"Stop it: moltfleet stop {name}")
    if clone.pending is not None:
        raise WrongState(
            f"A command on clone {name!r} was interrupted",
            hint=f"Finish that first: moltfleet start {name}, then stop it.",
        )
    if clone.kept:
        label = clone.kept[0].label or ""
        raise WrongState(
            f"Clone {name!r} has {len(clone.kept)} kept layer(s), which nobody would find again",
            hint=f"Drop it: moltfleet kept delete {name} {label}. Or go back: moltfleet kept restore {name} {label}",
        )
    if clone.snapshots:
        label = clone.snapshots[0].name
        raise WrongState(
            f"Clone {name!r} has {len(clone.snapshots)} snapshot(s), which nobody would find again",
            hint=f"Go back to the one that counts, and drop each: moltfleet snapshot delete {name} {label}",
        )
    check_untouched(fleet, name, way_out="Delete them with virsh first.")
    used = chains.own_chain(fleet, clone, clone.top)
    left = tuple(sorted(v for v in clone.volumes() if v not in used and fleet.storage.find(v) is not None))
    notes = () if len(used) == 1 else (f"it goes on from {clone.top}, which stands on {', '.join(used[1:])}",)
    if clone.logins is not None:
        notes = (*notes, f"it has logins that were synced: moltfleet sync-auth {name} --forget takes them away first")
    return Adoptee(name, Kind.CLONE, clone.golden, "returnable", clone.top, notes, left=left)


def _look_at_golden(fleet: Fleet, domain: Domain) -> Adoptee:
    """Raises: InUse while clones or generations of ours stand on it."""
    golden, name = domain.record, domain.name
    if not isinstance(golden, GoldenRecord) or golden.adopted is None:
        raise TypeError(name)
    if domain.is_active:
        raise WrongState(f"Golden {name!r} is {domain.state}", hint=f"Shut it down: virsh shutdown {name}.")
    if golden.deleting:
        raise WrongState(f"Golden {name!r} is being deleted")
    newer = [f"g{g.number}" for g in golden.generations[golden.adopted.generations :]]
    if newer:
        raise InUse(
            f"Golden {name!r} has generations that were built since: {', '.join(newer)}", hint="They would be nobody's."
        )
    ours = sorted(d.name for d in fleet.hypervisor.domains() if _stands_on(d, name) and _origin(d) is None)
    if ours:
        raise InUse(
            f"Golden {name!r} has {len(ours)} clone(s) that were made of it: {', '.join(ours[:6])}",
            hint=f"Delete those first: moltfleet delete {ours[0]}",
        )
    return Adoptee(name, Kind.GOLDEN, name, "returnable", golden.latest.volume)


def _stands_on(domain: Domain, golden: str) -> bool:
    return isinstance(domain.record, CloneRecord) and domain.record.golden == golden


def _keep_golden(row: Adoptee) -> Adoptee:
    if row.outcome == "refused":
        return row
    error = InUse(f"Golden {row.name!r} still has clones that were adopted with it", hint="Their own lines say why.")
    return Adoptee(row.name, row.kind, row.golden, "refused", row.volume, error=error)


def _give_back(fleet: Fleet, takeover: Takeover, row: Adoptee) -> Adoptee:
    if row.outcome != "returnable":
        return row
    try:
        with fleet.locks.hold(row.name, verb="adopt --undo"):
            _give_back_one(fleet, takeover, row)
    except MoltfleetError as error:
        return Adoptee(row.name, row.kind, row.golden, "failed", row.volume, row.notes, error=error)
    return Adoptee(row.name, row.kind, row.golden, "returned", row.volume, row.notes, left=row.left)


def _give_back_one(fleet: Fleet, takeover: Takeover, row: Adoptee) -> None:
    domain = fleet.hypervisor.get(row.name)
    # Looked at again, now that nobody else works on it.
    current = _look(fleet, domain)
    origin = _origin(domain)
    if current.error is not None or origin is None:
        raise current.error or NotFound(f"Domain {row.name!r} is not adopted any more")
    clone = domain.record
    if isinstance(clone, CloneRecord):
        is_where_it_was = clone.top == origin.disk.rpartition("/")[2]
        disk = origin.disk if is_where_it_was else fleet.storage.path_of(clone.top)
        takeover.give_back(row.name, origin, disk=disk)
        record(Effect.ADOPT_RETURNED, row.name)
        return
    _check_no_clones(fleet, row.name)
    takeover.give_back(row.name, origin, disk=origin.disk)
    record(Effect.ADOPT_RETURNED, row.name)


def _check_no_clones(fleet: Fleet, golden: str) -> None:
    """Raises: InUse when one of them could not be given back."""
    left = sorted(d.name for d in fleet.hypervisor.domains() if _stands_on(d, golden))
    if left:
        raise InUse(f"Golden {golden!r} still has clones: {', '.join(left[:6])}", hint="Their own lines say why.")
