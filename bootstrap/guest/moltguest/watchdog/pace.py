"""How long to wait before the next look: as long as the memory that is left surely lasts."""

from __future__ import annotations

from collections.abc import Iterable

from moltguest.limits import MIB

SHORTEST_S = 0.1
LONGEST_S = 5.0
# Twice the fastest growth reported of an agent (220 MB/s, anthropics/claude-code#81343).
ASSUMED_RATE = 500 * MIB
# Of the time that is left, so that a growing rate is noticed.
PART = 0.25
# A look never takes more than a tenth of a processor, however slow it is.
_REST = 9.0


def pause(headrooms: Iterable[tuple[int, float]], cost_s: float) -> float:
    """Return seconds to wait, given (bytes left, bytes a second) of all that may run out, and what a look took."""
    times = (PART * max(0, left) / max(2 * rate, float(ASSUMED_RATE)) for left, rate in headrooms)
    wanted = min(times, default=LONGEST_S)
    return min(max(wanted, SHORTEST_S, _REST * cost_s), LONGEST_S)
