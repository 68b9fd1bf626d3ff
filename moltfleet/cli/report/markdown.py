"""The report as Markdown, for terminals, tickets and wikis. Nothing in a name acts as Markdown or HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.cli.report.content import Cell, Page, Phrase, Section, Table, Tile, Tone, names, plain

if TYPE_CHECKING:
    from moltfleet.model.report import Finding

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")


def render(page: Page) -> str:
    """Return the page, ending with a line break."""
    return "\n".join(_lines(page)) + "\n"


def _lines(page: Page) -> Iterator[str]:
    yield from (f"# {_escape(page.title)}", "", _escape(page.subtitle), "")
    yield from ("## Needs attention", "")
    yield from [_finding(finding) for finding in page.findings] or ["Nothing."]
    yield from ("", "## At a glance", "")
    yield from (_tile(tile) for tile in page.tiles)
    for section in page.sections:
        yield from _section(section)
    yield from ("", _escape(page.footer))


def _tile(tile: Tile) -> str:
    beside = f" {_escape(tile.beside)}" if tile.beside else ""
    return f"- {_escape(tile.label)}: **{_escape(tile.value)}**{beside} ({_escape(tile.detail)})"


def _finding(finding: Finding) -> str:
    about = f": {_phrase(names(finding.names))}" if finding.names else ""
    hint = f" {_escape(_sentence(finding.hint))}" if finding.hint else ""
    return f"- **{finding.level}** {_escape(finding.text)}{about}.{hint}"


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _section(section: Section) -> Iterator[str]:
    yield from ("", f"## {_escape(section.title)}")
    for lead in section.lead:
        yield from ("", _phrase(lead))
    if section.table is not None:
        yield from ("", *_table(section.table))


def _table(table: Table) -> Iterator[str]:
    yield _row(plain(header) for header in table.headers)
    yield "|" + "|".join("---:" if index in table.numeric else "---" for index in range(len(table.headers))) + "|"
    yield from (_row(row) for row in table.rows)
    if table.sum:
        yield _row(replace(cell, tone=Tone.STRONG) for cell in table.sum)


def _row(cells: Iterable[Cell]) -> str:
    return "| " + " | ".join(_cell(cell, in_table=True) for cell in cells) + " |"


def _phrase(phrase: Phrase) -> str:
    return "".join(_cell(cell) for cell in phrase)


def _cell(cell: Cell, *, in_table: bool = False) -> str:
    if not cell.is_name or not cell.text:
        return f"**{_escape(cell.text)}**" if cell.text and cell.tone is Tone.STRONG else _escape(cell.text)
    code = _code(cell.text)
    # Rows are cut at bars before code is looked for.
    return code.replace("|", "\\|") if in_table else code


def _code(text: str) -> str:
    """Quote as code, in which nothing is special, with a fence that the text does not contain."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
