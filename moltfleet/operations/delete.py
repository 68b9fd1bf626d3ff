"""Delete clones with everything that is theirs, and nothing that is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from moltfleet.model.errors import MoltfleetError
from moltfleet.model.results import ActResult
from moltfleet.operations import login_keeping, removing
from moltfleet.operations.clones import clone_names, get_clone
from moltfleet.operations.parallel import each

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet


def plan_delete(fleet: Fleet, patterns: Sequence[str]) -> tuple[str, ...]:
    """Say, one line per clone, what would go; changes nothing."""
    lines = []
    for name in clone_names(fleet, patterns):
        _, clone = get_clone(fleet, name)
        lines.append(f"{name}: would delete the domain and {', '.join(sorted(clone.volumes()))}")
    return tuple(lines)


def delete(fleet: Fleet, patterns: Sequence[str]) -> tuple[ActResult, ...]:
    """Delete every named clone; a failure of one leaves the others and stands in its result."""

    def act(name: str) -> ActResult:
        started = fleet.clock.monotonic()
        try:
            with fleet.locks.hold(name, verb="delete"), fleet.progress.step(f"Deleting {name}"):
                _, clone = get_clone(fleet, name)
                account = login_keeping.Account()
                login_keeping.pull_back(fleet, name, clone, account)
                removing.remove_clone(fleet, name, clone)
        except MoltfleetError as error:
            return ActResult(name, "failed", error.brief, fleet.clock.monotonic() - started, error)
        return ActResult(name, "deleted", "; ".join(account.notes), seconds=fleet.clock.monotonic() - started)

    return each(clone_names(fleet, patterns), act, jobs=fleet.config.jobs)
