"""Manifests as JSON files: written by moltfleet, and read again as if somebody had been at them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from moltfleet.adapters.localfile import read_small, write_atomically
from moltfleet.model.rescue import MANIFEST_SCHEMA, Manifest

NAME = "manifest.json"
_LARGEST = 32 * 2**20


def write(directory: Path, manifest: Manifest) -> None:
    """Write it there, private. Raises: OSError."""
    document = {"schema": MANIFEST_SCHEMA, **asdict(manifest)}
    write_atomically(directory / NAME, json.dumps(document, indent=1).encode(), mode=0o600)


def read(directory: Path) -> Manifest | None:
    """Read it; None when there is none that this version understands."""
    from pydantic import TypeAdapter, ValidationError

    try:
        document = json.loads(read_small(directory / NAME, limit=_LARGEST) or b"")
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.pop("schema", None) != MANIFEST_SCHEMA:
        return None
    try:
        manifest: Manifest = TypeAdapter(Manifest).validate_python(document)
    except ValidationError:
        return None
    return manifest
