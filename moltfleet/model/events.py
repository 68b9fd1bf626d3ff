"""What somebody may want to be told of at once: the events that ``notify`` in the config calls out on. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class EventKind(StrEnum):
    """What has happened; the word that the called command gets."""

    KILLED = "killed"
    MOLTED = "molted"
    MOLT_FAILED = "molt-failed"
    PAUSED = "paused"
    NIGHT_FAILED = "night-failed"
    NIGHT_MISSED = "night-missed"


@dataclass(frozen=True, slots=True)
class Event:
    """One of them: ``text`` is a sentence that begins with a word of ours, ``clone`` is empty when it is about all."""

    kind: EventKind
    text: str
    clone: str = ""


class Notifier(Protocol):
    """Whoever wants to be told at once."""

    def tell(self, event: Event, *, at: str) -> None:
        """Call out; ``at`` is UTC in ISO 8601. Raises: ToolFailed, DeadlinePassed."""
