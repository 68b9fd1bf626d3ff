"""Pause a clone that fills the pool, and let it go on: nothing is lost, and the way out is said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.domain import DomainState
from moltfleet.model.errors import WrongState
from moltfleet.model.events import Event, EventKind
from moltfleet.operations.clones import get_clone
from moltfleet.operations.notify import tell

if TYPE_CHECKING:
    from moltfleet.model.vitals import Vitals
    from moltfleet.operations.fleet import Fleet

_LOOK_S = 20.0


def pause(fleet: Fleet, name: str, *, why: str) -> None:
    """Stop a clone's processors, and note that it was us. Raises: Busy, WrongState when it does not run."""
    with fleet.locks.hold(name, verb="pause"):
        domain, clone = get_clone(fleet, name)
        if domain.state is DomainState.PAUSED:
            raise WrongState(f"Clone {name!r} is paused already")
        vitals = _vitals(fleet, name)
        # Noted first: paused by nobody it would stay so for ever.
        fleet.hypervisor.write_record(name, replace(clone, paused=vitals.life))
        fleet.hypervisor.suspend(name)
    text = f"Clone {name!r} is paused: {why}"
    fleet.progress.warn(text, hint=_way_out(name))
    tell(fleet, Event(EventKind.PAUSED, text, name))


def _way_out(name: str) -> str:
    return (
        f"Make room, then 'moltfleet start {name}' lets it go on as it was; 'moltfleet molt {name}' gives back what it"
        " wrote. With room it also goes on at the next 'survey --protect' or 'molt --leaking'."
    )


def resume(fleet: Fleet, name: str) -> None:
    """Let a paused clone go on. Raises: Busy, WrongState when it is not paused."""
    with fleet.locks.hold(name, verb="resume"):
        resume_held(fleet, name)


def resume_held(fleet: Fleet, name: str) -> None:
    """As :func:`resume`, of a clone whose lock the caller holds."""
    domain, clone = get_clone(fleet, name)
    if domain.state is not DomainState.PAUSED:
        raise WrongState(f"Clone {name!r} is not paused")
    fleet.hypervisor.resume(name)
    if clone.paused is not None:
        fleet.hypervisor.write_record(name, replace(clone, paused=None))


def _vitals(fleet: Fleet, name: str) -> Vitals:
    found = [vitals for vitals in fleet.hypervisor.vitals(timeout_s=_LOOK_S) if vitals.name == name]
    if not found or not found[0].life:
        raise WrongState(f"Clone {name!r} does not run any more")
    return found[0]
