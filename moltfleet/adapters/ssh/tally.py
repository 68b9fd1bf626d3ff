"""Counts what a copy has moved and says what it left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moltfleet.model.names import printable

if TYPE_CHECKING:
    from moltfleet.model.ports import OnBytes, OnSkip


@dataclass(slots=True)
class Tally:
    """What has been moved so far, told to whoever watches."""

    on_bytes: OnBytes | None = None
    on_skip: OnSkip | None = None
    moved: int = field(default=0)

    def add(self, count: int) -> None:
        """Count bytes."""
        self.moved += count
        if self.on_bytes:
            self.on_bytes(self.moved)

    def skip(self, path: bytes, reason: str) -> None:
        """Say that something was left out."""
        if self.on_skip:
            self.on_skip(f"{printable(path.decode('utf-8', 'replace'))}: {reason}")
