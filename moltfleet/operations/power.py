"""Power a guest off politely, and cut it after a deadline."""

from __future__ import annotations

from moltfleet.model.errors import WrongState
from moltfleet.operations.deadlines import Deadline, timeouts
from moltfleet.operations.fleet import Fleet

_POLL_S = 0.2
# ACPI presses are lost on a guest that is still booting: repeat them.
_ASK_AGAIN_S = 15.0


def _ask(fleet: Fleet, name: str) -> str:
    try:
        return f"asked by {fleet.hypervisor.request_shutdown(name)}"
    except WrongState:
        # Paused, or gone this very moment.
        return "cannot be asked"


def power_off(fleet: Fleet, name: str, *, timeout_s: float | None = None) -> bool:
    """Ask the guest to power off, by agent, then ACPI; cut its power after the deadline.

    Returns whether it went by itself. A stopped domain is fine.
    """
    limit = timeouts(fleet).shutdown if timeout_s is None else timeout_s
    deadline = Deadline.after(fleet.clock, limit)
    asked = Deadline.after(fleet.clock, 0)
    with fleet.progress.step(f"Stopping {name}", timeout_s=limit) as step:
        while fleet.hypervisor.get(name).is_active:
            if deadline.has_passed:
                fleet.progress.warn(f"Guest {name!r} did not power off within {limit:.0f} s: power cut")
                fleet.hypervisor.destroy(name)
                return False
            if asked.has_passed:
                step.detail(_ask(fleet, name))
                asked = Deadline.after(fleet.clock, _ASK_AGAIN_S)
            fleet.clock.sleep(_POLL_S)
    return True
