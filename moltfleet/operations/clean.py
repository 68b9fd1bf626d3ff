"""Take a clean point: freeze the disk right after a clone became ready, with its RAM when warm, and go on above it."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.domain import DomainState
from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import GuestFailed, MoltfleetError, WrongState
from moltfleet.model.records import CleanPoint, CloneRecord, Layer, Pending, Phase, Verb
from moltfleet.model.volumes import Stamp, ram_volume
from moltfleet.operations import after_molt, chains, layers, login_keeping, molting
from moltfleet.operations.clones import find_endpoint, get_clone
from moltfleet.operations.deadlines import Deadline, timeouts, timestamp
from moltfleet.operations.guest_scripts import Target, parse_answer, run_script
from moltfleet.operations.parallel import pause
from moltfleet.operations.power import power_off
from moltfleet.operations.ready import Guest, ready

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet

_POLL_S = 0.5


def take(
    fleet: Fleet, name: str, clone: CloneRecord, *, warm: bool, booted: bool = False, or_cold: bool = True
) -> CloneRecord:
    """Make the running clone's present state its clean point; returns the record that was written.

    ``booted`` says that the clone has only been booted on its clean point since. ``or_cold`` lets a state that cannot
    be saved become a cold clean point, which costs a boot; otherwise the guest runs on, and the reason is raised.

    The caller holds the clone's lock and has closed its logins. The clone runs on when this returns, on a fresh
    overlay. When what was saved does not come back, the clean point is cold, which is said.

    Raises: WrongState, with nothing changed, for a state that has held logins.
    """
    login_keeping.check_clean(name, clone)
    if warm:
        try:
            return _take_warm(fleet, name, clone, booted=booted)
        except MoltfleetError as error:
            return _fall_back(fleet, name, clone, error, or_cold=or_cold)
    return _take_cold(fleet, name, clone, is_awake=True)


def _take_warm(fleet: Fleet, name: str, clone: CloneRecord, *, booted: bool) -> CloneRecord:
    generation = _next_generation(fleet, name, clone)
    ram, nonce = ram_volume(name, generation), secrets.token_hex(16)
    # Before the guest is told: whoever finds this entry starts its timers again.
    clone = _journal(fleet, name, clone, ram, nonce=nonce)
    boot_id = _quiet(fleet, name, clone, nonce)
    fleet.storage.create_overlay(_target(clone), backing=clone.top)
    record(Effect.CLEAN_OVERLAID, name)
    fingerprint = fleet.hypervisor.fingerprint(name)
    fleet.hypervisor.save(name, ram)
    record(Effect.CLEAN_SAVED, name)
    clean = CleanPoint(
        stamps=_stamps(fleet, clone),
        taken_at=timestamp(fleet.clock),
        ram=ram,
        ram_generation=generation,
        fingerprint=fingerprint,
        nonce=nonce,
        boot_id=boot_id,
        booted=booted,
    )
    return resume(fleet, name, _commit(fleet, name, clone, clean))


def _next_generation(fleet: Fleet, name: str, clone: CloneRecord) -> int:
    """A number whose RAM image does not exist, not even as one that could not be deleted: saving overwrites."""
    generation = clone.clean.ram_generation + 1 if clone.clean else 1
    while fleet.storage.find(ram_volume(name, generation)) is not None:
        generation += 1
    return generation


def resume(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Let a guest that was saved go on from its new clean point, on the overlay that nothing has written to yet."""
    if clone.clean is None or clone.clean.ram is None:
        raise ValueError("not a warm clean point")
    fleet.hypervisor.restore(name, clone.clean.ram, disk=clone.top, record=clone)
    record(Effect.CLEAN_RESUMED, name)
    layers.check_live_chain(fleet, name, clone, clone.top)
    after_molt.run(fleet, name, clone)
    return finish(fleet, name, clone)


def is_resumable(fleet: Fleet, clone: CloneRecord) -> bool:
    """Whether RAM and disk of the clean point still belong to the same instant."""
    ram = clone.clean.ram if clone.clean else None
    return ram is not None and _is_unwritten_since(fleet, clone.top, ram)


def is_unused(fleet: Fleet, pending: Pending) -> bool:
    """Whether the guest was saved for a warm clean point, and nobody started it on the new layer since."""
    return any(_is_unwritten_since(fleet, pending.target, ram) for ram in pending.leftovers)


def _is_unwritten_since(fleet: Fleet, disk: str, ram: str) -> bool:
    # QEMU flushes the disk before the last of the RAM is written.
    written, saved = fleet.storage.find(disk), fleet.storage.find(ram)
    return written is not None and saved is not None and float(written.mtime) <= float(saved.mtime)


def _take_cold(fleet: Fleet, name: str, clone: CloneRecord, *, is_awake: bool) -> CloneRecord:
    has_agent = is_awake and fleet.hypervisor.agent_answers(name)
    clone = _journal(fleet, name, clone)
    target = _target(clone)
    fleet.storage.create_overlay(target, backing=clone.top)
    record(Effect.CLEAN_OVERLAID, name)
    if has_agent:
        fleet.hypervisor.freeze_disk(name, target)
        record(Effect.CLEAN_FROZEN, name)
    else:
        power_off(fleet, name)
        record(Effect.CLEAN_SHUT_DOWN, name)
    clone = commit_cold(fleet, name, clone)
    if not has_agent:
        fleet.hypervisor.start(name)
        record(Effect.CLEAN_RESUMED, name)
        with ready(fleet, Guest(name, lambda: find_endpoint(fleet, name, clone)), title=f"Restarting {name}"):
            pass
    layers.check_live_chain(fleet, name, clone, clone.top)
    return finish(fleet, name, clone)


def _quiet(fleet: Fleet, name: str, clone: CloneRecord, nonce: str) -> str:
    """Leave the nonce, drop caches, trim; returns the guest's boot id."""
    target = Target(name, find_endpoint(fleet, name, clone))
    result = run_script(
        fleet, target, "before-save.sh", input=lambda: f"{nonce}\n".encode(), timeout_s=timeouts(fleet).login
    )
    answer = parse_answer(result)
    if not answer.ok or not answer.boot_id:
        raise GuestFailed(f"Guest {name!r} could not be prepared for its clean point", details=answer.error)
    if target.endpoint is not None:
        # Dropping caches threw sshd out as well: one throw-away handshake saves each molt 0.1 s (measured, emulated).
        # A whole login, rehearsed, saved nothing more.
        fleet.guests.banner(target.endpoint, timeout_s=5.0)
    return answer.boot_id


def _journal(fleet: Fleet, name: str, clone: CloneRecord, *made: str, nonce: str | None = None) -> CloneRecord:
    """Write down what is about to be made, before any of it is there."""
    target, following = layers.new_overlay_name(fleet, name, clone)
    pending = Pending(
        verb=Verb.CLEAN,
        target=target,
        source=clone.top,
        started_at=timestamp(fleet.clock),
        leftovers=made,
        nonce=nonce,
        host_boot=fleet.hypervisor.host().boot_id or None,
    )
    clone = replace(clone, pending=pending, next_number=following)
    fleet.hypervisor.write_record(name, clone)
    record(Effect.CLEAN_JOURNALLED, name)
    return clone


def _target(clone: CloneRecord) -> str:
    if clone.pending is None:
        raise ValueError("no journal entry")
    return clone.pending.target


def _stamps(fleet: Fleet, clone: CloneRecord) -> tuple[Stamp, ...]:
    """The layer that is frozen now and those that it stands on, which were noted before.

    Those of the clean point before need not be among them: the clone may have gone back to a layer beside it.
    """
    noted = {stamp.volume: stamp for stamp in clone.frozen()}
    chain = chains.own_chain(fleet, clone, clone.top)
    return tuple(noted.get(volume) or layers.stamp(fleet, volume) for volume in chain)


def commit_cold(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Make the layer under the journalled overlay a cold clean point; it was frozen, or its guest is off."""
    generation = clone.clean.ram_generation if clone.clean else 0
    clean = CleanPoint(stamps=_stamps(fleet, clone), taken_at=timestamp(fleet.clock), ram_generation=generation)
    return _commit(fleet, name, clone, clean)


def _commit(fleet: Fleet, name: str, clone: CloneRecord, clean: CleanPoint) -> CloneRecord:
    """Point the definition at the overlay, then write the clean point: the moment from which it exists.

    A clone of which only the first start was missing is a ready one from here on.
    """
    target = _target(clone)
    fleet.hypervisor.set_disk(name, target)
    record(Effect.CLEAN_REDEFINED, name)
    phase = Phase.READY if clone.phase is Phase.DEFINED else clone.phase
    # Undo would go behind a clean point of the present state. A first one is of nobody's work.
    is_of_work = clean.ram and not clean.booted and clone.phase is not Phase.DEFINED
    shed = None if is_of_work else clone.shed
    in_use = {clean.ram, *(stamp.volume for stamp in clean.stamps)}
    outlived = dict.fromkeys((*clone.trash, *_outlived(clone, shed)))
    trash = tuple(volume for volume in outlived if volume not in in_use)
    clone = replace(clone, clean=clean, top=target, phase=phase, shed=shed, trash=trash)
    fleet.hypervisor.write_record(name, clone)
    record(Effect.CLEAN_RECORDED, name)
    return clone


def _outlived(clone: CloneRecord, shed: Layer | None) -> tuple[str, ...]:
    """What the clean point before needed, the shed layer unless that is ``shed``, and what was made in vain."""
    made = clone.pending.leftovers if clone.pending else ()
    ram = (clone.clean.ram,) if clone.clean and clone.clean.ram else ()
    frozen = tuple(stamp.volume for stamp in clone.clean.stamps) if clone.clean else ()
    return (*made, *ram, *frozen, *((clone.shed.volume,) if clone.shed and clone.shed != shed else ()))


def finish(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Close the journal."""
    clone = replace(clone, pending=None)
    fleet.hypervisor.write_record(name, clone)
    return molting.empty_trash(fleet, name, clone)


def _fall_back(fleet: Fleet, name: str, before: CloneRecord, error: MoltfleetError, *, or_cold: bool) -> CloneRecord:
    """Go on after a warm clean point failed, from wherever it got to."""
    _, current = get_clone(fleet, name)
    if current.top != before.top and current.pending is None:
        # It was taken; only the clearing away after it failed, and the next command does that.
        fleet.progress.warn(error.brief)
        return current
    if current.top == before.top and not or_cold:
        take_back(fleet, name, current)
        raise error
    fleet.progress.warn(f"Clone {name!r} gets a cold clean point: {error.brief}")
    if current.top != before.top:
        return go_on_cold(fleet, name, current, error.brief)
    if current.pending is not None:
        current = molting.roll_back(fleet, name, current)
    # Its timers were stopped for the save: only a boot brings all of it back.
    return _take_cold(fleet, name, current, is_awake=False)


def take_back(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Withdraw a clean point that was not written yet: the guest goes on where it was, with its RAM and its timers."""
    if clone.pending is None:
        return clone
    _await_save(fleet, name)
    fleet.hypervisor.set_disk(name, clone.pending.source)
    if not fleet.hypervisor.get(name).is_active:
        _bring_back(fleet, name, clone, clone.pending)
    if clone.pending.nonce is not None and fleet.hypervisor.get(name).is_active:
        _start_timers(fleet, name, clone, clone.pending.nonce)
    # Last: until then the journal tells of the timers.
    return molting.roll_back(fleet, name, clone)


def _await_save(fleet: Fleet, name: str) -> None:
    """Let a save end whose command was killed: libvirt goes on with it, and the guest is paused until it is off."""
    deadline = Deadline.after(fleet.clock, timeouts(fleet).shutdown)
    while fleet.hypervisor.get(name).state is DomainState.PAUSED and not deadline.has_passed:
        pause(fleet.clock, _POLL_S)


def _bring_back(fleet: Fleet, name: str, clone: CloneRecord, pending: Pending) -> None:
    """Restore the RAM of an interrupted clean point on the disk that it was saved with, if that is still the same.

    Not after the host was booted anew: what was being written then may have holes that nobody sees (docs/adr/0009).
    """
    if pending.host_boot is not None and pending.host_boot != fleet.hypervisor.host().boot_id:
        fleet.progress.warn(f"Clone {name!r} stays off: the host was booted anew while its RAM was being saved")
        return
    for ram in pending.leftovers:
        if not _is_unwritten_since(fleet, pending.source, ram):
            continue
        try:
            # Nothing may stand on a layer that is written to.
            layers.delete_layers(fleet, name, (pending.target,))
            fleet.hypervisor.restore(name, ram, disk=pending.source, record=clone)
            layers.check_live_chain(fleet, name, clone, pending.source)
        except MoltfleetError as error:
            # An image that was not finished, for one.
            fleet.progress.warn(f"Clone {name!r} stays off: its RAM cannot be brought back: {error.brief}")
            fleet.hypervisor.destroy(name)


def _start_timers(fleet: Fleet, name: str, clone: CloneRecord, nonce: str) -> None:
    try:
        after_molt.wake(fleet, name, clone, nonce)
    except GuestFailed:
        # It was never prepared, or was booted since: its timers run.
        return
    except MoltfleetError as error:
        fleet.progress.warn(
            f"Timers of guest {name!r} may be stopped: {error.brief}", hint=f"Restart it: moltfleet restart {name}"
        )


def go_on_cold(fleet: Fleet, name: str, current: CloneRecord, reason: str) -> CloneRecord:
    """Keep the frozen disk of a clean point whose RAM did not come back, and boot from it."""
    if current.clean is None:
        raise WrongState(f"Clean point of {name!r} was interrupted")
    ram = (current.clean.ram,) if current.clean.ram else ()
    cold = replace(current.clean, ram=None, fingerprint=None, nonce=None, boot_id=None)
    current = replace(current, clean=cold, pending=None, trash=(*current.trash, *ram))
    # Nobody worked on the layer that was to go on; shed, it would push out one that somebody did work on.
    current = molting.journal(fleet, name, current, None, drops_source=True)
    watch = molting.Stopwatch(fleet, fleet.clock.monotonic())
    current, _ = molting.perform(fleet, name, current, reason=reason, watch=watch)
    return current
