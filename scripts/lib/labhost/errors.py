"""Carry a lab's failures to its command line with an exit code; format nothing here."""

from __future__ import annotations


class LabError(Exception):
    """A failure to be told in one line, with a hint and an exit code."""

    def __init__(self, brief: str, *, hint: str | None = None, code: int = 1) -> None:
        super().__init__(brief)
        self.hint = hint
        self.code = code
