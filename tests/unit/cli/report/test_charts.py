"""What the drawings show, and that they are drawn the same on every machine."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.report import CLONES, GIB, HOSTILE, a_clone, a_report, with_load
from moltfleet.cli.report import charts, drawing
from moltfleet.cli.report.charts import Chart
from moltfleet.model.errors import ToolFailed
from moltfleet.model.report import total
from moltfleet.model.size import Size


def chart_of(key: str, report: object = None) -> Chart:
    found = charts.build(report or a_report())  # type: ignore[arg-type]
    return next(chart for chart in found if chart.key == key)


def test_both_bars_of_the_memory_are_as_long_as_the_host_has_memory() -> None:
    report = a_report()
    assert [bar.size for bar in chart_of("memory").bars] == [report.memory.total, report.memory.total]
    mark = chart_of("memory").mark
    assert mark is not None and mark.at == report.memory.limit


def test_memory_in_use_is_not_drawn_where_it_was_not_measured() -> None:
    chart = chart_of("memory", with_load(a_report(), available=None))
    assert [bar.name for bar in chart.bars] == ["Promised"]
    assert "was not measured" in chart.text


def test_running_clones_are_drawn_with_what_they_take_of_what_they_have() -> None:
    bars = chart_of("clones").bars
    assert [(bar.name, bar.behind) for bar in bars] == [
        ("base-1", "3.1 GiB of 16 GiB"), ("base-2", "2.2 GiB of 16 GiB"), ("base-4", "1.4 GiB of 16 GiB"),
    ]  # fmt: skip
    assert {bar.size for bar in bars} == {GIB(16)}


def test_a_clone_that_takes_more_than_its_memory_has_a_longer_bar() -> None:
    (bar,) = chart_of("clones", a_report(clones=(a_clone("fat", taken=GIB(17)),))).bars
    assert bar.size == GIB(17)


def test_of_many_clones_the_largest_are_drawn() -> None:
    clones = tuple(a_clone(f"crab-{n}", taken=GIB(n % 15)) for n in range(1000))
    report = a_report(clones=clones)
    assert len(chart_of("clones", report).bars) == len(chart_of("disks", report).bars) == charts.MOST_BARS
    assert {bar.parts[0].size for bar in chart_of("clones", report).bars} == {GIB(14)}


def test_disks_are_drawn_by_what_they_are_for_the_largest_first() -> None:
    bars = chart_of("disks").bars
    assert bars[0].name == "base-1"
    disk = CLONES[0].disk
    every = (disk.clean, disk.ram_image, disk.written, disk.leftover, disk.shed, disk.kept)
    assert bars[0].size == total(every)


def test_the_pool_is_drawn_with_what_is_free() -> None:
    report = a_report()
    (bar,) = chart_of("pool").bars
    assert bar.size == total((*(part.size for part in report.pool), GIB(120)))
    assert chart_of("pool").legend[-1] == ("free", "Free 120 GiB")


def test_what_has_nothing_to_show_is_not_drawn() -> None:
    report = a_report(clones=(), others=())
    bare = replace(report, situation=replace(report.situation, pool_free=None))
    assert [chart.key for chart in charts.build(bare)] == ["memory"]
    silent = a_report(clones=(a_clone("silent"),), others=())
    assert "clones" not in [chart.key for chart in charts.build(silent)]


@pytest.mark.allow("subprocess")
@pytest.mark.parametrize("name", [HOSTILE, "$x^2$", "$", "日本語", "\ud800", "a" * 500, ""])
def test_names_are_drawn_letter_by_letter(name: str) -> None:
    shown = charts.build(a_report(clones=(a_clone(name, taken=GIB(3)),)))
    texts = [element.text for element in drawing.draw(shown)["clones"].iter("text")]
    printed = "".join(c if c.isprintable() else "?" for c in name[:200])
    short = printed if len(printed) <= 24 else f"{printed[:11]}…{printed[-12:]}"
    assert short in [text or "" for text in texts] or not printed


@pytest.mark.allow("subprocess")
def test_drawings_have_the_pages_colours_and_fonts() -> None:
    for element in drawing.draw(charts.build(a_report())).values():
        text = ET.tostring(element, encoding="unicode")
        assert "#f0f0" not in text and "font-family" not in text and "#000000" not in text
        assert "var(--clone)" in text or "var(--clean)" in text


@pytest.mark.allow("subprocess")
def test_sizes_from_a_byte_to_a_petabyte_are_drawn() -> None:
    for size in (Size(1), Size(3000), GIB(2**20)):
        report = a_report(clones=(a_clone("x", taken=size, memory=size),))
        assert drawing.draw(charts.build(report))["clones"] is not None


PROGRAM = """
import sys, xml.etree.ElementTree as ET
from fakes.report import a_report
from moltfleet.cli.report import charts, drawing
for element in drawing.draw(charts.build(a_report())).values():
    sys.stdout.write(ET.tostring(element, encoding="unicode"))
"""


@pytest.mark.allow("subprocess")
def test_drawings_are_the_same_on_every_run_whatever_the_users_settings(tmp_path: Path) -> None:
    settings = tmp_path / "matplotlibrc"
    settings.write_text(
        "svg.fonttype: path\ntext.usetex: True\nfont.size: 30\naxes.grid.axis: y\nsvg.hashsalt: other\n"
    )

    def drawn(**more: str) -> str:
        paths = os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": paths, **more}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=120
        )
        assert done.stderr == ""
        return done.stdout

    first = drawn(PYTHONHASHSEED="1")
    assert drawn(PYTHONHASHSEED="2", MATPLOTLIBRC=str(settings), TZ="Asia/Tokyo", LC_ALL="de_DE.UTF-8") == first
    assert "2026" not in first and "Matplotlib" not in first


def test_without_matplotlib_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ToolFailed) as caught:
        drawing.draw(charts.build(a_report()))
    assert caught.value.brief == "The charts of an HTML report need matplotlib, which is not installed"
    assert "pip install 'moltfleet[report]'" in str(caught.value.hint)
