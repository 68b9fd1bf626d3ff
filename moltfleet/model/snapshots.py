"""Snapshots as they are shown, and how long a clone's chain of layers may get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moltfleet.model.size import Size

# Every read that a layer does not answer goes on to the next one; a clone after a molt has two.
LONG_CHAIN = 10
# The record of a clone stays under 16 KiB (DESIGN D2).
MOST_SNAPSHOTS = 40


@dataclass(frozen=True, slots=True)
class SnapshotView:
    """A snapshot, and what its layer takes on the disk; ``is_below`` says that the clone stands on it now."""

    clone: str
    name: str
    taken_at: str
    allocation: Size
    is_below: bool


@dataclass(frozen=True, slots=True)
class ChainView:
    """How many layers of its own a clone runs on, the writable one among them."""

    clone: str
    layers: int

    @property
    def is_long(self) -> bool:
        """Whether it should be made shorter."""
        return self.layers >= LONG_CHAIN
