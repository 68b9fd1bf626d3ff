"""A plan as text: for a terminal, as Markdown, as CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from moltfleet.cli.plan_rows import mix_reason, rows
from moltfleet.cli.tables import figures_table, markdown_table
from moltfleet.model.names import printable_lines

if TYPE_CHECKING:
    from moltfleet.model.admission import Admission, RuleResult
    from moltfleet.model.capacity import Capacity
    from moltfleet.model.plan import Plan
    from moltfleet.model.size import Size

_WIDTH = 110
_HEADERS = ("WHAT", "VALUE", "ORIGIN")


def plan_text(plan: Plan) -> str:
    """For people: the answer in a line, the figures, what the host says now, the notes."""
    if plan.matrix:
        parts = [_matrix_line(plan), figures_table(*matrix_cells(plan))]
    else:
        parts = [headline(plan), figures_table(_HEADERS, [(r.label, r.text, r.origin) for r in rows(plan)])]
    if plan.now:
        parts.append(admission_text(plan.now.admission))
    if plan.notes:
        parts.append("\n".join(_wrapped(f"Note: {note}.", "      ") for note in plan.notes))
    return printable_lines("\n\n".join(parts), limit=40_000)


def headline(plan: Plan) -> str:
    """Say the answer in one line, and in another one for a mix."""
    capacity, memory = plan.capacity, plan.clone.memory
    lines = [f"Clones of {memory}: {_counts(capacity)}."]
    if plan.mix:
        lines.append(f"{plan.mix}: {plan.mix.verdict(capacity.available)}.")
    return "\n".join(lines)


def _counts(capacity: Capacity) -> str:
    if capacity.max_clones == 0:
        return "none fits"
    if capacity.safe_clones == 0:
        return "0 safe, 1 possible at your own risk"
    return f"{capacity.safe_clones} safe, {capacity.max_clones} possible"


def _matrix_line(plan: Plan) -> str:
    origin = f"{plan.host.reserve} reserve ({plan.host.reserve_origin})"
    return f"Possible: (host - {origin}) / clone, rounded down. Safe: one less."


def admission_text(admission: Admission) -> str:
    """Say what the host would do now, each rule with its arithmetic."""
    lines = [_answer(admission)]
    lines += [_rule_line(result) for result in admission.rules]
    if not admission.admit:
        lines.append(_largest_line(admission.largest))
    if admission.warning:
        lines.append(f"  {admission.warning}.")
    return "\n".join(lines)


def _answer(admission: Admission) -> str:
    return f"One more of {admission.candidate.memory} now: {'yes' if admission.admit else 'no'}."


def _rule_line(result: RuleResult) -> str:
    word = "NO" if not result.passed else "ok" if result.measured else "?"
    return _wrapped(f"  {result.rule:<10} {word:<3} {result.detail}", " " * 17)


def _largest_line(largest: Size) -> str:
    return (
        f"  The largest clone that would fit now: {largest.mib} MiB." if largest.bytes else "  No clone would fit now."
    )


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def plan_markdown(plan: Plan) -> str:
    """For a document: the same as tables and lists."""
    if plan.matrix:
        parts = [_matrix_line(plan), markdown_table(*matrix_cells(plan))]
    else:
        cells = [(row.label, row.text, row.origin) for row in rows(plan)]
        parts = [headline(plan), markdown_table(_titled(_HEADERS), cells)]
    if plan.now:
        verdicts = [(r.rule, "yes" if r.passed else "no", r.detail) for r in plan.now.admission.rules]
        answer = "yes" if plan.now.admission.admit else "no"
        parts += [
            f"One more of {plan.clone.memory} now: {answer}.",
            markdown_table(("Rule", "Passed", "Why"), verdicts),
        ]
    if plan.notes:
        parts.append("\n".join(f"- {note}." for note in plan.notes))
    return printable_lines("\n\n".join(parts), limit=40_000)


def plan_csv(plan: Plan) -> str:
    """For a spreadsheet: one line per figure, or per host and size of clone; memory in MiB."""
    if plan.matrix:
        lines: Iterable[Sequence[object]] = (
            ("host_mib", "clone_mib", "max_clones", "safe_clones"),
            *((c.host.mib, c.clone.mib, c.max_clones, c.safe_clones) for c in plan.matrix),
        )
    else:
        lines = (
            ("quantity", "value", "unit", "origin"),
            *((row.key, "" if row.value is None else row.value, row.unit, row.origin) for row in rows(plan)),
        )
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().rstrip("\n")


def matrix_cells(plan: Plan) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Lay hosts against sizes of clones; a mix has a column of its own."""
    sizes = list(dict.fromkeys(cell.clone for cell in plan.matrix))
    hosts = list(dict.fromkeys(cell.host for cell in plan.matrix))
    found = {(cell.host, cell.clone): cell for cell in plan.matrix}
    headers = ("HOST", *(f"{size}" for size in sizes), *((str(plan.mix),) if plan.mix else ()))
    return headers, [_matrix_row(plan, host, [found[host, size] for size in sizes]) for host in hosts]


def _matrix_row(plan: Plan, host: Size, cells: Sequence[Capacity]) -> tuple[str, ...]:
    counts = tuple(f"{cell.safe_clones} safe, {cell.max_clones} possible" for cell in cells)
    if plan.mix is None:
        return (str(host), *counts)
    available = cells[0].available
    return (str(host), *counts, f"{plan.mix.verdict(available)}: {mix_reason(plan.mix, available)}")


def _titled(headers: Sequence[str]) -> tuple[str, ...]:
    return tuple(header.title() for header in headers)
