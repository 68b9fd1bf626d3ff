"""Give running clones the logins of this machine's user, bring renewed ones back, or take them away again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import InvalidInput, MoltfleetError, ToolFailed, WrongState
from moltfleet.model.logins import LoginEntry, LoginsResult, SyncRequest
from moltfleet.model.records import CloneRecord, Phase, SyncedLogins
from moltfleet.operations import login_keeping, login_sharing, repair
from moltfleet.operations.clones import clone_names, get_clone
from moltfleet.operations.login_keeping import Account, connect, merge, note_layer, push
from moltfleet.operations.parallel import each

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet

_OUTCOMES = {"push": "synced", "pull": "pulled", "forget": "forgotten"}


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What became of one clone. ``outcome`` is "synced", "pulled", "forgotten" or "failed"."""

    clone: str
    outcome: str
    logins: LoginsResult
    seconds: float = 0.0
    error: MoltfleetError | None = None


def plan_sync(fleet: Fleet, patterns: Sequence[str], request: SyncRequest) -> tuple[str, ...]:
    """Say, one line per clone, what would happen; asks no guest. Raises: NotFound, InvalidInput."""
    names = clone_names(fleet, patterns)
    lines = []
    for name in names:
        _, clone = get_clone(fleet, name)
        if request.act == "forget":
            gone = ", ".join(_to_forget(clone, request)) or "nothing"
            lines.append(f"{name}: would pull back what it renewed, take away {gone}, and not get it again")
            continue
        entries = _wanted(fleet, request)
        pulled = ", ".join(entry.name for entry in entries if entry.rotates) or "nothing"
        lines.append(f"{name}: would pull back {pulled} if it is newer there")
        if request.act == "push":
            lines.append(f"{name}: would get {', '.join(entry.name for entry in entries)}, now and after every molt")
    return tuple(lines)


def sync_auth(fleet: Fleet, patterns: Sequence[str], request: SyncRequest) -> tuple[SyncResult, ...]:
    """Do it for every named clone; a failure of one leaves the others. Raises: NotFound, InvalidInput."""
    names = clone_names(fleet, patterns)
    if request.act != "forget":
        _wanted(fleet, request)
    acts = {"push": _push, "pull": _pull, "forget": _forget}

    def act(name: str) -> SyncResult:
        started, account = fleet.clock.monotonic(), Account()
        error: MoltfleetError | None = None
        try:
            with fleet.locks.hold(name, verb="sync the logins of"), fleet.progress.step(f"Syncing logins of {name}"):
                repair.repair_clone(fleet, name)
                acts[request.act](fleet, name, request, account)
        except MoltfleetError as failure:
            error = failure
        outcome = "failed" if error else _OUTCOMES[request.act]
        told = account.result() or LoginsResult()
        return SyncResult(name, outcome, told, fleet.clock.monotonic() - started, error)

    return each(names, act, jobs=fleet.config.jobs)


def _push(fleet: Fleet, name: str, request: SyncRequest, account: Account) -> None:
    entries = _wanted(fleet, request)
    _, clone = get_clone(fleet, name)
    if clone.clean is None or clone.phase is not Phase.READY:
        raise WrongState(
            f"Clone {name!r} has no clean point yet, and none may hold logins",
            hint=f"Its first start takes one: moltfleet start {name}",
        )
    with connect(fleet, name) as wire:
        # Before any is there: whatever happens now, no clean point is made of it.
        clone = _remember(fleet, name, clone, entries)
        has = merge(fleet, name, wire, [entry for entry in entries if entry.rotates], account)
        push(fleet, name, wire, entries, account, has=has)
    _warn_of_sharing(fleet, name, entries, account)


def _remember(fleet: Fleet, name: str, clone: CloneRecord, entries: Sequence[LoginEntry]) -> CloneRecord:
    me = fleet.host_logins.owner()
    known = clone.logins or SyncedLogins((), me)
    if known.names and known.by != me:
        raise WrongState(
            f"Clone {name!r} holds logins of {known.by}",
            hint=f"They go first: moltfleet sync-auth {name} --forget",
        )
    names = tuple(dict.fromkeys((*known.names, *(entry.name for entry in entries))))
    if (names, me) != (known.names, known.by):
        clone = replace(clone, logins=replace(known, names=names, by=me))
        fleet.hypervisor.write_record(name, clone)
        record(Effect.LOGINS_NOTED, name)
    return note_layer(fleet, name, clone)


def _pull(fleet: Fleet, name: str, request: SyncRequest, account: Account) -> None:
    with connect(fleet, name) as wire:
        merge(fleet, name, wire, [entry for entry in _wanted(fleet, request) if entry.rotates], account)


def _forget(fleet: Fleet, name: str, request: SyncRequest, account: Account) -> None:
    domain, clone = get_clone(fleet, name)
    gone = _to_forget(clone, request)
    if clone.logins is None or not gone:
        account.notes.append("it has none of them")
        return
    if domain.is_active:
        known = fleet.config.logins.entries()
        entries = [known[entry] for entry in gone if entry in known]
        with connect(fleet, name) as wire:
            if login_keeping.are_ours(fleet, clone.logins, account):
                # Allowed still or not: what cannot be brought back is not taken away.
                merge(fleet, name, wire, [entry for entry in entries if entry.rotates], account)
            wire.remove(path for entry in entries for path in entry.files)
    else:
        account.notes.append("it is off: their files stay on its disk until it molts")
    names = tuple(entry for entry in clone.logins.names if entry not in gone)
    fleet.hypervisor.write_record(name, replace(clone, logins=replace(clone.logins, names=names)))
    record(Effect.LOGINS_NOTED, name)


def _to_forget(clone: CloneRecord, request: SyncRequest) -> tuple[str, ...]:
    names = clone.logins.names if clone.logins else ()
    return tuple(name for name in names if not request.only or name in request.only)


def _wanted(fleet: Fleet, request: SyncRequest) -> tuple[LoginEntry, ...]:
    """What is asked for and allowed. Raises: InvalidInput."""
    logins = fleet.config.logins
    known, example = logins.entries(), 'Name it in moltfleet.toml: [logins] allow = ["claude", "git"].'
    if not logins.allow:
        raise InvalidInput("No login may be given to clones", hint=f"{example} There are {', '.join(sorted(known))}.")
    for name in request.only:
        if name not in logins.allow:
            raise InvalidInput(f"Login {name!r} may not be given to clones", hint=example)
    return tuple(known[name] for name in dict.fromkeys(request.only or logins.allow))


def _warn_of_sharing(fleet: Fleet, name: str, entries: Sequence[LoginEntry], account: Account) -> None:
    """Tell of other clones with the same renewed login: whoever renews it first may log the others out."""
    domains = fleet.hypervisor.domains()
    for entry in entries:
        others = [other for other in login_sharing.holders(fleet, domains, entry.name) if other != name]
        if others and entry.name in account.pushed and _renews(fleet, entry):
            text = f"login {entry.name!r} is in {', '.join(others)}, too: whoever renews it may log the others out"
            account.notes.append(text)
            fleet.progress.warn(text[0].upper() + text[1:], hint="docs/logins.md says how clones get one each.")


def _renews(fleet: Fleet, entry: LoginEntry) -> bool:
    """Whether it is one that renews itself; one that cannot be read any more counts as such, as it was pushed."""
    try:
        return login_sharing.renews(fleet, entry)
    except (InvalidInput, ToolFailed):
        return entry.rotates
