"""What has happened to clones on this machine: how often each was molted, and how the last one went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from moltfleet.model.results import MoltResult, MoltSeconds


@dataclass(frozen=True, slots=True)
class MoltTally:
    """The molts of one clone. ``last_at`` is ISO 8601 in UTC; ``mode`` and ``seconds`` are of the last good one."""

    molts: int = 0
    failures: int = 0
    last_at: str = ""
    mode: str = ""
    seconds: MoltSeconds = field(default_factory=MoltSeconds)

    def with_one(self, result: MoltResult, at: str) -> MoltTally:
        """Return it with one more; a molt that was skipped counts for nothing."""
        if result.outcome == "failed":
            return replace(self, failures=self.failures + 1)
        if result.outcome != "molted":
            return self
        return MoltTally(self.molts + 1, self.failures, at, result.mode, result.seconds)


class Chronicle(Protocol):
    """Tallies by clone; any number of processes may write them at once."""

    def molted(self, result: MoltResult, *, at: str) -> None:
        """Count a molt. Raises: ToolFailed when that cannot be written."""

    def molts(self) -> Mapping[str, MoltTally]:
        """All tallies by clone; what cannot be read is nothing."""
