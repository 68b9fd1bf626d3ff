"""Start clones and wait until each is ready, one after the other; the first start of one also takes its clean point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.domain import Domain, DomainState
from moltfleet.model.errors import MoltfleetError, WrongState
from moltfleet.model.records import CloneRecord, Phase
from moltfleet.model.requests import AdmissionRequest, StartRequest
from moltfleet.model.results import ActResult
from moltfleet.operations import (
    admission,
    first_boot,
    foreign,
    layers,
    login_keeping,
    measuring,
    pausing,
    repair,
    settling,
)
from moltfleet.operations.clones import clone_names, find_endpoint, get_clone
from moltfleet.operations.parallel import each
from moltfleet.operations.ready import Guest, ready

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet

_AS_USUAL = StartRequest()


def plan_start(fleet: Fleet, patterns: Sequence[str], request: StartRequest = _AS_USUAL) -> tuple[str, ...]:
    """Say, one line per clone, what would happen if each were the only one; changes nothing."""
    return tuple(_plan_one(fleet, name) for name in names_to_start(fleet, patterns, request))


def _plan_one(fleet: Fleet, name: str) -> str:
    domain, clone = get_clone(fleet, name)
    if domain.is_active:
        return f"{name}: runs already"
    candidate = measuring.known_clone(fleet, domain, clone, with_ram=clone.phase is Phase.DEFINED and clone.wants_ram)
    objection = admission.find_objection(fleet, candidate)
    return f"{name}: would be refused, {objection.detail}" if objection else f"{name}: would be started"


def names_to_start(fleet: Fleet, patterns: Sequence[str], request: StartRequest) -> tuple[str, ...]:
    """Expand names and patterns; nothing given means all, or all that were running. Raises: NotFound."""
    names = clone_names(fleet, patterns)
    if not request.were_running:
        return names
    were_running = {domain.name for domain in fleet.hypervisor.domains() if _was_running(domain)}
    return tuple(name for name in names if name in were_running)


def _was_running(domain: Domain) -> bool:
    """Whether a clone is off although no command stopped it: the host went down, or QEMU did, or its own guest.

    libvirt keeps no trace of which it was.
    """
    clone = domain.record
    is_ready = isinstance(clone, CloneRecord) and not clone.probe and clone.phase is Phase.READY and not clone.stopped
    return is_ready and not domain.is_active


def start(fleet: Fleet, patterns: Sequence[str], request: StartRequest = _AS_USUAL) -> tuple[ActResult, ...]:
    """Start every named clone; one that runs already is left alone, one that fails stands in its result.

    Each is begun when the one before it is ready and its memory has settled, unless ``jobs`` are asked for.
    """
    names = names_to_start(fleet, patterns, request)

    def act(name: str) -> ActResult:
        started = fleet.clock.monotonic()
        try:
            with fleet.locks.hold(name, verb="start"), admission.room(fleet, name, request.admission):
                repair.repair_clone(fleet, name)
                outcome = start_one(fleet, name, request.admission)
        except MoltfleetError as error:
            return ActResult(name, "failed", error.brief, fleet.clock.monotonic() - started, error)
        return ActResult(name, outcome, seconds=fleet.clock.monotonic() - started)

    def act_and_settle(name: str) -> ActResult:
        result = act(name)
        if result.outcome == "started" and name != names[-1]:
            settling.settle(fleet, name)
        return result

    if request.jobs is not None:
        return each(names, act, jobs=request.jobs)
    return each(names, act_and_settle, jobs=1)


def start_one(
    fleet: Fleet, name: str, terms: AdmissionRequest | None = None, *, account: login_keeping.Account | None = None
) -> str:
    """Start one clone whose lock the caller holds, and keeps room for; returns "started" or "unchanged".

    With ``terms`` the room is checked again immediately before; ``account`` is told what became of its logins.
    Raises: NoRoom.
    """
    domain, clone = get_clone(fleet, name)
    if domain.state is DomainState.PAUSED and clone.paused is not None:
        pausing.resume_held(fleet, name)
        return "started"
    if domain.state is DomainState.PAUSED:
        raise WrongState(
            f"Clone {name!r} is paused",
            hint=f"After a full pool: free space, then 'virsh resume {name}'; or molt it.",
        )
    if clone.phase is Phase.DEFINED:
        first_boot.run(fleet, name, clone, terms)
        return "started"
    if domain.is_active:
        return "unchanged"
    foreign.check_startable(fleet, domain, clone)
    _boot(fleet, name, clone, terms)
    if clone.logins is not None:
        # They may have been renewed here while it was off, or there before it went down without being asked.
        login_keeping.put_back(
            fleet, name, get_clone(fleet, name)[1], account or login_keeping.Account(), looks_first=True
        )
    return "started"


def _boot(fleet: Fleet, name: str, clone: CloneRecord, terms: AdmissionRequest | None) -> None:
    fleet.hypervisor.set_disk(name, clone.top)
    if terms is not None:
        admission.recheck(fleet, name, terms)
    if clone.stopped:
        fleet.hypervisor.write_record(name, replace(clone, stopped=False))
    fleet.hypervisor.start(name)
    layers.check_live_chain(fleet, name, clone, clone.top)
    with ready(fleet, Guest(name, lambda: find_endpoint(fleet, name, clone)), title=f"Starting {name}"):
        pass
