"""Updates and old generations of goldens as JSON: ``moltfleet.golden-update/1`` and ``moltfleet.golden-prune/1``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moltfleet.cli.documents import view_document

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moltfleet.cli.documents import Document
    from moltfleet.model.lineage import Change, GoldenUpdate, Spare


def golden_updated_document(update: GoldenUpdate) -> Document:
    """``moltfleet.golden-update/1``; lists are null where the generation before does not tell what it held."""
    return {
        "schema": "moltfleet.golden-update/1",
        "golden": view_document(update.view),
        "outcome": "updated" if update.is_published else "unchanged",
        "from_generation": update.before,
        "generation": update.number,
        "packages": _changes(update.packages),
        "npm_packages": _changes(update.npm_packages),
        "guest_tools": None if update.tools is None else _change(update.tools),
        "allocation_bytes": {"before": update.size_before.bytes, "after": update.size_after.bytes},
        "behind": list(update.behind),
    }


def golden_pruned_document(spares: Iterable[Spare]) -> Document:
    """``moltfleet.golden-prune/1``."""
    rows = list(spares)
    return {
        "schema": "moltfleet.golden-prune/1",
        "pruned": [_spare(spare) for spare in rows],
        "allocation_bytes": sum(spare.allocation.bytes for spare in rows),
    }


def _changes(changes: tuple[Change, ...] | None) -> list[Document] | None:
    return None if changes is None else [_change(change) for change in changes]


def _change(change: Change) -> Document:
    return {"name": change.name, "before": change.before, "after": change.after}


def _spare(spare: Spare) -> Document:
    return {
        "golden": spare.golden,
        "generation": spare.number,
        "built_at": spare.built_at,
        "allocation_bytes": spare.allocation.bytes,
    }
