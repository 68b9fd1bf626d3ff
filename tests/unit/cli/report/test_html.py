"""The report as HTML: one file that loads and runs nothing, and that everybody can read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.report import GIB, GOLDENS, HOST, HOSTILE, OTHERS, a_clone, a_report
from moltfleet.cli.report import charts, drawing, html, page
from moltfleet.model.report import Report

# Elements that HTML ends itself.
VOID = {"meta", "br", "hr", "img", "link", "input"}
KNOWN = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "h1", "h2", "h3", "p",
    "ul", "li", "div", "span", "strong", "figure", "figcaption", "table", "caption", "thead", "tbody", "tfoot", "tr",
    "th", "td", "svg", "desc", "g", "path", "defs", "use", "text", "clippath", "rect",
}  # fmt: skip

pytestmark = pytest.mark.allow("subprocess")  # matplotlib asks fc-list for fonts, once


@dataclass
class Reader(HTMLParser):
    """What a browser would see: elements with their attributes, and text by the element that it stands in."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    path: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.path.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.path.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.path[-1] if self.path else "", data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def rendered(report: Report, *, drawn: bool = True) -> str:
    shown = charts.build(report) if drawn else ()
    return html.render(page.build(report), shown, drawing.draw(shown))


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.path == []
    return reader


@pytest.fixture(scope="module")
def text() -> str:
    return rendered(a_report())


@pytest.fixture
def found(text: str) -> Reader:
    return read(text)


def test_the_page_is_built_as_it_was_agreed(golden: Callable[[str, str], None]) -> None:
    text = rendered(a_report(), drawn=False)
    golden("report/page.html", re.sub(r"<style>.*</style>", "<style></style>", text, flags=re.DOTALL))


def test_the_page_has_no_element_but_those_it_is_built_from(found: Reader) -> None:
    assert {name for name, _ in found.elements} <= KNOWN


def test_the_page_loads_nothing_and_runs_nothing(found: Reader, text: str) -> None:
    for name, attributes in found.elements:
        assert not [key for key in attributes if key.startswith("on") or key in ("src", "srcset", "action", "data")]
        assert attributes.get("href", "#").startswith("#"), name
    assert not re.search(r"@import|@font-face|javascript:", text)
    assert set(re.findall(r"url\(\s*[^#]", text)) == set()
    policies = [meta["content"] for meta in found.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies[0].startswith("default-src 'none'")


def test_a_hostile_name_is_text_wherever_it_stands(found: Reader) -> None:
    shown = "".join(c if c.isprintable() else "?" for c in HOSTILE)
    places = [place for place, data in found.texts if data == shown]
    # Its row in the table, and nothing else that its markup would have made.
    assert places == ["span"]


@settings(deadline=None, max_examples=40)
@given(st.text(max_size=60))
def test_no_name_whatever_becomes_markup(name: str) -> None:
    told, usual = (read(rendered(named(text), drawn=False)) for text in (name, "crab"))
    assert [tag for tag, _ in told.elements] == [tag for tag, _ in usual.elements]


def named(text: str) -> Report:
    """A report in which others chose all the words."""
    clone = a_clone(text, taken=GIB(3), golden=text, health=f"unfinished {text}")
    host = replace(HOST, name=f"h{text}", virt_reason=text, uri=text)
    golden = replace(GOLDENS[0], name=text, profile=text, source=text)
    return a_report(clones=(clone,), others=(replace(OTHERS[0], name=text),), host=host, goldens=(golden,))


def test_identifiers_are_there_once_and_lead_somewhere(found: Reader, text: str) -> None:
    identifiers = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    wanted = set(re.findall(r"url\(#([^)]+)\)", text)) | {a["href"][1:] for _, a in found.elements if "href" in a}
    labels = {word for _, a in found.elements for word in a.get("aria-labelledby", "").split()}
    assert wanted | labels <= set(identifiers)


def test_every_drawing_is_named_described_and_told_again_as_a_table(found: Reader) -> None:
    drawings = found.all("svg")
    assert len(drawings) == len(charts.build(a_report())) == 4
    assert all(drawing["role"] == "img" and drawing["aria-labelledby"] for drawing in drawings)
    for section in page.build(a_report()).sections:
        assert not section.charts or section.table is not None


def test_tables_say_which_cells_are_headers(found: Reader) -> None:
    assert all(cell.get("scope") in ("row", "col") for cell in found.all("th"))
    assert len(found.all("caption")) == len(found.all("table"))


def test_warnings_stand_before_everything_else(found: Reader) -> None:
    titles = [data for place, data in found.texts if place in ("h1", "h2")]
    assert titles[:2] == ["Capacity of forge", "Needs attention"]


def palettes(text: str) -> list[dict[str, str]]:
    """The colours of the page by day and by night."""
    day, _, night = text.partition("@media print")[0].partition("@media screen and (prefers-color-scheme: dark)")
    return [dict(re.findall(r"(--[a-z-]+): (#[0-9a-f]{6})", part)) for part in (day, night)]


def test_every_colour_is_there_for_day_and_night(text: str) -> None:
    day, night = palettes(text)
    assert day.keys() == night.keys()
    assert all(day[role] != night[role] for role in day)
    assert set(re.findall(r"var\((--[a-z-]+)\)", text)) <= day.keys()


def luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def pairs() -> Iterator[tuple[str, str]]:
    """Text with what it stands on."""
    for ground in ("paper", "page", "card", "none", "few", "some", "many", "free", "host"):
        yield "ink", ground
    for ground in ("paper", "page", "card", "critical-soft", "warning-soft", "note-soft"):
        yield "faint", ground
    for role in ("clone", "other", "starting", "golden", "clean", "ram", "written", "shed", "kept", "rest"):
        yield "on-fill", role
    for level in ("critical", "warning", "note"):
        yield level, f"{level}-soft"
        yield "paper", level
    yield from (("limit", "paper"), ("critical", "card"))


@pytest.mark.parametrize("pair", list(pairs()), ids="-on-".join)
def test_text_can_be_told_from_what_it_stands_on(text: str, pair: tuple[str, str]) -> None:
    for colours in palettes(text):
        light, dark = sorted((luminance(colours[f"--{role}"]) for role in pair), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_an_empty_host_has_a_page(found: Reader) -> None:
    text = rendered(a_report(clones=(), others=(), goldens=(), pool=()))
    assert len(read(text).all("svg")) == 2
