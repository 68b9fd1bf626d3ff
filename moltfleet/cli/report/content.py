"""What a report's page is put together from, before it is HTML or Markdown: text is plain here, and escaped there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from moltfleet.model.names import printable

if TYPE_CHECKING:
    from moltfleet.model.report import Finding
    from moltfleet.model.size import Size

# One page a person reads; all rows are in the JSON document.
MOST_ROWS = 40


class Tone(StrEnum):
    """How a cell stands out, if it does; the words in it say the same."""

    PLAIN = ""
    FAINT = "faint"
    STRONG = "strong"
    BAD = "bad"
    NONE = "fits-none"
    FEW = "fits-few"
    SOME = "fits-some"
    MANY = "fits-many"


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of text. A name may be anybody's; it is set apart, so that nothing in it is taken for ours."""

    text: str
    tone: Tone = Tone.PLAIN
    is_name: bool = False


Phrase = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one width. ``numeric`` are the columns that are aligned to the right; ``sum`` is the last row."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    sum: tuple[Cell, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page. ``charts`` are keys of drawings that show what the table says; there may be none."""

    key: str
    title: str
    lead: tuple[Phrase, ...] = ()
    charts: tuple[str, ...] = ()
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure to be seen first, ``value`` and then ``beside``; ``detail`` is below.

    ``share`` from 0 to 1 is how full it is; None when that means nothing.
    """

    label: str
    value: str
    beside: str
    detail: str
    share: float | None = None
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Page:
    """The whole page, warnings first."""

    title: str
    subtitle: str
    findings: tuple[Finding, ...]
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]
    footer: str


def plain(text: object, tone: Tone = Tone.PLAIN) -> Cell:
    """Text of ours; what others told of themselves may be in it, so it is made printable."""
    return Cell(printable(str(text), limit=500), tone)


def name(text: str) -> Cell:
    """A name, or anything else that others chose."""
    return Cell(printable(text), is_name=True)


def phrase(*parts: Cell | str) -> Phrase:
    """Join text and names."""
    return tuple(plain(part) if isinstance(part, str) else part for part in parts)


def names(all_of_them: Iterable[str], *, most: int = 8) -> Phrase:
    """List names, the first ones of many."""
    listed = list(all_of_them)
    parts: list[Cell] = []
    for text in listed[:most]:
        parts += [plain(", "), name(text)] if parts else [name(text)]
    if len(listed) > most:
        parts.append(plain(f" and {len(listed) - most} more"))
    return tuple(parts)


def amount(size: Size | None, *, tone: Tone = Tone.PLAIN) -> Cell:
    """A size; what is not there or was not told is a dash."""
    return Cell(str(size), tone) if size is not None and size.bytes else Cell("–", Tone.FAINT)


def count(number: int, one: str, several: str = "") -> str:
    """Say a number of things."""
    return f"{number} {one if number == 1 else several or one + 's'}"


def upper_first(text: str) -> str:
    """Begin as a sentence does, and leave the rest."""
    return text[:1].upper() + text[1:]
