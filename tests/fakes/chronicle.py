"""Tallies of molts in memory."""

from __future__ import annotations

from collections.abc import Mapping

from moltfleet.model.chronicle import MoltTally
from moltfleet.model.errors import ToolFailed
from moltfleet.model.results import MoltResult


class FakeChronicle:
    """The Chronicle port. ``is_full`` makes it one that nothing can be written into."""

    def __init__(self) -> None:
        self.tallies: dict[str, MoltTally] = {}
        self.is_full = False

    def molted(self, result: MoltResult, *, at: str) -> None:
        if self.is_full:
            raise ToolFailed("Tallies in /state/molts cannot be written: No space left on device")
        self.tallies[result.clone] = self.tallies.get(result.clone, MoltTally()).with_one(result, at)

    def molts(self) -> Mapping[str, MoltTally]:
        return dict(self.tallies)
