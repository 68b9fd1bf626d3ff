"""Restart clones: stop, then start, under one lock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from moltfleet.model.errors import MoltfleetError
from moltfleet.model.requests import AdmissionRequest, StopRequest
from moltfleet.model.results import ActResult
from moltfleet.operations import admission, foreign, repair
from moltfleet.operations.clones import clone_names, get_clone
from moltfleet.operations.parallel import each
from moltfleet.operations.start import start_one
from moltfleet.operations.stop import stop_one

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet

_AS_USUAL = AdmissionRequest()


def restart(
    fleet: Fleet, patterns: Sequence[str], request: StopRequest, terms: AdmissionRequest = _AS_USUAL
) -> tuple[ActResult, ...]:
    """Restart every named clone; one that was off is started, one that fails stands in its result."""

    def act(name: str) -> ActResult:
        started = fleet.clock.monotonic()
        try:
            with fleet.locks.hold(name, verb="restart"), admission.room(fleet, name, terms):
                repair.repair_clone(fleet, name)
                # Before it is stopped: what cannot be started again is to run on.
                foreign.check_startable(fleet, *get_clone(fleet, name))
                stop_one(fleet, name, request, for_good=False)
                start_one(fleet, name)
        except MoltfleetError as error:
            return ActResult(name, "failed", error.brief, fleet.clock.monotonic() - started, error)
        return ActResult(name, "restarted", seconds=fleet.clock.monotonic() - started)

    return each(clone_names(fleet, patterns), act, jobs=fleet.config.jobs)
