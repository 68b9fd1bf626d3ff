"""Somebody who is told, and remembers it."""

from __future__ import annotations

from moltfleet.model.errors import ToolFailed
from moltfleet.model.events import Event


class FakeNotifier:
    """The Notifier port. ``fails`` makes it a command that does."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.fails = False

    def tell(self, event: Event, *, at: str) -> None:
        if self.fails:
            raise ToolFailed("Program 'notify-send' failed (exit status 1)")
        self.told.append(event)
