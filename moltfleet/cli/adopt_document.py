"""What adopting comes to, as JSON: ``moltfleet.adopt/1``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moltfleet.cli.errors import error_document

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moltfleet.model.adoption import Adoptee

Document = dict[str, Any]


def adopt_document(rows: Iterable[Adoptee], *, applied: bool, undo: bool) -> Document:
    """One entry per domain; ``applied`` is false for a plan, ``undo`` true on the way back."""
    return {"schema": "moltfleet.adopt/1", "applied": applied, "undo": undo, "results": [_row(row) for row in rows]}


def _row(row: Adoptee) -> Document:
    return {
        "name": row.name,
        "kind": str(row.kind),
        "golden": row.golden,
        "outcome": row.outcome,
        "volume": row.volume or None,
        "notes": list(row.notes),
        "commands": list(row.commands),
        "left": list(row.left),
        "error": error_document(row.error) if row.error else None,
    }
