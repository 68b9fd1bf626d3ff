"""Snapshots as text for people, and as JSON documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moltfleet.cli.tables import figures_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moltfleet.cli.documents import Document
    from moltfleet.model.snapshots import ChainView, SnapshotView


def snapshots_document(views: Iterable[SnapshotView], chains: Iterable[ChainView]) -> Document:
    """``moltfleet.snapshot-list/1``."""
    return {
        "schema": "moltfleet.snapshot-list/1",
        "snapshots": [_snapshot(view) for view in views],
        "chains": [_chain(chain) for chain in chains],
    }


def snapshot_taken_document(schema: str, view: SnapshotView, chain: ChainView) -> Document:
    """``moltfleet.snapshot-create/1`` and ``moltfleet.pre-run/1``."""
    return {"schema": schema, "snapshot": _snapshot(view), "chain": _chain(chain)}


def snapshot_deleted_document(clone: str, name: str) -> Document:
    """``moltfleet.snapshot-delete/1``."""
    return {"schema": "moltfleet.snapshot-delete/1", "clone": clone, "snapshot": name}


def _snapshot(view: SnapshotView) -> Document:
    return {
        "clone": view.clone,
        "name": view.name,
        "taken_at": view.taken_at,
        "allocation_bytes": view.allocation.bytes,
        "is_below": view.is_below,
    }


def _chain(chain: ChainView) -> Document:
    return {"clone": chain.clone, "layers": chain.layers, "is_long": chain.is_long}


def snapshots_table(views: Iterable[SnapshotView]) -> str:
    """One line per snapshot."""
    rows = [(v.clone, v.name, v.taken_at, v.allocation, "yes" if v.is_below else "-") for v in views]
    return figures_table(("CLONE", "SNAPSHOT", "TAKEN", "DISK", "BELOW"), rows)


def long_chains(chains: Iterable[ChainView]) -> tuple[str, ...]:
    """One sentence per clone whose chain should be made shorter."""
    return tuple(
        f"Clone {chain.clone!r} stands on {chain.layers} layers of its own, and reads slower for each: "
        f"moltfleet snapshot flatten {chain.clone}"
        for chain in chains
        if chain.is_long
    )
