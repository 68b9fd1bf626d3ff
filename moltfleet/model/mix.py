"""Clones of several sizes on one host, such as 2x16G+4x8G; what cannot be read is pointed at."""

from __future__ import annotations

import re
from dataclasses import dataclass

from moltfleet.model.capacity import LEAST_CLONE, Verdict
from moltfleet.model.errors import InvalidInput
from moltfleet.model.names import printable
from moltfleet.model.size import Size

_COUNT = re.compile(r"\s*(\d+)\s*[xX×]\s*", re.ASCII)
_SIZE = re.compile(r"\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kmgt]?(?:i?b)?)\s*", re.IGNORECASE | re.ASCII)
_MOST_DIGITS = 5
_HINT = "Example: 2x16G+4x8G."


@dataclass(frozen=True, slots=True)
class MixPart:
    """``count`` clones of one size."""

    count: int
    memory: Size


@dataclass(frozen=True, slots=True)
class Mix:
    """Clones of several sizes, as written."""

    parts: tuple[MixPart, ...]

    @property
    def clones(self) -> int:
        """How many clones there are."""
        return sum(part.count for part in self.parts)

    @property
    def memory(self) -> Size:
        """What they have together."""
        return Size(sum(part.count * part.memory.bytes for part in self.parts))

    @property
    def largest(self) -> Size:
        """The memory of the largest one."""
        return max(part.memory for part in self.parts)

    def verdict(self, available: Size) -> Verdict:
        """Judge it as clones of one size are judged: safe leaves the room of one more, the largest."""
        if self.memory + self.largest <= available:
            return Verdict.SAFE
        return Verdict.POSSIBLE if self.memory <= available else Verdict.NO

    def __str__(self) -> str:
        return " + ".join(f"{part.count} x {part.memory}" for part in self.parts)


def parse_mix(text: str) -> Mix:
    """Read ``2x16G+4x8G``; a size without a count is one clone.

    Raises: InvalidInput, which names the character and shows it.
    """
    parts: list[MixPart] = []
    at = 0
    while True:
        part, at = _parse_part(text, at)
        parts.append(part)
        if at == len(text):
            return Mix(tuple(parts))
        at += 1


def _parse_part(text: str, at: int) -> tuple[MixPart, int]:
    """Read one part; returns where it ends: at the end of the text or at a +."""
    counted = _COUNT.match(text, at)
    count = _count(text, counted) if counted else 1
    at = counted.end() if counted else at
    sized = _SIZE.match(text, at)
    if sized is None:
        at += len(text[at:]) - len(text[at:].lstrip())
        raise _unexpected(text, at, "a size such as 16G" if counted else "a count or a size, such as 2x16G,")
    if text[sized.end() :][:1] not in ("", "+"):
        may_count = counted is None and sized["number"].isdigit()
        unit = "" if sized["unit"] else "an x, a unit, " if may_count else "a unit, "
        raise _unexpected(text, sized.end(), f"{unit}a + or the end")
    return MixPart(count, _size(text, sized)), sized.end()


def _count(text: str, counted: re.Match[str]) -> int:
    if len(counted[1]) > _MOST_DIGITS:
        raise _unreadable(text, counted.start(1), "more clones than any host carries")
    if int(counted[1]) == 0:
        raise _unreadable(text, counted.start(1), "no clone at all")
    return int(counted[1])


def _size(text: str, sized: re.Match[str]) -> Size:
    at = sized.start("number")
    try:
        memory = Size.parse(sized[0])
    except InvalidInput as error:
        raise _unreadable(text, at, "not a usable amount of memory") from error
    if memory < LEAST_CLONE:
        raise _unreadable(text, at, f"{memory} is too little for a guest (a bare number is MiB)")
    return memory


def _unexpected(text: str, at: int, wanted: str) -> InvalidInput:
    found = repr(printable(text[at])) if at < len(text) else "the end"
    return _unreadable(text, at, f"{found} where {wanted} was expected")


def _unreadable(text: str, at: int, what: str) -> InvalidInput:
    shown = printable(text[:at], limit=at)
    pointed = f"{shown}{printable(text[at:], limit=60)}\n{' ' * len(shown)}^"
    brief = f"Mix {printable(text, limit=60)!r} cannot be read: {what}, at character {at + 1}"
    return InvalidInput(brief, hint=_HINT, excerpt=pointed)
