"""Carry a builder's failure to its command line with an exit code."""

from __future__ import annotations


class BuildError(Exception):
    """A failure to be told in one line, with a hint and an exit code."""

    def __init__(self, brief: str, *, hint: str | None = None, code: int = 7) -> None:
        super().__init__(brief)
        self.hint = hint
        self.code = code
