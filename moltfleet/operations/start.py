"""Start clones and wait until each is ready; the first start of one also takes its clean point."""

from __future__ import annotations

from collections.abc import Sequence

from moltfleet.model.domain import DomainState
from moltfleet.model.errors import MoltfleetError, WrongState
from moltfleet.model.records import CloneRecord, Phase
from moltfleet.model.results import ActResult
from moltfleet.operations import first_boot, foreign, layers, repair
from moltfleet.operations.clones import clone_names, find_endpoint, get_clone
from moltfleet.operations.fleet import Fleet
from moltfleet.operations.parallel import each
from moltfleet.operations.ready import Guest, ready


def start(fleet: Fleet, patterns: Sequence[str], *, jobs: int | None = None) -> tuple[ActResult, ...]:
    """Start every named clone; one that runs already is left alone, one that fails stands in its result."""

    def act(name: str) -> ActResult:
        started = fleet.clock.monotonic()
        try:
            with fleet.locks.hold(name, verb="start"):
                repair.repair_clone(fleet, name)
                outcome = start_one(fleet, name)
        except MoltfleetError as error:
            return ActResult(name, "failed", error.brief, fleet.clock.monotonic() - started, error)
        return ActResult(name, outcome, seconds=fleet.clock.monotonic() - started)

    return each(clone_names(fleet, patterns), act, jobs=jobs or fleet.config.jobs)


def start_one(fleet: Fleet, name: str) -> str:
    """Start one clone whose lock the caller holds; returns "started" or "unchanged"."""
    domain, clone = get_clone(fleet, name)
    if domain.state is DomainState.PAUSED:
        raise WrongState(
            f"Clone {name!r} is paused",
            hint=f"After a full pool: free space, then 'virsh resume {name}'; or molt it.",
        )
    if clone.phase is Phase.DEFINED:
        first_boot.run(fleet, name, clone)
        return "started"
    if domain.is_active:
        return "unchanged"
    foreign.check_startable(fleet, domain, clone)
    _boot(fleet, name, clone)
    return "started"


def _boot(fleet: Fleet, name: str, clone: CloneRecord) -> None:
    fleet.hypervisor.set_disk(name, clone.top)
    fleet.hypervisor.start(name)
    layers.check_live_chain(fleet, name, clone, clone.top)
    with ready(fleet, Guest(name, lambda: find_endpoint(fleet, name, clone)), title=f"Starting {name}"):
        pass
