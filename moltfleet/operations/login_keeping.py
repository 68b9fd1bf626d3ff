"""What a clone keeps although its state is thrown away: logins pulled back first and pushed again, keys let in again.

A guest that does not answer stops nothing; that is told. A host that cannot store what came does: else it were lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from moltfleet.model.domain import DomainState
from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import (
    DeadlinePassed,
    GuestFailed,
    GuestUnreachable,
    InvalidInput,
    MoltfleetError,
    ToolFailed,
    WrongState,
)
from moltfleet.model.logins import LoginEntry, LoginFile, LoginsResult, Winner
from moltfleet.operations.authorise import let_in
from moltfleet.operations.clones import endpoint, get_clone
from moltfleet.operations.deadlines import timeouts
from moltfleet.operations.guest import login
from moltfleet.operations.guest_scripts import describe_failure
from moltfleet.operations.login_transfer import SCRIPT, Wire

if TYPE_CHECKING:
    from moltfleet.model.records import CloneRecord, SyncedLogins
    from moltfleet.operations.fleet import Fleet

# How long a guest may take, before the factor for emulated ones: it may be as good as dead, and is to be molted.
_PATIENCE_S = 15.0
# What a guest is at fault for, and no reason to stop.
_GUESTS_FAULTS = (GuestUnreachable, DeadlinePassed, GuestFailed, WrongState)


@dataclass(slots=True)
class Account:
    """What was done about one clone's logins on the way, by name."""

    pulled: list[str] = field(default_factory=list)
    pushed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def result(self) -> LoginsResult | None:
        """What there is to tell; None for nothing at all."""
        if not (self.pulled or self.pushed or self.notes):
            return None
        return LoginsResult(*(tuple(dict.fromkeys(told)) for told in (self.pulled, self.pushed, self.notes)))


def pull_back(fleet: Fleet, name: str, clone: CloneRecord, account: Account) -> None:
    """Bring back what the running guest renewed, before its power goes. The caller holds the clone's lock.

    Raises: ToolFailed, NoSpace when this machine cannot store it; nothing of the guest's is lost then.
    """
    entries = [entry for entry in _entries(fleet, clone.logins, account) if entry.rotates]
    if not entries or not _is_at_work(fleet, name, clone, account):
        return
    try:
        with connect(fleet, name) as wire:
            merge(fleet, name, wire, entries, account)
    except _GUESTS_FAULTS as error:
        _note(fleet, account, f"logins of {name!r} were not pulled back: {describe_failure(error)}")


def put_back(
    fleet: Fleet, name: str, clone: CloneRecord, account: Account, *, looks_first: bool = False
) -> CloneRecord:
    """Give a guest that has just come up what it is to have; returns the record, which names the layer they are in.

    ``looks_first`` is for a guest that may have versions of its own, as after an undo. Whatever fails is told.
    """
    entries = _entries(fleet, clone.logins, account)
    if not entries and not clone.keys:
        return clone
    if entries:
        clone = note_layer(fleet, name, clone)
    try:
        if clone.keys:
            let_in(fleet, endpoint(fleet, name), clone.keys)
        if entries:
            with connect(fleet, name) as wire:
                looked_at = [entry for entry in entries if entry.rotates and looks_first]
                has = merge(fleet, name, wire, looked_at, account)
                push(fleet, name, wire, entries, account, has=has)
    except MoltfleetError as error:
        _note(fleet, account, f"not all of what {name!r} keeps was given to it: {describe_failure(error)}")
    return clone


def give_back(fleet: Fleet, name: str) -> None:
    """As :func:`put_back` of a guest that went through a clean point of its bare state; one that is off is left so."""
    with suppress(MoltfleetError):
        domain, clone = get_clone(fleet, name)
        if domain.is_active and clone.pending is None:
            put_back(fleet, name, clone, Account(), looks_first=True)


def merge(fleet: Fleet, name: str, wire: Wire, entries: Sequence[LoginEntry], account: Account) -> Mapping[str, bytes]:
    """Let the newer of guest and host win, file by file; the host has the winner afterwards.

    Returns what the guest has, by path. Raises: as the ports.
    """
    owners = {path: entry for entry in entries for path in entry.files}
    found = wire.look(tuple(owners))
    for file in found:
        entry = owners[file.path]
        merged = fleet.host_logins.merge(entry, file, clone=name)
        if merged.winner is Winner.GUEST:
            account.pulled.append(entry.name)
            record(Effect.LOGINS_PULLED, name)
        if merged.kept is not None:
            loser = "this machine's" if merged.winner is Winner.GUEST else f"that of {name!r}"
            fleet.progress.say(f"Login {entry.name!r}: {loser} is the older one, and is kept as {merged.kept}")
    return {file.path: file.content for file in found}


def push(
    fleet: Fleet,
    name: str,
    wire: Wire,
    entries: Sequence[LoginEntry],
    account: Account,
    *,
    has: Mapping[str, bytes],
) -> None:
    """Write into the guest what this machine has of each. Raises: GuestFailed, GuestUnreachable, DeadlinePassed.

    What the guest ``has`` already is left alone: a tool there may renew it at this very moment.
    """
    files: list[LoginFile] = []
    found_of = []
    for entry in entries:
        try:
            found = fleet.host_logins.read(entry)
        except (InvalidInput, ToolFailed) as error:
            _note(fleet, account, f"login {entry.name!r} cannot be pushed: {describe_failure(error)}")
            continue
        if found:
            files += (file for file in found if has.get(file.path) != file.content)
            found_of.append(entry.name)
        else:
            account.notes.append(f"this machine has no login {entry.name!r}")
    wire.put(files)
    account.pushed += found_of
    if files:
        record(Effect.LOGINS_PUSHED, name)


@contextmanager
def connect(fleet: Fleet, name: str) -> Iterator[Wire]:
    """Log in to a running clone, for as long as a guest that is to be molted is worth. Raises: as a login."""
    factor = timeouts(fleet).login / fleet.config.timeouts.login
    patience = min(_PATIENCE_S * factor, timeouts(fleet).login)
    script = fleet.bootstrap.read(SCRIPT).decode()
    with login(fleet, endpoint(fleet, name), timeout_s=patience) as session:
        yield Wire(session, script, fleet.clock, patience)


def note_layer(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Write down that the clone's new layer holds logins, before any is in it."""
    if clone.logins is None:
        return clone
    layer = clone.pending.target if clone.pending else clone.top
    there = clone.volumes()
    layers = tuple(dict.fromkeys((*(known for known in clone.logins.layers if known in there), layer)))
    if layers != clone.logins.layers:
        clone = replace(clone, logins=replace(clone.logins, layers=layers))
        fleet.hypervisor.write_record(name, clone)
        record(Effect.LOGINS_NOTED, name)
    return clone


def check_clean(name: str, clone: CloneRecord) -> None:
    """Refuse to freeze a state that has held logins: they would come back with every molt (D6). Raises: WrongState."""
    if clone.logins is not None and clone.top in clone.logins.layers:
        raise WrongState(
            f"Clone {name!r} holds logins, and no clean point ever does",
            hint=f"Take them away and molt it first: moltfleet sync-auth {name} --forget, then moltfleet molt {name}",
        )


def _entries(fleet: Fleet, logins: SyncedLogins | None, account: Account) -> list[LoginEntry]:
    """What the clone is to have, as far as it is this user's and allowed still."""
    if logins is None or not logins.names:
        return []
    if not are_ours(fleet, logins, account):
        return []
    wanted, known = fleet.config.logins, fleet.config.logins.entries()
    for name in logins.names:
        if name not in wanted.allow:
            account.notes.append(f"login {name!r} is not allowed any more")
    return [known[name] for name in logins.names if name in wanted.allow]


def are_ours(fleet: Fleet, logins: SyncedLogins, account: Account) -> bool:
    """Whether they are this user's; noted when they are another's."""
    if logins.by == fleet.host_logins.owner():
        return True
    account.notes.append(f"its logins are those of {logins.by}, who alone can pull and push them")
    return False


def _is_at_work(fleet: Fleet, name: str, clone: CloneRecord, account: Account) -> bool:
    """Whether the guest runs on a layer that it worked on, and not on one that has just been made for it.

    After a molt that was cut off at its very end that is one which is not yet on record as its top.
    """
    domain, _ = get_clone(fleet, name)
    if not domain.is_active:
        account.notes.append("it was off: its logins could not be pulled back")
        return False
    if domain.state is DomainState.PAUSED:
        account.notes.append("it was paused: its logins could not be pulled back")
        return False
    held = clone.logins.layers if clone.logins else ()
    return domain.active_disk in {fleet.storage.path_of(layer) for layer in (clone.top, *held)}


def _note(fleet: Fleet, account: Account, text: str) -> None:
    account.notes.append(text)
    fleet.progress.warn(text[0].upper() + text[1:])
