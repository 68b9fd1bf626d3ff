"""Rescues as JSON documents: `moltfleet.rescue…/1` of docs/json.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from moltfleet.cli.errors import error_document

if TYPE_CHECKING:
    from moltfleet.cli.documents import Document
    from moltfleet.model.rescue import Part, RescueResult, SavedRescue


def rescues_document(results: Iterable[RescueResult]) -> Document:
    """``moltfleet.rescue/1``."""
    return {"schema": "moltfleet.rescue/1", "results": [_result(result) for result in results]}


def list_document(rescues: Iterable[SavedRescue]) -> Document:
    """``moltfleet.rescue-list/1``."""
    return {"schema": "moltfleet.rescue-list/1", "rescues": [_saved(saved) for saved in rescues]}


def show_document(saved: SavedRescue, flaws: Sequence[str]) -> Document:
    """``moltfleet.rescue-show/1``: as in the list, with what it holds."""
    manifest = saved.manifest
    contents = {
        "repositories": [
            {
                "folder": repository.folder,
                "path": repository.path,
                "head": repository.head,
                "branch": repository.branch,
                "remote": repository.remote,
                "commits": repository.commits,
                "stashes": repository.stashes,
            }
            for repository in (manifest.repositories if manifest else ())
        ],
        "parts": [_part(part) for part in (manifest.parts if manifest else ())],
        "details": list(manifest.details) if manifest else [],
        "renamed": [{"name": r.name, "origin": r.origin} for r in (manifest.renamed if manifest else ())],
        "files": len(manifest.files) if manifest else 0,
        "flaws": list(flaws),
    }
    return {"schema": "moltfleet.rescue-show/1", **_saved(saved), **contents}


def prune_document(deleted: Iterable[SavedRescue]) -> Document:
    """``moltfleet.rescue-prune/1``."""
    return {"schema": "moltfleet.rescue-prune/1", "rescues": [_saved(saved) for saved in deleted]}


def _result(result: RescueResult) -> Document:
    return {
        "clone": result.clone,
        "outcome": str(result.outcome),
        "directory": str(result.directory) if result.directory else None,
        "size_bytes": result.size.bytes,
        "repositories": result.repositories,
        "parts": [_part(part) for part in result.parts],
        "details": list(result.details),
        "seconds": round(result.seconds, 3),
        "error": error_document(result.error) if result.error else None,
    }


def _saved(saved: SavedRescue) -> Document:
    manifest = saved.manifest
    return {
        "clone": saved.clone,
        "date": saved.label,
        "directory": str(saved.directory),
        "size_bytes": saved.size.bytes,
        "taken_at": manifest.taken_at if manifest else None,
        "outcome": str(manifest.outcome) if manifest else None,
        "reason": manifest.reason if manifest else None,
        "golden": manifest.golden if manifest else None,
    }


def _part(part: Part) -> Document:
    return {
        "kind": part.kind,
        "name": part.name or None,
        "origin": part.origin,
        "state": str(part.state),
        "detail": part.detail,
    }
