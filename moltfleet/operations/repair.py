"""Finish or take back what an interrupted command left behind; every changing command does this first, and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moltfleet.model.errors import Busy, GuestFailed, MoltfleetError, NotFound, WrongState
from moltfleet.model.records import BuildRecord, CloneRecord, GoldenRecord, Pending, Phase, Record, Verb
from moltfleet.operations import (
    admission,
    after_molt,
    clean,
    freezing,
    layers,
    login_keeping,
    molting,
    moving,
    removing,
    swapping,
)
from moltfleet.operations.clones import find_endpoint, get_clone
from moltfleet.operations.deadlines import hours_since
from moltfleet.operations.ready import Guest, ready

if TYPE_CHECKING:
    from moltfleet.model.domain import Domain
    from moltfleet.operations.fleet import Fleet


def repair_clone(fleet: Fleet, name: str, *, spares_shed: bool = False, for_molt: bool = False) -> None:
    """Bring one clone, whose lock the caller holds, to a state without an unfinished act.

    A shed layer that stayed for long enough goes as well, unless the caller is about to use it. ``for_molt`` spares
    a boot that the caller's molt would make worthless: a molt that has to be done again is left to it.
    Raises: NotFound when the unfinished act was its creation or deletion, so that it is gone now.
    """
    domain, clone = get_clone(fleet, name)
    if clone.phase is Phase.CREATING or (clone.pending and clone.pending.verb is Verb.DELETE):
        _finish_removal(fleet, name, clone)
        raise NotFound(f"Clone {name!r} is gone: its interrupted {_removal(clone)} was cleared away")
    if clone.pending is not None:
        _finish_or_take_back(fleet, domain, clone, clone.pending, for_molt=for_molt)
        _, clone = get_clone(fleet, name)
    clone = molting.empty_trash(fleet, name, clone)
    if not spares_shed:
        _expire_shed(fleet, name, clone)


def _expire_shed(fleet: Fleet, name: str, clone: CloneRecord) -> None:
    hours = fleet.config.shed_hours
    if clone.shed is not None and hours_since(fleet.clock, clone.shed.replaced_at) >= hours:
        fleet.progress.say(f"Shed layer {clone.shed.volume!r} of {name!r} has stayed for {hours:g} hours and goes")
        molting.drop_shed(fleet, name, clone)


def _finish_or_take_back(fleet: Fleet, domain: Domain, clone: CloneRecord, pending: Pending, *, for_molt: bool) -> None:
    # Most of it boots or restores the guest; a command that is about to do so itself keeps room already.
    with admission.room(fleet, domain.name, with_disk=False):
        _settle(fleet, domain, clone, pending, for_molt=for_molt)


def _settle(fleet: Fleet, domain: Domain, clone: CloneRecord, pending: Pending, *, for_molt: bool) -> None:
    if pending.verb is Verb.MOLT:
        _repair_molt(fleet, domain, clone, pending, for_molt=for_molt)
    elif pending.verb is Verb.SNAPSHOT:
        fleet.progress.say(f"Finishing an interrupted snapshot of {domain.name!r}, or taking it back")
        freezing.settle(fleet, domain, clone)
    elif pending.verb is Verb.MOVE:
        fleet.progress.say(f"Taking back an interrupted change of layers of {domain.name!r}")
        if not _runs_on(fleet, domain, pending.source):
            # It may have got its logins on the new layer already, and have renewed them there since.
            login_keeping.pull_back(fleet, domain.name, clone, login_keeping.Account())
        moving.take_back(fleet, domain.name, molting.rescue(fleet, domain.name, clone))
    elif pending.verb is Verb.UNDO:
        _repair_swap(fleet, domain, clone, pending, for_molt=for_molt)
    else:
        _repair_clean(fleet, domain, clone)
        login_keeping.give_back(fleet, domain.name)


def _removal(clone: CloneRecord) -> str:
    return "creation" if clone.phase is Phase.CREATING else "deletion"


def _finish_removal(fleet: Fleet, name: str, clone: CloneRecord) -> None:
    fleet.progress.say(f"Clearing away the interrupted {_removal(clone)} of {name!r}")
    # It may have run on since its deletion was cut off.
    login_keeping.pull_back(fleet, name, clone, login_keeping.Account())
    removing.remove_clone(fleet, name, clone)


def _repair_swap(fleet: Fleet, domain: Domain, clone: CloneRecord, pending: Pending, *, for_molt: bool) -> None:
    """Finish it, or leave the clone where it was: a layer that does not boot must not stand in the way of a molt."""
    name = domain.name
    is_worked_on = molting.is_worked_on(fleet, pending)
    if for_molt and not is_worked_on and not _runs_on(fleet, domain, pending.target):
        fleet.progress.say(f"Withdrawing an interrupted undo of {name!r}; nothing was lost")
        swapping.withdraw(fleet, name, clone)
        return
    fleet.progress.say(f"Finishing an interrupted undo of {name!r}")
    try:
        swapping.perform(fleet, name, clone)
    except MoltfleetError as error:
        _, left = get_clone(fleet, name)
        if left.pending is not None:
            raise
        fleet.progress.warn(f"The interrupted undo of {name!r} was taken back: {error.brief}")
        if is_worked_on and pending.target not in {layer.volume for layer in left.kept}:
            fleet.hypervisor.write_record(name, molting.keep(fleet, name, left, pending.target))


def _runs_on(fleet: Fleet, domain: Domain, volume: str) -> bool:
    return domain.is_active and domain.active_disk == fleet.storage.path_of(volume)


def _repair_molt(fleet: Fleet, domain: Domain, clone: CloneRecord, pending: Pending, *, for_molt: bool) -> None:
    """Undo it while the guest runs on its old layer, finish it on its new one; else again, on yet another overlay."""
    name = domain.name
    if _runs_on(fleet, domain, pending.source):
        fleet.progress.say(f"Taking back an interrupted molt of {name!r}; nothing was lost")
        molting.roll_back(fleet, name, clone)
        return
    if for_molt:
        fleet.progress.say(f"Going on with an interrupted molt of {name!r}")
        _check_still_clean(fleet, name, clone)
        return
    fleet.progress.say(f"Finishing an interrupted molt of {name!r}")
    if _runs_on(fleet, domain, pending.target) and molting.adopt(fleet, name, clone):
        return
    _check_still_clean(fleet, name, clone)
    _molt_again(fleet, name, clone)


def _molt_again(fleet: Fleet, name: str, clone: CloneRecord) -> None:
    clone = molting.take_over(fleet, name, clone, None)
    watch = molting.Stopwatch(fleet, fleet.clock.monotonic())
    reason = molting.cold_reason(fleet, name, clone.clean) if clone.clean else "it has no clean point"
    try:
        molting.perform(fleet, name, clone, reason=reason, watch=watch)
    except MoltfleetError:
        fleet.progress.warn(
            f"The interrupted molt of {name!r} cannot be finished",
            hint=f"Molt it again: moltfleet molt {name}. Or take it back: moltfleet undo {name}",
        )
        raise


def _check_still_clean(fleet: Fleet, name: str, clone: CloneRecord) -> None:
    """Go back to the old layer when there is no clean one to finish on. Raises: WrongState."""
    if clone.clean is None:
        return
    try:
        layers.check_frozen(fleet, name, clone.clean)
    except WrongState:
        login_keeping.pull_back(fleet, name, clone, login_keeping.Account())
        fleet.hypervisor.destroy(name)
        molting.roll_back(fleet, name, molting.rescue(fleet, name, clone))
        raise


def _repair_clean(fleet: Fleet, domain: Domain, clone: CloneRecord) -> None:
    """Finish a clean point whose disk is frozen; take one back that is not, leaving the clone on its old layer."""
    if clone.pending is None:
        return
    name, target = domain.name, clone.pending.target
    if clone.top != target and not _is_above(fleet, domain, clone.pending):
        fleet.progress.say(f"Taking back an interrupted clean point of {name!r}")
        clean.take_back(fleet, name, clone)
        return
    fleet.progress.say(f"Finishing an interrupted clean point of {name!r}")
    if clone.top != target:
        clone = clean.commit_cold(fleet, name, clone)
    if domain.is_active:
        layers.check_live_chain(fleet, name, clone, clone.top)
        if _wake(fleet, name, clone):
            clean.finish(fleet, name, clone)
        return
    if clean.is_resumable(fleet, clone):
        _resume(fleet, name, clone)
        return
    fleet.hypervisor.start(name)
    with ready(fleet, Guest(name, lambda: find_endpoint(fleet, name, clone)), title=f"Booting {name}"):
        pass
    layers.check_live_chain(fleet, name, clone, clone.top)
    clean.finish(fleet, name, clone)


def _is_above(fleet: Fleet, domain: Domain, pending: Pending) -> bool:
    """Whether the guest went over to the new layer, so that the old one is frozen."""
    target = fleet.storage.path_of(pending.target)
    if domain.is_active:
        return domain.active_disk == target
    return domain.inactive_disk == target and not clean.is_unused(fleet, pending)


def _resume(fleet: Fleet, name: str, clone: CloneRecord) -> None:
    try:
        clean.resume(fleet, name, clone)
    except MoltfleetError as error:
        fleet.progress.warn(f"Clone {name!r} gets a cold clean point: {error.brief}")
        clean.go_on_cold(fleet, name, get_clone(fleet, name)[1], error.brief)


def _wake(fleet: Fleet, name: str, clone: CloneRecord) -> bool:
    """Do the work after a restore that the interrupted command may not have come to: timers, clock, randomness.

    Returns False when the guest could not be talked to: its timers may stand still, and the journal stays open, so
    that the next command tries again. A molt, a stop or a deletion goes on all the same.
    """
    if clone.clean is None or clone.clean.nonce is None:
        return True
    try:
        after_molt.run(fleet, name, clone)
    except after_molt.OtherBoot:
        # Somebody booted it meanwhile: there is nothing to wake.
        return True
    except GuestFailed as error:
        fleet.progress.warn(f"Guest {name!r} is not what its clean point says, and may be restarted: {error.brief}")
        return True
    except MoltfleetError as error:
        fleet.progress.warn(
            f"Timers of guest {name!r} may be stopped: {error.brief}",
            hint=f"The next command tries again; a restart helps, too: moltfleet restart {name}",
        )
        return False
    return True


def sweep(fleet: Fleet) -> None:
    """Clear away interrupted creations, deletions and golden builds that nobody works on any more."""
    for domain in fleet.hypervisor.domains():
        if is_abandoned(domain.record):
            _sweep_one(fleet, domain)


def is_abandoned(record: Record | None) -> bool:
    """Whether the record is of something that exists only while its command runs; its lock tells whether it does."""
    if isinstance(record, CloneRecord):
        return record.phase is Phase.CREATING or (record.pending is not None and record.pending.verb is Verb.DELETE)
    return isinstance(record, BuildRecord) or (
        isinstance(record, GoldenRecord) and (record.deleting or bool(record.going))
    )


def _sweep_one(fleet: Fleet, seen: Domain) -> None:
    try:
        clear_abandoned(fleet, seen)
    except Busy:
        # Its owner is still at work.
        return
    except MoltfleetError as error:
        # Other people's leftovers are no reason to refuse what was asked for.
        fleet.progress.warn(f"{seen.name!r} could not be cleared away: {error.brief}", hint=error.hint)


def clear_abandoned(fleet: Fleet, seen: Domain) -> None:
    """Clear one interrupted creation, deletion or build away, if it is one still. Raises: Busy, InUse."""
    with fleet.locks.hold(lock_of(seen), verb="repair"):
        # Read again: its command may have finished between the listing and the lock.
        domain = fleet.hypervisor.find(seen.name)
        if domain is not None and is_abandoned(domain.record):
            _remove_abandoned(fleet, domain)


def lock_of(domain: Domain) -> str:
    """What the command on a domain holds: scratch domains go with their golden's lock."""
    record = domain.record
    if isinstance(record, BuildRecord) or (isinstance(record, CloneRecord) and record.probe):
        return record.golden
    return domain.name


def _remove_abandoned(fleet: Fleet, domain: Domain) -> None:
    name, record = domain.name, domain.record
    if isinstance(record, CloneRecord):
        _finish_removal(fleet, name, record)
    elif isinstance(record, BuildRecord):
        fleet.progress.say(f"Clearing away an interrupted build of golden {record.golden!r}")
        removing.remove_scratch(fleet, name, record)
    elif isinstance(record, GoldenRecord) and not record.deleting:
        fleet.progress.say(f"Finishing the interrupted deletion of old generations of {name!r}")
        removing.remove_generations(fleet, name, record)
    elif isinstance(record, GoldenRecord):
        fleet.progress.say(f"Finishing the interrupted deletion of golden {name!r}")
        removing.remove_golden(fleet, name, record)
