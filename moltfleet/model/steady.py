"""Whether memory stands still, found out faster than by a forecast: most clones' does, most of the time. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from moltfleet.model.forecast import REMEMBERED, Sample, Thresholds

# A fall by a tenth may be a restart, before which nothing counts: that is for the forecast to tell.
_FALL = 0.1


class Level(NamedTuple):
    """What is in use of how much at one moment: a forecast's sample, and cheaper to make."""

    time_s: float
    used: int
    total: int

    def sample(self) -> Sample:
        """Return it as the forecast takes it."""
        return Sample(self.time_s, self.total - self.used, self.total)


def is_steady(levels: Sequence[Level], limits: Thresholds) -> bool:
    """Whether the forecast is bound to say "ok": all of its last assessments see too small a rise for any slope.

    False means that it has to be asked.
    """
    needed = limits.fewest_samples + REMEMBERED - 1
    if len(levels) < needed or not _belong_together(levels[-needed:], limits.longest_gap_s):
        return False
    total = levels[-1].total
    used = [level.used for level in levels]
    lowest, highest, latest = min(used), max(used), max(used[-REMEMBERED:])
    is_level = latest - lowest <= limits.least_share / 2 * total and highest - lowest <= _FALL * total
    return is_level and latest < limits.high_share * total


def _belong_together(levels: Sequence[Level], longest_gap_s: float) -> bool:
    total = levels[-1].total
    if total <= 0 or any(one.total != total or not 0 <= one.used <= total for one in levels):
        return False
    return all(0 < later.time_s - earlier.time_s <= longest_gap_s for earlier, later in pairwise(levels))
