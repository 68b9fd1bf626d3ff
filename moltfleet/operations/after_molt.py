"""The work in a guest right after its RAM came back: clock, randomness, stale connections, proof that it is the one."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

from moltfleet.model.errors import DeadlinePassed, GuestFailed, MoltfleetError
from moltfleet.operations.clones import find_endpoint
from moltfleet.operations.deadlines import timeouts
from moltfleet.operations.guest_scripts import ScriptAnswer, Target, parse_answer, run_script

if TYPE_CHECKING:
    from moltfleet.model.records import CloneRecord
    from moltfleet.operations.fleet import Fleet

# How far a guest's clock may be off after the step.
CLOCK_TOLERANCE_S = 0.5
_ATTEMPTS = 5
_CLOCK_READINGS = 3


def run(fleet: Fleet, name: str, clone: CloneRecord) -> ScriptAnswer:
    """Run the after-molt script once and check every part of its answer.

    Raises: GuestFailed when the clock, the reseed, the nonce or the boot id is not as it must be; GuestUnreachable,
    DeadlinePassed.
    """
    if clone.clean is None or clone.clean.nonce is None:
        raise ValueError("not a warm clean point")
    return _run(fleet, Target(name, find_endpoint(fleet, name, clone)), clone.clean.nonce, clone.clean.boot_id)


def wake(fleet: Fleet, name: str, clone: CloneRecord, nonce: str) -> None:
    """Do the same in a guest that was prepared for a save which came to nothing; its boot does not matter.

    Raises: as :func:`run`.
    """
    _run(fleet, Target(name, find_endpoint(fleet, name, clone)), nonce, None)


def _run(fleet: Fleet, target: Target, nonce: str, boot_id: str | None) -> ScriptAnswer:
    name, early = target.domain, 0.0
    for attempt in range(_ATTEMPTS):
        given = partial(_instructions, fleet, nonce, boot_id, early)
        result = run_script(fleet, target, "after-molt.sh", input=given, timeout_s=timeouts(fleet).login)
        answer = parse_answer(result)
        _check_identity(name, answer, boot="ok" if boot_id else "unchecked")
        # The script reads the clock back as its last act, so what it is late by is at most this difference.
        late = fleet.clock.now() - answer.clock
        if abs(late) <= CLOCK_TOLERANCE_S:
            break
        # On a host without a processor to spare the ways to and fro take long: only the one to the guest matters.
        late, doubt = _lateness(fleet, name, longest=late)
        if abs(late) + doubt <= CLOCK_TOLERANCE_S:
            break
        early += late
        if attempt == _ATTEMPTS - 1:
            raise DeadlinePassed(f"Clock of {name!r} is off by more than {CLOCK_TOLERANCE_S} s after its molt")
    if not answer.ok or not answer.reseeded:
        raise GuestFailed(f"After-molt script failed in {name!r}", details=answer.error or result.text[:2000])
    return answer


def _instructions(fleet: Fleet, nonce: str, boot_id: str | None, early: float) -> bytes:
    """What the script reads: the time that it will be, what proves who it is, and randomness."""
    return f"{fleet.clock.now() + early:.6f} {nonce} {boot_id or '-'} {secrets.token_hex(64)}\n".encode()


def _lateness(fleet: Fleet, name: str, *, longest: float) -> tuple[float, float]:
    """By how many seconds the guest's clock is late, and how many of them are in doubt.

    Asked of its agent, which answers at once: half of the shortest way to and fro is the doubt. Without an agent, half
    of the ``longest`` that it can be, and the doubt is as large.
    """
    found = (longest / 2, abs(longest) / 2)
    for _ in range(_CLOCK_READINGS):
        asked = fleet.clock.now()
        try:
            said = fleet.hypervisor.agent_clock(name)
        except MoltfleetError:
            break
        answered = fleet.clock.now()
        reading = ((asked + answered) / 2 - said, (answered - asked) / 2)
        found = min(found, reading, key=lambda one: one[1])
    return found


class OtherBoot(GuestFailed):
    """The guest was booted since its clean point: it is not the restored one."""


def _check_identity(name: str, answer: ScriptAnswer, *, boot: str) -> None:
    if answer.boot == "differs":
        raise OtherBoot(f"Restored guest {name!r} has another boot id than its clean point")
    if answer.nonce != "ok":
        raise GuestFailed(f"Restored guest {name!r} does not hold the nonce of its clean point: {answer.nonce}")
    if answer.boot != boot:
        raise GuestFailed(f"Restored guest {name!r} has another boot id than its clean point: {answer.boot}")
