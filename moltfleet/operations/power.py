"""Power a guest off politely, and cut it after a deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moltfleet.model.domain import DomainState
from moltfleet.model.errors import WrongState
from moltfleet.operations.deadlines import Deadline, timeouts
from moltfleet.operations.parallel import pause

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet

_POLL_S = 0.2
# ACPI presses are lost on a guest that is still booting: repeat them.
_ASK_AGAIN_S = 15.0
# A paused guest hears nothing; somebody may be about to resume it, but hardly later than this.
_PAUSED_GRACE_S = 5.0
_PAUSED = (DomainState.PAUSED, DomainState.SUSPENDED)


def _ask(fleet: Fleet, name: str) -> str:
    try:
        return f"asked by {fleet.hypervisor.request_shutdown(name)}"
    except WrongState:
        # Paused, or gone this very moment.
        return "cannot be asked"


def power_off(fleet: Fleet, name: str, *, timeout_s: float | None = None) -> bool:
    """Ask the guest to power off, by agent, then ACPI; cut its power after the deadline, a paused one's soon.

    Returns whether it went by itself. A stopped domain is fine.
    """
    limit = timeouts(fleet).shutdown if timeout_s is None else timeout_s
    deadline = Deadline.after(fleet.clock, limit)
    asked = Deadline.after(fleet.clock, 0)
    grace = Deadline.after(fleet.clock, _PAUSED_GRACE_S)
    with fleet.progress.step(f"Stopping {name}", timeout_s=limit) as step:
        while (domain := fleet.hypervisor.get(name)).is_active:
            if domain.state not in _PAUSED:
                grace = Deadline.after(fleet.clock, _PAUSED_GRACE_S)
            if deadline.has_passed or grace.has_passed:
                why = (
                    f"did not power off within {limit:.0f} s" if deadline.has_passed else "is paused and hears nothing"
                )
                fleet.progress.warn(f"Guest {name!r} {why}: power cut")
                fleet.hypervisor.destroy(name)
                return False
            if asked.has_passed:
                step.detail(_ask(fleet, name))
                asked = Deadline.after(fleet.clock, _ASK_AGAIN_S)
            pause(fleet.clock, _POLL_S)
    return True
