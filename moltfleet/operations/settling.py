"""Let a started guest take its memory before the next one is admitted: its growth is watched, not its promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moltfleet.model.size import Size
from moltfleet.operations.deadlines import Deadline
from moltfleet.operations.parallel import pause

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet

# A guest that grows by less than this in that time has done with its boot; one that never does waits for nobody.
MOST_GROWTH = Size.of_mib(64)
WINDOW_S = 10.0
DEADLINE_S = 60.0
_POLL_S = 1.0


def settle(fleet: Fleet, name: str) -> bool:
    """Wait until the resident memory of a domain grew by less than 64 MiB in 10 s; returns whether it did in time.

    A domain that ends has settled; one that libvirt does not measure is waited for until the deadline, of 60 s.
    """
    deadline = Deadline.after(fleet.clock, DEADLINE_S)
    seen: list[tuple[float, Size]] = []
    with fleet.progress.step(f"Letting the memory of {name} settle", timeout_s=DEADLINE_S) as step:
        while not deadline.has_passed:
            use = next((use for use in fleet.hypervisor.memory_use() if use.name == name), None)
            if use is None:
                return True
            if use.resident is not None:
                seen.append((fleet.clock.monotonic(), use.resident))
                step.detail(f"{use.resident} resident")
            if _has_settled(seen):
                return True
            pause(fleet.clock, _POLL_S)
    return False


def _has_settled(seen: list[tuple[float, Size]]) -> bool:
    """Whether it grew by less than the limit since the last sample that is at least a window old."""
    if not seen:
        return False
    now, resident = seen[-1]
    old = [size for at, size in seen if now - at >= WINDOW_S]
    return bool(old) and resident - old[-1] < MOST_GROWTH
