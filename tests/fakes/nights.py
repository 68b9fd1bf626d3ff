"""Nights in memory, as JSON, so that nothing of them is shared with whoever wrote them."""

from __future__ import annotations

from pydantic import TypeAdapter

from moltfleet.model.errors import ToolFailed
from moltfleet.model.nightly import Night

_FORM = TypeAdapter(Night)


class FakeNights:
    """The Nights port. ``is_full`` makes it one that nothing can be written into."""

    def __init__(self) -> None:
        self.journals: dict[str, bytes] = {}
        self.reports: dict[str, str] = {}
        self.missed: set[str] = set()
        self.writes = 0
        self.is_full = False

    def write(self, night: Night) -> None:
        if self.is_full:
            raise ToolFailed("Nights in /state/nights cannot be written: No space left on device")
        self.writes += 1
        self.journals[night.started_at] = _FORM.dump_json(night)

    def latest(self) -> Night | None:
        return _FORM.validate_json(self.journals[max(self.journals)]) if self.journals else None

    def all(self) -> tuple[Night, ...]:
        """Every night, the oldest first."""
        return tuple(_FORM.validate_json(self.journals[key]) for key in sorted(self.journals))

    def file_report(self, night: Night, markdown: str) -> str:
        if self.is_full:
            raise ToolFailed("Nights in /state/nights cannot be written: No space left on device")
        self.reports[night.started_at] = markdown
        return f"/state/nights/{night.started_at}.md"

    def report_path(self, night: Night) -> str | None:
        return f"/state/nights/{night.started_at}.md" if night.started_at in self.reports else None

    def mark_missed(self, night: Night) -> bool:
        is_new = night.started_at not in self.missed
        self.missed.add(night.started_at)
        return is_new
