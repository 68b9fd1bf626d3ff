"""A survey as text: a table with the most urgent first, the evidence below it; and all of it in one line."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from moltfleet.cli.tables import figures_table
from moltfleet.model.busy import percent_of_one
from moltfleet.model.figures import amount, duration, part, percent
from moltfleet.model.names import printable
from moltfleet.model.verdict import Verdict

if TYPE_CHECKING:
    from moltfleet.model.survey import CloneSurvey, PoolSurvey, SurveyResult

_HEADERS = ("CLONE", "VERDICT", "FULL IN", "MEMORY", "CPU", "DISK", "BUSY", "WHY")
_NOTHING = "-"
_WIDTH = 100
# In one line only the first few of a kind are named.
_NAMED = 3
# What a person should see first.
_ORDER = (
    Verdict.CRITICAL,
    Verdict.LEAKING,
    Verdict.DOWN,
    Verdict.PAUSED,
    Verdict.UNKNOWN,
    Verdict.GROWING,
    Verdict.BUSY,
    Verdict.OK,
)
_BUSY = {True: "yes", False: "no", None: "?"}


def by_urgency(clones: Sequence[CloneSurvey]) -> list[CloneSurvey]:
    """Order clones as they should be looked at."""

    def key(one: CloneSurvey) -> tuple[int, float, str]:
        return _ORDER.index(one.verdict), float("inf") if one.seconds is None else one.seconds, one.clone

    return sorted(clones, key=key)


def survey_text(result: SurveyResult, *, why: bool = False) -> str:
    """Return the table of clones, a line about the pool, and the evidence when asked for."""
    clones = by_urgency(result.clones)
    blocks = [figures_table(_HEADERS, [_row(one) for one in clones]), _about_pool(result.pool)]
    if why:
        told = [(one.clone, tuple(_evidence(one))) for one in clones]
        told.append(("pool", result.pool.judgement.evidence))
        blocks += ["\n".join((name, *map(_paragraph, lines))) for name, lines in told if lines]
    return "\n\n".join(block for block in blocks if block)


def _row(one: CloneSurvey) -> tuple[str, ...]:
    found = one.judgement
    known = found.used is not None and found.total is not None
    return (
        one.clone,
        str(one.verdict),
        _NOTHING if one.seconds is None else duration(one.seconds),
        part(found.used or 0, found.total or 0) if known else _NOTHING,
        _NOTHING if one.cpu_share is None else percent_of_one(one.cpu_share),
        _NOTHING if one.disk is None else amount(one.disk.bytes),
        _BUSY[one.is_busy] + (", held" if one.hold else ""),
        printable(found.reason, limit=100),
    )


def _about_pool(pool: PoolSurvey) -> str:
    if pool.free is None or pool.size is None:
        return ""
    free = f"pool: {part(pool.free.bytes, pool.size.bytes)} free"
    return f"{free}, {pool.judgement.verdict}: {pool.judgement.reason}"


def _evidence(one: CloneSurvey) -> Iterator[str]:
    yield from one.judgement.evidence
    if one.busy_why:
        yield f"busy: {_BUSY[one.is_busy]}, {one.busy_why}"
    if one.hold:
        yield f"held: by {one.hold.by} until {one.hold.until} {one.hold.why}".rstrip()
    if one.written:
        yield f"disk: wrote {amount(one.written)} in the last {duration(one.written_s)}"


def _paragraph(text: str) -> str:
    return "\n".join(
        textwrap.wrap(
            printable(text, limit=600), _WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False
        )
    )


def short_text(result: SurveyResult) -> str:
    """Return all of it in one line: how many are well, the first few that are not by name, a pool that fills."""
    counts = Counter(one.verdict for one in result.clones)
    parts = []
    for verdict in _ORDER:
        if counts[verdict]:
            named = "" if verdict in (Verdict.OK, Verdict.BUSY) else f" ({_some(result.clones, verdict)})"
            parts.append(f"{counts[verdict]} {verdict}{named}")
    if result.pool.judgement.verdict in (Verdict.LEAKING, Verdict.CRITICAL):
        parts.append(f"pool {percent(result.pool.free_share)} free")
    return ", ".join(parts) or "no clones"


def _some(clones: Sequence[CloneSurvey], verdict: Verdict) -> str:
    chosen = by_urgency([one for one in clones if one.verdict is verdict])
    texts = [one.clone + (f" in {duration(one.seconds)}" if one.seconds is not None else "") for one in chosen]
    return ", ".join(texts[:_NAMED]) + (", …" if len(texts) > _NAMED else "")


def screen(result: SurveyResult, *, width: int, height: int) -> str:
    """Return a survey cut to a terminal of so many columns and rows."""
    head = f"{result.taken_at}  {short_text(result)}"
    lines = [head, "", *survey_text(result).splitlines()]
    if len(lines) > height:
        hidden = len(lines) - height + 1
        lines = [*lines[: height - 1], f"… and {hidden} lines more"]
    return "\n".join(line if len(line) <= width else line[: width - 1] + "…" for line in lines)
