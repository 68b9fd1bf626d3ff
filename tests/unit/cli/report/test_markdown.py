"""The report as Markdown: word for word, and nothing in a name acts when it is rendered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from fakes.report import GIB, HOSTILE, OTHERS, OUTLOOK, a_clone, a_report
from moltfleet.cli.report import markdown, page
from moltfleet.model.outlook import Outlook
from moltfleet.model.report import Report

# A renderer that takes raw HTML, links and tables, as most do.
RENDERER = MarkdownIt("commonmark").enable("table")
ACTIVE = {"html_inline", "html_block", "link_open", "image", "autolink"}


def rendered(report: Report) -> str:
    return markdown.render(page.build(report))


def tokens(text: str) -> list[Token]:
    blocks = RENDERER.parse(text)
    return [token for block in blocks for token in (block, *(block.children or ()))]


def test_the_page_reads_as_it_was_agreed(golden: Callable[[str, str], None]) -> None:
    golden("report/page.md", rendered(a_report()))


def test_forecasts_stand_between_advice_and_clones(golden: Callable[[str, str], None]) -> None:
    text = rendered(a_report(outlook=OUTLOOK))
    section = text.partition("## Forecasts\n")[2].partition("\n## ")[0]
    golden("report/forecasts.md", section)
    assert text.index("## Right size") < text.index("## Forecasts") < text.index("## Clones")


def test_advice_by_peaks_says_since_when() -> None:
    clones = tuple(replace(a_clone(name, taken=GIB(1)), peak=GIB(3.1)) for name in ("a", "b"))
    text = rendered(a_report(clones=clones, others=()))
    assert "with 16 GiB never passed 3.1 GiB since they were last started: 6 GiB each would let " in text
    assert "one look" not in text


def test_without_an_outlook_there_are_no_forecasts() -> None:
    assert "Forecasts" not in rendered(a_report())
    assert "Forecasts" not in rendered(a_report(outlook=Outlook()))


def test_an_empty_host_has_a_short_page(golden: Callable[[str, str], None]) -> None:
    report = a_report(clones=(), others=(), goldens=(), pool=())
    bare = replace(report, situation=replace(report.situation, reservations=(), pool_free=None), findings=())
    golden("report/empty.md", rendered(bare))


def test_nothing_in_the_page_is_html_or_a_link() -> None:
    found = tokens(rendered(a_report()))
    assert {token.type for token in found} & ACTIVE == set()
    assert "table_open" in {token.type for token in found}


@pytest.mark.parametrize(
    "name",
    [
        HOSTILE,
        "a|b",
        "``",
        "` `",
        "x`",
        "<b>",
        "[a](b)",
        "![a](b)",
        "*a*",
        "&lt;",
        "\\|",
        "# x",
        "- x",
        "~~a~~",
        "a\nb",
    ],
)
def test_a_name_comes_out_as_code_that_reads_as_it_does(name: str) -> None:
    text = rendered(a_report(clones=(a_clone(name, taken=GIB(3)),), others=(replace(OTHERS[0], name=name),)))
    found = tokens(text)
    assert {token.type for token in found} & ACTIVE == set()
    shown = "".join(c if c.isprintable() else "?" for c in name)
    assert shown in [token.content for token in found if token.type == "code_inline"]


@settings(deadline=None, max_examples=40)
@given(st.text(min_size=1, max_size=40))
def test_no_name_whatever_acts_or_breaks_its_table(name: str) -> None:
    text = rendered(a_report(clones=(), others=(replace(OTHERS[0], name=name),)))
    found = tokens(text)
    assert {token.type for token in found} & ACTIVE == set()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "6.5 GiB" in line and "running" in line]
    assert len(rows) == 1
    assert [token.content for token in found if token.type == "inline" and token.content == "running"] == ["running"]


def test_a_long_list_is_cut_and_says_so() -> None:
    clones = tuple(a_clone(f"crab-{n}", taken=GIB(1), health="unfinished molt") for n in range(100))
    text = rendered(a_report(clones=clones))
    assert "The 40 that take most memory are listed, of 100." in text
    assert "`crab-7` and 92 more." in text
    assert text.count("\n| `crab-") == 40
    assert "| **100 running** |" in text
