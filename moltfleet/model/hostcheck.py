"""What a look at the host found: one row for each thing that would save it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CheckState(StrEnum):
    """How a row stands. ``UNKNOWN``: it could not be read, and the finding says why."""

    OK = "ok"
    WARNING = "warning"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One row. ``why`` says what it matters for, ``fix`` what to do about it; None where there is nothing to do."""

    name: str
    state: CheckState
    finding: str
    why: str
    fix: str | None = None
