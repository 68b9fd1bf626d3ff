"""Guest tools as text for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from moltfleet.cli.tables import figures_table
from moltfleet.model.names import printable

if TYPE_CHECKING:
    from moltfleet.model.guesttools import ProofResult, ToolsView

# More files than that are counted only.
_MOST_NAMED = 3


def tools_status_text(views: Iterable[ToolsView]) -> str:
    """One line per clone."""
    rows = [(view.clone, view.state.value, _version(view), _drift(view)) for view in views]
    return figures_table(("CLONE", "TOOLS", "VERSION", "DETAIL"), rows)


def _version(view: ToolsView) -> str:
    return view.found.report.version if view.found.report else "-"


def _drift(view: ToolsView) -> str:
    """What differs from what this program would install."""
    if view.error is not None:
        return ""
    if view.found.report is None:
        return str(view.found.lack or "")
    report = view.found.report
    parts = [f"this program has {view.expected}"] if report.version != view.expected else []
    parts += [f"{word}: {_named(files)}" for word, files in _wrong(view) if files]
    return "; ".join(parts)


def _wrong(view: ToolsView) -> tuple[tuple[str, tuple[str, ...]], ...]:
    report = view.found.report
    return (("changed", report.changed), ("missing", report.missing)) if report else ()


def _named(files: tuple[str, ...]) -> str:
    more = f" and {len(files) - _MOST_NAMED} more" if len(files) > _MOST_NAMED else ""
    return ", ".join(files[:_MOST_NAMED]) + more


def tools_verify_text(results: Iterable[ProofResult]) -> str:
    """One table per clone: what was tried, and what happened."""
    return "\n\n".join(_proofs(result) for result in results if result.proofs)


def _proofs(result: ProofResult) -> str:
    lines = []
    for proof in result.proofs:
        word = "ok" if proof.passed else "FAILED"
        lines.append(f"  {word:<7}{proof.name:<10}{proof.seconds:>6.1f} s  {printable(proof.tried)}")
        lines.append(f"{'':<29}{printable(proof.happened)}")
    return "\n".join([f"{result.clone}", *lines])
