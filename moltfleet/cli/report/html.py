"""The report as one HTML file: no script, nothing to load, readable by day, by night, on paper and aloud.

It is built as a tree, so nothing in a name can become markup.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from moltfleet.cli.report.content import Cell, Page, Phrase, Section, Table, Tile, Tone, names
from moltfleet.model.report import Finding, Level

if TYPE_CHECKING:
    from moltfleet.cli.report.charts import Chart

_STYLE = Path(__file__).with_name("report.css")
# A second wall, should markup ever slip through: the page may load and run nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
# Tables of so few columns would be torn apart over the whole width.
_FEW = 4
# Names beyond that are broken rather than let widen their column.
_LONG = 32
_SIGNS = {Level.CRITICAL: "!!", Level.WARNING: "!", Level.NOTE: "i"}


def render(page: Page, charts: Sequence[Chart], drawings: Mapping[str, ET.Element]) -> str:
    """Return the whole file, ending with a line break. ``drawings`` are SVG elements by their charts' keys."""
    figures = {chart.key: _figure(chart, drawings[chart.key]) for chart in charts}
    root = ET.Element("html", lang="en")
    _head(ET.SubElement(root, "head"), page)
    body = ET.SubElement(root, "body")
    header = ET.SubElement(body, "header")
    _text(header, "h1", page.title)
    _text(header, "p", page.subtitle, "subtitle")
    main = ET.SubElement(body, "main")
    _findings(main, page.findings)
    _tiles(main, page.tiles)
    for section in page.sections:
        _section(main, section, figures)
    _text(body, "footer", page.footer)
    return "<!DOCTYPE html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"


def _head(head: ET.Element, page: Page) -> None:
    ET.SubElement(head, "meta", charset="utf-8")
    ET.SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY})
    ET.SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    ET.SubElement(head, "meta", name="color-scheme", content="light dark")
    _text(head, "title", page.title)
    _text(head, "style", _STYLE.read_text())


def _text(parent: ET.Element, tag: str, text: str, css: str = "", **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    if css:
        element.set("class", css)
    element.text = text
    return element


def _findings(main: ET.Element, findings: tuple[Finding, ...]) -> None:
    section = ET.SubElement(main, "section", {"class": "findings", "aria-labelledby": "findings"})
    _text(section, "h2", "Needs attention", id="findings")
    if not findings:
        _text(section, "p", "Nothing.", "calm")
        return
    listed = ET.SubElement(section, "ul")
    for finding in findings:
        item = ET.SubElement(listed, "li", {"class": str(finding.level)})
        _text(item, "span", _SIGNS[finding.level], "sign", **{"aria-hidden": "true"})
        body = ET.SubElement(item, "div")
        _text(body, "span", str(finding.level), "level")
        _text(body, "span", f" {finding.text}" + (": " if finding.names else ""))
        _phrase(body, names(finding.names))
        if finding.hint:
            _text(body, "p", finding.hint, "hint")


def _tiles(main: ET.Element, tiles: tuple[Tile, ...]) -> None:
    section = ET.SubElement(main, "section", {"class": "tiles", "aria-label": "At a glance"})
    for tile in tiles:
        box = ET.SubElement(section, "div", {"class": f"tile {tile.tone}".strip()})
        _text(box, "div", tile.label, "label")
        value = _text(box, "div", tile.value, "value")
        if tile.beside:
            value.text = None
            _text(value, "span", tile.value).tail = " "
            _text(value, "span", tile.beside, "beside")
        if tile.share is not None:
            gauge = ET.SubElement(box, "div", {"class": "gauge", "aria-hidden": "true"})
            ET.SubElement(gauge, "div", style=f"width: {100 * tile.share:.1f}%")
        _text(box, "div", tile.detail, "detail")


def _section(main: ET.Element, section: Section, figures: Mapping[str, ET.Element]) -> None:
    element = ET.SubElement(main, "section", {"aria-labelledby": f"section-{section.key}"})
    _text(element, "h2", section.title, id=f"section-{section.key}")
    for lead in section.lead:
        _phrase(ET.SubElement(element, "p"), lead)
    element.extend(figures[key] for key in section.charts if key in figures)
    if section.table is not None:
        _table(ET.SubElement(element, "div", {"class": "scroll"}), section.table)


def _figure(chart: Chart, drawing: ET.Element) -> ET.Element:
    figure = ET.Element("figure")
    _text(figure, "h3", chart.title)
    legend = ET.SubElement(ET.SubElement(figure, "figcaption"), "ul", {"class": "legend"})
    for role, label in chart.legend:
        item = ET.SubElement(legend, "li")
        ET.SubElement(item, "span", {"class": "swatch", "style": f"background: var(--{role})"})
        _text(item, "span", label)
    figure.append(drawing)
    return figure


def _table(parent: ET.Element, table: Table) -> None:
    element = ET.SubElement(parent, "table", {"class": "wide"} if len(table.headers) > _FEW else {})
    _text(element, "caption", table.caption)
    row = ET.SubElement(ET.SubElement(element, "thead"), "tr")
    for index, header in enumerate(table.headers):
        _text(row, "th" if header else "td", header, _alignment(table, index), **({"scope": "col"} if header else {}))
    body = ET.SubElement(element, "tbody")
    for cells in table.rows:
        _row(body, table, cells)
    if table.sum:
        _row(ET.SubElement(element, "tfoot"), table, table.sum)


def _row(parent: ET.Element, table: Table, cells: tuple[Cell, ...]) -> None:
    row = ET.SubElement(parent, "tr")
    for index, cell in enumerate(cells):
        css = f"{_alignment(table, index)} {cell.tone}".strip()
        element = ET.SubElement(row, "td", {"class": css} if css else {})
        if index == 0:
            element.tag = "th"
            element.set("scope", "row")
        _cell(element, cell)


def _alignment(table: Table, index: int) -> str:
    return "number" if index in table.numeric else ""


def _phrase(parent: ET.Element, phrase: Phrase) -> None:
    for cell in phrase:
        _cell(ET.SubElement(parent, "span"), cell)


def _cell(element: ET.Element, cell: Cell) -> None:
    if cell.is_name:
        _text(element, "span", cell.text, "name" if len(cell.text) <= _LONG else "name long")
    elif cell.tone is Tone.STRONG:
        _text(element, "strong", cell.text)
    else:
        element.text = cell.text
