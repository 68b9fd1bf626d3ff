"""Stop clones: ask the guest, and cut its power when told to or after the deadline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.errors import MoltfleetError, NotFound
from moltfleet.model.results import ActResult
from moltfleet.operations import login_keeping, repair
from moltfleet.operations.clones import clone_names, get_clone
from moltfleet.operations.parallel import each
from moltfleet.operations.power import power_off

if TYPE_CHECKING:
    from moltfleet.model.requests import StopRequest
    from moltfleet.operations.fleet import Fleet


def stop(fleet: Fleet, patterns: Sequence[str], request: StopRequest) -> tuple[ActResult, ...]:
    """Stop every named clone; one that is off already is left alone, one that fails stands in its result."""

    def act(name: str) -> ActResult:
        started = fleet.clock.monotonic()
        try:
            with fleet.locks.hold(name, verb="stop"):
                _try_to_repair(fleet, name)
                outcome, detail = stop_one(fleet, name, request)
        except MoltfleetError as error:
            return ActResult(name, "failed", error.brief, fleet.clock.monotonic() - started, error)
        return ActResult(name, outcome, detail, fleet.clock.monotonic() - started)

    return each(clone_names(fleet, patterns), act, jobs=fleet.config.jobs)


def _try_to_repair(fleet: Fleet, name: str) -> None:
    try:
        repair.repair_clone(fleet, name)
    except NotFound:
        raise
    except MoltfleetError as error:
        # A guest that never gets ready must be stoppable; what is unfinished stays in its journal.
        fleet.progress.warn(f"Clone {name!r} could not be repaired before its stop: {error.brief}")


def stop_one(fleet: Fleet, name: str, request: StopRequest, *, for_good: bool = True) -> tuple[str, str]:
    """Stop one clone whose lock the caller holds; returns outcome and detail.

    ``for_good`` notes that it is to be off, so that `start --were-running` leaves it alone.
    """
    domain, clone = get_clone(fleet, name)
    if for_good and not clone.stopped:
        fleet.hypervisor.write_record(name, replace(clone, stopped=True))
    if not domain.is_active:
        return "unchanged", "was off"
    if request.now:
        fleet.hypervisor.destroy(name)
        return "stopped", "power cut"
    # While it is off nobody can ask it.
    login_keeping.pull_back(fleet, name, clone, login_keeping.Account())
    went_by_itself = power_off(fleet, name, timeout_s=request.timeout_s)
    return "stopped", "" if went_by_itself else "power cut after the deadline"
