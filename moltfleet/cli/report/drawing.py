"""Draws the report's charts. The only importer of matplotlib, which is an extra; names are drawn letter by letter."""

from __future__ import annotations

import io
import logging
import math
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from moltfleet.cli.report import svg
from moltfleet.cli.report.charts import ROLES, Bar, Chart, Mark
from moltfleet.model.errors import ToolFailed
from moltfleet.model.names import printable
from moltfleet.model.size import Size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_IN = 10.0
_ROW_IN = 0.27
_FOOT_IN = 0.28
_BAR_SHARE = 0.64
_LONGEST_NAME = 24
# Width of a character of the drawing's font, about; page fonts are rather narrower.
_CHARACTER_IN = 0.082
_GAP_IN = 0.1
# Grid lines across a drawing, at most.
_MOST_LINES = 8
# What is drawn with; the page's colours take their place, which are others by night.
_COLOURS = {
    role: f"#f0f0{n:02x}" for n, role in enumerate((*ROLES, "ink", "faint", "line", "paper", "on-fill", "limit"))
}
_LIGHT_FILLS = frozenset({"clone-soft", "host", "free"})
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "moltfleet",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": _COLOURS["ink"],
    "xtick.color": _COLOURS["faint"],
    "ytick.color": _COLOURS["ink"],
    "axes.edgecolor": _COLOURS["line"],
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def require() -> None:
    """Raises: ToolFailed without matplotlib."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ToolFailed(
            "The charts of an HTML report need matplotlib, which is not installed",
            details=str(error),
            hint="Install the extra: pip install 'moltfleet[report]'. --format markdown needs nothing.",
        ) from error


def draw(charts: Iterable[Chart]) -> dict[str, ET.Element]:
    """Draw each as an SVG element, by its key; the same charts give the same bytes. Raises: ToolFailed."""
    require()
    logging.getLogger("matplotlib").addHandler(logging.NullHandler())
    logging.getLogger("matplotlib").propagate = False
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Names may have signs that the font for measuring has not.
        warnings.simplefilter("ignore")
        # Nothing that stands in the user's own matplotlibrc.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        return {chart.key: _draw(chart) for chart in charts}


def _draw(chart: Chart) -> ET.Element:
    figure, axes, width_in = _open(chart)
    longest = max(1, *(bar.size.bytes for bar in chart.bars), chart.mark.at.bytes if chart.mark else 0)
    for row, bar in enumerate(chart.bars):
        _bar(axes, row, bar, per_inch=longest / width_in if chart.is_summary else None)
        _behind(axes, row, bar.behind)
    _scale(axes, [_short(bar.name) for bar in chart.bars], longest)
    if chart.mark is not None:
        _mark(axes, chart.mark)
    return _finish(figure, chart)


def _open(chart: Chart) -> tuple[Figure, Axes, float]:
    """Make an empty drawing of the right height, the first bar above; also tell how wide its bars may be."""
    from matplotlib.figure import Figure

    row = _ROW_IN * (2 if chart.is_summary else 1)
    body, head = row * len(chart.bars), 0.26 if chart.mark else 0.04
    left = _GAP_IN + _CHARACTER_IN * max(len(_short(bar.name)) for bar in chart.bars)
    right = 2 * _GAP_IN + _CHARACTER_IN * max(4, *(len(bar.behind) for bar in chart.bars))
    width, height = _WIDTH_IN - left - right, body + head + _FOOT_IN
    figure = Figure(figsize=(_WIDTH_IN, height))
    axes = figure.add_axes((left / _WIDTH_IN, _FOOT_IN / height, width / _WIDTH_IN, body / height))
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.tick_params(length=0, pad=4)
    axes.grid(axis="x", color=_COLOURS["line"], linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes, width


def _bar(axes: Axes, row: int, bar: Bar, *, per_inch: float | None) -> None:
    """Draw the parts side by side; with ``per_inch`` (bytes) write the size into those that have room for it."""
    left = 0
    for part in bar.parts:
        length, text = part.size.bytes, str(part.size)
        axes.barh(
            row, length, left=left, height=_BAR_SHARE, color=_COLOURS[part.role],
            edgecolor=_COLOURS["paper"], linewidth=0.8 if length else 0,
        )  # fmt: skip
        if per_inch and length / per_inch > _CHARACTER_IN * (len(text) + 1):
            colour = _COLOURS["ink" if part.role in _LIGHT_FILLS else "on-fill"]
            axes.text(left + length / 2, row, text, ha="center", va="center_baseline", color=colour)
        left += length


def _behind(axes: Axes, row: int, text: str) -> None:
    """Write at the right edge, in line with a bar."""
    axes.annotate(
        text, (1.0, row), xycoords=("axes fraction", "data"), xytext=(72 * _GAP_IN, 0), textcoords="offset points",
        va="center_baseline", annotation_clip=False,
    )  # fmt: skip


def _short(name: str) -> str:
    """Cut a long name in its middle: those of one fleet differ at the end."""
    text, half = printable(name), _LONGEST_NAME // 2
    return text if len(text) <= _LONGEST_NAME else f"{text[: half - 1]}…{text[-half:]}"


def _scale(axes: Axes, names: list[str], longest: int) -> None:
    """Name the bars, and rule the drawing by a power of two."""
    axes.set_yticks(range(len(names)), labels=names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    step = 2 ** max(0, math.ceil(math.log2(longest / _MOST_LINES)))
    ticks = range(0, longest + 1, step)
    axes.set_xlim(0, longest)
    axes.set_xticks(ticks, labels=[str(Size(tick)) if tick else "0" for tick in ticks])


def _mark(axes: Axes, mark: Mark) -> None:
    """Draw a line across the bars, and write above them, towards the middle."""
    at = mark.at.bytes
    axes.axvline(at, color=_COLOURS["limit"], linestyle=(0, (4, 3)), linewidth=1.2)
    axes.annotate(
        mark.text, (at, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 4), textcoords="offset points",
        ha="right" if at > axes.get_xlim()[1] / 2 else "left", color=_COLOURS["limit"], annotation_clip=False,
    )  # fmt: skip


def _finish(figure: Figure, chart: Chart) -> ET.Element:
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata=_NO_METADATA, transparent=True)
    colours = {colour: f"var(--{role})" for role, colour in _COLOURS.items()}
    return svg.adopt(stream.getvalue(), key=chart.key, title=chart.title, description=chart.text, colours=colours)
