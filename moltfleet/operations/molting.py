"""How a molt is done once it is decided: journal, overlay, definition, destroy, restore or boot, proof, commit.

Shared by the command and by the repair of an interrupted one. The caller holds the clone's lock.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import AlreadyRunning, MoltfleetError, NoCapacity, NoSpace, WrongState
from moltfleet.model.records import CleanPoint, CloneRecord, Layer, Pending, Verb
from moltfleet.operations import after_molt, chains, layers, login_keeping
from moltfleet.operations.clones import find_endpoint, get_clone
from moltfleet.operations.deadlines import epoch, timeouts, timestamp
from moltfleet.operations.guest_scripts import describe_failure
from moltfleet.operations.parallel import each
from moltfleet.operations.ready import Guest, await_banner, ready

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet

# A clean point whose RAM failed to come back this often in a row is not tried again (DESIGN D6).
_FAILURES_UNTIL_SUSPECT = 2
# A layer that is written to for longer than this after its act began was not only booted or restored on.
_AT_WORK_AFTER_S = 60.0
# How often somebody may get in between destroy and start before the molt gives up.
_MOST_DISTURBANCES = 5


def cold_reason(fleet: Fleet, name: str, clean: CleanPoint) -> str:
    """Why a molt from this clean point cannot be warm; empty when it can."""
    if clean.ram is None:
        return "the clean point has no RAM image"
    if clean.failures >= _FAILURES_UNTIL_SUSPECT:
        return f"its RAM image failed {clean.failures} times"
    return clean.stale_reason(fleet.hypervisor.fingerprint(name))


@dataclass(slots=True)
class Stopwatch:
    """Seconds of each phase, added up over attempts; and what became of the clone's logins meanwhile."""

    fleet: Fleet
    last: float
    phases: dict[str, float] = field(default_factory=dict)
    logins: login_keeping.Account = field(default_factory=login_keeping.Account)

    def lap(self, phase: str) -> None:
        """Book the time since the last lap on ``phase``."""
        now = self.fleet.clock.monotonic()
        self.phases[phase] = self.phases.get(phase, 0.0) + now - self.last
        self.last = now

    def skip(self) -> None:
        """Book the time since the last lap on none: it counts in the total alone."""
        self.last = self.fleet.clock.monotonic()


def perform(
    fleet: Fleet, name: str, clone: CloneRecord, *, reason: str, watch: Stopwatch, puts_back: bool = True
) -> tuple[CloneRecord, str]:
    """Do everything after the journal entry; returns the committed record and why it was cold, empty when warm.

    ``puts_back`` is False when a clean point is to be taken of the result: no login may be in it.
    """
    try:
        if clone.logins is not None:
            login_keeping.pull_back(fleet, name, clone, watch.logins)
            watch.skip()
        return _perform(fleet, name, clone, reason=reason, watch=watch, puts_back=puts_back)
    except MoltfleetError:
        _note_end(fleet, name)
        raise


def _note_end(fleet: Fleet, name: str) -> None:
    """Date the journal anew after a failure: what is written to the new layer from here on is somebody's work."""
    with suppress(MoltfleetError):
        _, clone = get_clone(fleet, name)
        if clone.pending is not None:
            pending = replace(clone.pending, started_at=timestamp(fleet.clock))
            fleet.hypervisor.write_record(name, replace(clone, pending=pending))


def _perform(
    fleet: Fleet, name: str, clone: CloneRecord, *, reason: str, watch: Stopwatch, puts_back: bool
) -> tuple[CloneRecord, str]:
    with fleet.progress.step(f"Molting {name}") as step:
        if not reason:
            try:
                clone = _attempt_undisturbed(fleet, name, clone, warm=True, watch=watch)
            except NoCapacity:
                # Booting would need the same room, and the RAM image is not at fault.
                raise
            except MoltfleetError as error:
                reason = describe_failure(error)
                fleet.progress.warn(f"Warm molt of {name!r} failed, going cold: {reason}")
                # Read again: the shed layer may have given way.
                _, clone = get_clone(fleet, name)
                clone = journal_again(fleet, name, _note_failure(clone))
        if reason:
            step.detail("booting")
            clone = _attempt_undisturbed(fleet, name, clone, warm=False, watch=watch)
        if puts_back:
            clone = login_keeping.put_back(fleet, name, clone, watch.logins)
        clone = commit(fleet, name, clone, warm=not reason)
    watch.lap("ready")
    return empty_trash(fleet, name, clone), reason


def journal(
    fleet: Fleet, name: str, clone: CloneRecord, label: str | None, *, drops_source: bool = False
) -> CloneRecord:
    """Write down what is about to happen, before anything does.

    ``label`` keeps the old layer under a name; ``drops_source`` neither keeps nor sheds it.
    """
    target, following = layers.new_overlay_name(fleet, name, clone)
    pending = Pending(
        verb=Verb.MOLT,
        target=target,
        source=clone.top,
        started_at=timestamp(fleet.clock),
        keep=label,
        drops_source=drops_source,
    )
    clone = replace(clone, pending=pending, next_number=following)
    fleet.hypervisor.write_record(name, clone)
    record(Effect.MOLT_JOURNALLED, name)
    return clone


def journal_again(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Take the next number for a second attempt: the guest may have written to the first target (proof of §6)."""
    if clone.pending is None:
        raise ValueError("no journal entry")
    target, following = layers.new_overlay_name(fleet, name, clone)
    pending = replace(
        clone.pending,
        target=target,
        leftovers=(*clone.pending.leftovers, *_unless_kept(clone, clone.pending.target)),
        started_at=timestamp(fleet.clock),
    )
    clone = replace(clone, pending=pending, next_number=following)
    fleet.hypervisor.write_record(name, clone)
    record(Effect.MOLT_JOURNALLED, name)
    return clone


def take_over(fleet: Fleet, name: str, clone: CloneRecord, label: str | None) -> CloneRecord:
    """Go on with an interrupted molt as if it were this one; a label that is given now is the one that counts."""
    clone = rescue(fleet, name, clone)
    if clone.pending is not None and label is not None:
        clone = replace(clone, pending=replace(clone.pending, keep=label, drops_source=False))
    return journal_again(fleet, name, clone)


def rescue(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Keep the new layer of an interrupted act under a name, if somebody worked on it afterwards; the caller writes it.

    A molt that was killed at its very end left a clone that looked ready.
    """
    if clone.pending is None or not is_worked_on(fleet, clone.pending):
        return clone
    return keep(fleet, name, clone, clone.pending.target)


def keep(fleet: Fleet, name: str, clone: CloneRecord, volume: str) -> CloneRecord:
    """Make a layer of an interrupted act a kept one, and say so; the caller writes the record."""
    now = timestamp(fleet.clock)
    layer = Layer(volume=volume, replaced_at=now, label=f"interrupted-{label_of(now)}")
    fleet.progress.say(f"Layer {layer.volume!r} of {name!r} was worked on after that: it is kept as {layer.label!r}")
    shed = None if clone.shed and clone.shed.volume == layer.volume else clone.shed
    return replace(clone, kept=(*clone.kept, layer), shed=shed)


def is_worked_on(fleet: Fleet, pending: Pending) -> bool:
    """Whether the new layer of an interrupted act was written to for longer than the act itself would."""
    seen = fleet.storage.find(pending.target)
    return seen is not None and float(seen.mtime) > epoch(pending.started_at) + _AT_WORK_AFTER_S


def label_of(moment: str) -> str:
    """A time as the label of a kept layer."""
    return moment.lower().replace(":", "")


def _unless_kept(clone: CloneRecord, volume: str) -> tuple[str, ...]:
    return () if volume in {layer.volume for layer in clone.kept} else (volume,)


def _attempt_undisturbed(fleet: Fleet, name: str, clone: CloneRecord, *, warm: bool, watch: Stopwatch) -> CloneRecord:
    """Attempt it again, on a fresh overlay each time, when somebody starts the domain in between."""
    for _ in range(_MOST_DISTURBANCES):
        try:
            return _attempt(fleet, name, clone, warm=warm, watch=watch)
        except AlreadyRunning:
            fleet.progress.say(f"Somebody started {name!r} in the middle of its molt: once more")
            _, clone = get_clone(fleet, name)
            clone = journal_again(fleet, name, clone)
    return _attempt(fleet, name, clone, warm=warm, watch=watch)


def _attempt(fleet: Fleet, name: str, clone: CloneRecord, *, warm: bool, watch: Stopwatch) -> CloneRecord:
    """Overlay, definition, destroy, restore or boot, ready; returns the record, which a full pool changes."""
    if clone.clean is None or clone.pending is None:
        raise ValueError("no clean point or no journal entry")
    target, ram = clone.pending.target, clone.clean.ram
    clone = _create_overlay(fleet, name, clone, target, backing=clone.clean.volume)
    record(Effect.MOLT_OVERLAID, name)
    fleet.hypervisor.set_disk(name, target)
    record(Effect.MOLT_REDEFINED, name)
    watch.lap("overlay")
    fleet.hypervisor.destroy(name)
    record(Effect.MOLT_DESTROYED, name)
    watch.lap("destroy")
    if warm:
        fleet.hypervisor.restore(name, ram or "", disk=target, record=clone)
    else:
        fleet.hypervisor.start(name)
    record(Effect.MOLT_STARTED, name)
    layers.check_live_chain(fleet, name, clone, target)
    watch.lap("restore")
    if warm:
        _prove_warm(fleet, name, clone)
    else:
        with ready(fleet, Guest(name, lambda: find_endpoint(fleet, name, clone)), title=f"Booting {name}"):
            pass
    record(Effect.MOLT_READIED, name)
    return clone


def _create_overlay(fleet: Fleet, name: str, clone: CloneRecord, target: str, *, backing: str) -> CloneRecord:
    """Make the new layer; in a full pool failed attempts and then an older shed layer give way. Raises: NoSpace."""
    for give_way in (_drop_leftovers, _drop_older_shed):
        try:
            fleet.storage.create_overlay(target, backing=backing)
        except NoSpace:
            clone = give_way(fleet, name, clone)
        else:
            return clone
    fleet.storage.create_overlay(target, backing=backing)
    return clone


def _drop_leftovers(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Delete the layers of failed attempts, whose guest is about to lose its power anyway."""
    if clone.pending is None or not clone.pending.leftovers:
        return clone
    if fleet.hypervisor.get(name).active_disk in {fleet.storage.path_of(v) for v in clone.pending.leftovers}:
        fleet.hypervisor.destroy(name)
    left = layers.delete_layers(fleet, name, clone.pending.leftovers)
    clone = replace(clone, pending=replace(clone.pending, leftovers=left))
    fleet.hypervisor.write_record(name, clone)
    return clone


def _drop_older_shed(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    if clone.shed is not None:
        fleet.progress.say(f"Pool is full: shed layer {clone.shed.volume!r} of {name!r} gives way")
    return drop_shed(fleet, name, clone)


def drop_shed(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Delete the shed layer: there is nothing to undo to any more."""
    if clone.shed is None:
        return clone
    clone = replace(clone, shed=None, trash=(*clone.trash, clone.shed.volume))
    fleet.hypervisor.write_record(name, clone)
    return empty_trash(fleet, name, clone)


def _prove_warm(fleet: Fleet, name: str, clone: CloneRecord) -> None:
    """After-molt work, and readiness from outside at the same time: the agent's word alone would not do."""
    endpoint = find_endpoint(fleet, name, clone)
    if endpoint is None:
        raise WrongState(f"Clone {name!r} has no address after its molt")

    def reach() -> None:
        with fleet.progress.step(f"Reaching {name}") as step:
            await_banner(fleet, name, endpoint, step, timeout_s=timeouts(fleet).login)

    acts = {"after-molt": lambda: after_molt.run(fleet, name, clone), "reach": reach}
    each(tuple(acts), lambda act: acts[act](), jobs=len(acts))


def adopt(fleet: Fleet, name: str, clone: CloneRecord) -> bool:
    """Finish an interrupted molt whose guest already runs on the new layer, where somebody may have worked since.

    Returns False, with nothing changed, when the guest does not prove itself.
    """
    if clone.pending is None:
        raise ValueError("no journal entry")
    try:
        layers.check_live_chain(fleet, name, clone, clone.pending.target)
        is_warm = _is_restored(fleet, name, clone)
        with ready(fleet, Guest(name, lambda: find_endpoint(fleet, name, clone)), title=f"Reaching {name}"):
            pass
    except MoltfleetError as error:
        fleet.progress.warn(f"Guest {name!r} did not come back: {error.brief}")
        return False
    # Somebody may have worked in it: what it has of its own is looked at first.
    clone = login_keeping.put_back(fleet, name, clone, login_keeping.Account(), looks_first=True)
    empty_trash(fleet, name, commit(fleet, name, clone, warm=is_warm))
    return True


def _is_restored(fleet: Fleet, name: str, clone: CloneRecord) -> bool:
    """Do the work after a restore, which can be repeated; False when the guest was booted instead."""
    if clone.clean is None or clone.clean.nonce is None:
        return False
    try:
        after_molt.run(fleet, name, clone)
    except after_molt.OtherBoot:
        return False
    return True


def _note_failure(clone: CloneRecord) -> CloneRecord:
    if clone.clean is None:
        return clone
    return replace(clone, clean=replace(clone.clean, failures=clone.clean.failures + 1))


def commit(fleet: Fleet, name: str, clone: CloneRecord, *, warm: bool) -> CloneRecord:
    """The new overlay is the top, the old one is shed or kept, the journal is closed."""
    if clone.pending is None or clone.clean is None:
        raise ValueError("no journal entry")
    pending = clone.pending
    old = Layer(volume=pending.source, replaced_at=timestamp(fleet.clock), label=pending.keep)
    is_shed = not pending.keep and not pending.drops_source
    no_longer_needed = (clone.shed.volume,) if clone.shed and is_shed else ()
    dropped = (pending.source,) if pending.drops_source else ()
    done = replace(
        clone,
        top=pending.target,
        shed=old if is_shed else clone.shed,
        kept=(*clone.kept, old) if pending.keep else clone.kept,
        clean=replace(clone.clean, failures=0) if warm else clone.clean,
        trash=(*clone.trash, *pending.leftovers, *no_longer_needed, *dropped),
        pending=None,
        stopped=False,
    )
    fleet.hypervisor.write_record(name, done)
    record(Effect.MOLT_RECORDED, name)
    return done


def empty_trash(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Delete what the record says is no longer needed; after *ready*, as deletions wait for each other.

    What a shed or kept layer still stands on waits for that one.
    """
    if not clone.trash:
        return clone
    needed = chains.needed(fleet, clone)
    due = tuple(volume for volume in clone.trash if volume not in needed)
    if not due:
        return clone
    left = layers.delete_layers(fleet, name, due)
    record(Effect.MOLT_SHED, name)
    if set(left) != set(due):
        clone = replace(clone, trash=tuple(v for v in clone.trash if v in left or v not in due))
        fleet.hypervisor.write_record(name, clone)
    return clone


def roll_back(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Take back a molt that was interrupted while the guest still ran on its old layer: nothing was lost."""
    if clone.pending is None:
        raise ValueError("no journal entry")
    pending = clone.pending
    fleet.hypervisor.set_disk(name, pending.source)
    unwanted = (*_unless_kept(clone, pending.target), *pending.leftovers)
    clone = replace(clone, pending=None, trash=(*clone.trash, *unwanted))
    fleet.hypervisor.write_record(name, clone)
    return empty_trash(fleet, name, clone)
