"""Pull a guest's work out before a molt throws it away: asked for over SSH, bounded, looked through, stored.

It never needs the guest's cooperation: whatever does not come is said, and the molt then keeps the layer instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moltfleet.model.domain import DomainState
from moltfleet.model.errors import (
    DeadlinePassed,
    GuestFailed,
    GuestUnreachable,
    MoltfleetError,
    NoCapacity,
    ToolFailed,
    WrongState,
)
from moltfleet.model.names import printable
from moltfleet.model.rescue import Manifest, Outcome, Part, RescueResult, is_missing, label_of, worst
from moltfleet.operations import molting
from moltfleet.operations.clones import clone_names, endpoint, get_clone
from moltfleet.operations.deadlines import Deadline, timestamp
from moltfleet.operations.guest import login
from moltfleet.operations.guest_scripts import describe_failure
from moltfleet.operations.measuring import is_emulated
from moltfleet.operations.parallel import each
from moltfleet.operations.rescue_guest import SCRIPT, Asking, look
from moltfleet.operations.rescue_pieces import Pieces, described

if TYPE_CHECKING:
    from moltfleet.model.records import CloneRecord
    from moltfleet.model.requests import MoltRequest
    from moltfleet.operations.fleet import Fleet
    from moltfleet.operations.rescue_list import Found

# One piece may not use up the time of all.
_LONGEST_PIECE_S = 300.0
_HINT = "docs/rescue.md says what to do with what is there."


def plan_rescue(fleet: Fleet, patterns: Sequence[str]) -> tuple[str, ...]:
    """Say, one line per clone, what a rescue would do; asks no guest."""
    wanted = fleet.config.rescue
    where = ", ".join((*wanted.roots, *wanted.paths))
    return tuple(
        f"{name}: would look through {where}, its tmux screens and crash logs, and store what is nowhere else "
        f"below {fleet.rescues.place() / name}"
        for name in clone_names(fleet, patterns)
    )


def rescue_all(fleet: Fleet, patterns: Sequence[str], *, reason: str) -> tuple[RescueResult, ...]:
    """Rescue the work of every named clone, side by side."""
    names = clone_names(fleet, patterns)
    return each(names, lambda name: rescue(fleet, name, reason=reason), jobs=fleet.config.jobs)


@dataclass(frozen=True, slots=True)
class Scope:
    """What of a guest's is looked through: ``roots`` for repositories, ``paths`` whole; and screens with logs."""

    roots: tuple[str, ...]
    paths: tuple[str, ...]
    has_screens: bool = True


def rescue(fleet: Fleet, name: str, *, reason: str, scope: Scope | None = None) -> RescueResult:
    """Rescue the work of one clone; ``reason`` goes into the manifest. Failures stand in the result.

    ``scope`` None is what the configuration says.
    """
    try:
        with fleet.locks.hold(name, verb="rescue the work of"):
            return rescue_held(fleet, name, reason=reason, scope=scope)
    except MoltfleetError as error:
        return _ended(name, Outcome.REFUSED, error)


def rescue_held(fleet: Fleet, name: str, *, reason: str, scope: Scope | None = None) -> RescueResult:
    """As :func:`rescue`, of a clone whose lock the caller holds."""
    started = fleet.clock.monotonic()
    with fleet.progress.step(f"Rescuing the work of {name}") as step:
        try:
            result = _rescue(fleet, name, reason, scope or _configured(fleet), step.detail)
        except (GuestUnreachable, DeadlinePassed, GuestFailed, WrongState) as error:
            result = _ended(name, Outcome.UNREACHABLE, error)
        except (NoCapacity, ToolFailed) as error:
            result = _ended(name, Outcome.REFUSED, error)
    return replace(result, seconds=fleet.clock.monotonic() - started)


def before_molt(fleet: Fleet, name: str, request: MoltRequest) -> tuple[RescueResult, MoltRequest]:
    """Rescue the work of a clone that is about to molt; returns the request, which keeps the layer if need be.

    The caller holds the clone's lock.
    """
    result = rescue_held(fleet, name, reason="molt")
    if result.is_safe:
        if result.directory:
            fleet.progress.say(f"Work of {name!r} is in {result.directory}")
        return result, request
    label = request.keep or f"unrescued-{molting.label_of(timestamp(fleet.clock))}"
    why = result.error.brief if result.error else str(result.outcome)
    fleet.progress.warn(f"{printable(why)}: the layer of {name!r} is kept as {label!r}", hint=_HINT)
    return replace(result, kept=label), replace(request, keep=label)


def _configured(fleet: Fleet) -> Scope:
    return Scope(fleet.config.rescue.roots, fleet.config.rescue.paths)


def _rescue(fleet: Fleet, name: str, reason: str, scope: Scope, show: Callable[[str], None]) -> RescueResult:
    domain, clone = get_clone(fleet, name)
    if domain.state is DomainState.PAUSED:
        raise WrongState(f"Clone {name!r} is paused", hint="The pool may be full, or somebody paused it.")
    where = endpoint(fleet, name)
    wanted = fleet.config.rescue
    factor = fleet.config.emulation_factor if is_emulated(fleet) else 1.0
    deadline = Deadline.after(fleet.clock, wanted.seconds * factor)
    now = timestamp(fleet.clock)
    with ExitStack() as draft, ExitStack() as connection:
        session = connection.enter_context(login(fleet, where))
        asking = Asking(session, fleet.bootstrap.read(SCRIPT).decode(), wanted.largest_file.bytes)
        show("looking for work")
        longest_s = _LONGEST_PIECE_S * factor
        found = look(asking, scope.roots, scope.paths, timeout_s=min(longest_s, deadline.left_s))
        if not scope.has_screens:
            found = replace(found, screens=(), has_logs=False)
        pieces = Pieces(
            asking,
            lambda: draft.enter_context(fleet.rescues.begin(name, label_of(now))),
            deadline,
            longest_s,
            show,
        )
        pieces.fetch_all(found)
        connection.close()
        pieces.look_through(described(found))
        manifest = _manifest(name, clone, found, pieces, now=now, reason=reason)
        if pieces.draft is None or not any(part.name for part in pieces.parts):
            return _result(manifest)
        saved = pieces.draft.finish(manifest)
    return replace(_result(manifest), directory=saved.directory, size=saved.size)


def _manifest(name: str, clone: CloneRecord, found: Found, pieces: Pieces, *, now: str, reason: str) -> Manifest:
    outcome = Outcome.PARTLY if found.troubles else worst(pieces.parts)
    return Manifest(
        clone=name,
        golden=clone.golden,
        generation=clone.generation,
        user=clone.user,
        taken_at=now,
        reason=reason,
        outcome=outcome,
        details=(*found.troubles, *pieces.details),
        repositories=described(found),
        parts=tuple(pieces.parts),
        renamed=tuple(pieces.renamed),
    )


def _result(manifest: Manifest) -> RescueResult:
    """The result so far, with an error that names the first thing that is missing."""
    error = None
    if manifest.outcome is Outcome.PARTLY:
        flaw = next((_told(part) for part in manifest.parts if is_missing(part)), "")
        first = flaw or next(iter(manifest.details), "")
        error = GuestFailed(f"Work of {manifest.clone!r} was rescued only in part: {first}", hint=_HINT)
    return RescueResult(
        clone=manifest.clone,
        outcome=manifest.outcome,
        repositories=len(manifest.repositories),
        parts=manifest.parts,
        details=manifest.details,
        error=error,
    )


def _told(part: Part) -> str:
    return f"{part.kind} of {part.origin}: {part.detail}"


def _ended(name: str, outcome: Outcome, error: MoltfleetError) -> RescueResult:
    return RescueResult(name, outcome, details=(describe_failure(error),), error=error)
