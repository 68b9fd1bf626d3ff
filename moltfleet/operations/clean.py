"""Take a clean point: freeze the disk right after a clone became ready, with its RAM when warm, and go on above it."""

from __future__ import annotations

import secrets
from dataclasses import replace

from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import GuestFailed, MoltfleetError, WrongState
from moltfleet.model.records import CleanPoint, CloneRecord, Pending, Phase, Verb
from moltfleet.model.volumes import Stamp, ram_volume
from moltfleet.operations import after_molt, layers, molting
from moltfleet.operations.clones import find_endpoint, get_clone
from moltfleet.operations.deadlines import timeouts, timestamp
from moltfleet.operations.fleet import Fleet
from moltfleet.operations.guest_scripts import Target, parse_answer, run_script
from moltfleet.operations.power import power_off
from moltfleet.operations.ready import Guest, ready


def take(fleet: Fleet, name: str, clone: CloneRecord, *, warm: bool, booted: bool = False) -> CloneRecord:
    """Make the running clone's present state its clean point; returns the record that was written.

    ``booted`` says that the clone has only been booted on its clean point since.

    The caller holds the clone's lock and has closed its logins. The clone runs on when this returns, on a fresh
    overlay. Warm falls back to cold, and says why, when the state cannot be saved.
    """
    if warm:
        try:
            return _take_warm(fleet, name, clone, booted=booted)
        except MoltfleetError as error:
            return _fall_back(fleet, name, clone, error)
    return _take_cold(fleet, name, clone, is_awake=True)


def _take_warm(fleet: Fleet, name: str, clone: CloneRecord, *, booted: bool) -> CloneRecord:
    generation = clone.clean.ram_generation + 1 if clone.clean else 1
    ram = ram_volume(name, generation)
    nonce = secrets.token_hex(16)
    boot_id = _quiet(fleet, name, clone, nonce)
    clone = _journal(fleet, name, clone, ram)
    target = _target(clone)
    fleet.storage.create_overlay(target, backing=clone.top)
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
    clone = _commit(fleet, name, clone, clean)
    fleet.hypervisor.restore(name, ram, disk=target, record=clone)
    record(Effect.CLEAN_RESUMED, name)
    layers.check_live_chain(fleet, name, clone, clone.top)
    after_molt.run(fleet, name, clone)
    return finish(fleet, name, clone)


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
    result = run_script(fleet, target, "before-save.sh", input=f"{nonce}\n".encode(), timeout_s=timeouts(fleet).login)
    answer = parse_answer(result)
    if not answer.ok or not answer.boot_id:
        raise GuestFailed(f"Guest {name!r} could not be prepared for its clean point", details=answer.error)
    if target.endpoint is not None:
        # Dropping caches threw sshd out as well: one throw-away handshake saves each molt 0.1 s (measured, emulated).
        fleet.guests.banner(target.endpoint, timeout_s=5.0)
    return answer.boot_id


def _journal(fleet: Fleet, name: str, clone: CloneRecord, *made: str) -> CloneRecord:
    """Write down what is about to be made, before any of it is there."""
    target, following = layers.new_overlay_name(fleet, name, clone)
    started_at = timestamp(fleet.clock)
    pending = Pending(verb=Verb.CLEAN, target=target, source=clone.top, started_at=started_at, leftovers=made)
    clone = replace(clone, pending=pending, next_number=following)
    fleet.hypervisor.write_record(name, clone)
    record(Effect.CLEAN_JOURNALLED, name)
    return clone


def _target(clone: CloneRecord) -> str:
    if clone.pending is None:
        raise ValueError("no journal entry")
    return clone.pending.target


def _stamps(fleet: Fleet, clone: CloneRecord) -> tuple[Stamp, ...]:
    """The layer that is frozen now, above those that were before."""
    return (layers.stamp(fleet, clone.top), *(clone.clean.stamps if clone.clean else ()))


def commit_cold(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Make the layer under the journalled overlay a cold clean point; it was frozen, or its guest is off."""
    clean = CleanPoint(stamps=_stamps(fleet, clone), taken_at=timestamp(fleet.clock))
    return _commit(fleet, name, clone, clean)


def _commit(fleet: Fleet, name: str, clone: CloneRecord, clean: CleanPoint) -> CloneRecord:
    """Point the definition at the overlay, then write the clean point: the moment from which it exists.

    A clone of which only the first start was missing is a ready one from here on.
    """
    target = _target(clone)
    fleet.hypervisor.set_disk(name, target)
    record(Effect.CLEAN_REDEFINED, name)
    phase = Phase.READY if clone.phase is Phase.DEFINED else clone.phase
    old_ram = (clone.clean.ram,) if clone.clean and clone.clean.ram else ()
    clone = replace(clone, clean=clean, top=target, phase=phase, trash=(*clone.trash, *old_ram))
    fleet.hypervisor.write_record(name, clone)
    record(Effect.CLEAN_RECORDED, name)
    return clone


def finish(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Close the journal."""
    clone = replace(clone, pending=None)
    fleet.hypervisor.write_record(name, clone)
    return molting.empty_trash(fleet, name, clone)


def _fall_back(fleet: Fleet, name: str, before: CloneRecord, error: MoltfleetError) -> CloneRecord:
    """Go on after a warm clean point failed, from wherever it got to."""
    _, current = get_clone(fleet, name)
    if current.top != before.top and current.pending is None:
        # It was taken; only the clearing away after it failed, and the next command does that.
        fleet.progress.warn(error.brief)
        return current
    fleet.progress.warn(f"Clone {name!r} gets a cold clean point: {error.brief}")
    if current.top != before.top:
        return _go_on_cold(fleet, name, current, error.brief)
    if current.pending is not None:
        current = molting.roll_back(fleet, name, current)
    # Its timers were stopped for the save: only a boot brings all of it back.
    return _take_cold(fleet, name, current, is_awake=False)


def _go_on_cold(fleet: Fleet, name: str, current: CloneRecord, reason: str) -> CloneRecord:
    """Keep the frozen disk of a clean point whose RAM did not come back, and boot from it."""
    if current.clean is None:
        raise WrongState(f"Clean point of {name!r} was interrupted")
    ram = (current.clean.ram,) if current.clean.ram else ()
    cold = replace(current.clean, ram=None, fingerprint=None, nonce=None, boot_id=None)
    current = replace(current, clean=cold, pending=None, trash=(*current.trash, *ram))
    # Kept for a moment: shed, it would push out a layer that somebody worked on. Nobody worked on this one.
    idle = current.top
    current = molting.journal(fleet, name, current, f"unused-{current.next_number}")
    watch = molting.Stopwatch(fleet, fleet.clock.monotonic())
    current, _ = molting.perform(fleet, name, current, reason=reason, watch=watch)
    kept = tuple(layer for layer in current.kept if layer.volume != idle)
    current = replace(current, kept=kept, trash=(*current.trash, idle))
    fleet.hypervisor.write_record(name, current)
    return molting.empty_trash(fleet, name, current)
