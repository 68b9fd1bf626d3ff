"""The doctor's findings as JSON: ``moltfleet.doctor/1``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from moltfleet.cli.errors import error_document

if TYPE_CHECKING:
    from moltfleet.model.doctor import Diagnosis, Finding, Mended

Document = dict[str, Any]


def doctor_document(
    diagnosis: Diagnosis, mended: Iterable[Mended] | None = None, left: Diagnosis | None = None
) -> Document:
    """What was found; ``mended`` and ``left`` are null unless ``--fix`` did something."""
    return {
        "schema": "moltfleet.doctor/1",
        "findings": [_finding(finding) for finding in diagnosis.findings],
        "bytes_to_win": diagnosis.frees.bytes,
        "notes": list(diagnosis.notes),
        "mended": None if mended is None else [_mended(one) for one in mended],
        "left": None if left is None else [{"kind": f.kind, "subject": f.subject} for f in left.findings],
    }


def _finding(finding: Finding) -> Document:
    return {
        "kind": finding.kind,
        "area": str(finding.area),
        "subject": finding.subject,
        "volume": finding.volume or None,
        "finding": finding.fact,
        "why": finding.why,
        "fix": finding.fix,
        "mendable": finding.remedy is not None,
        "bytes_to_win": finding.frees.bytes,
    }


def _mended(one: Mended) -> Document:
    return {
        "kind": one.finding.kind,
        "subject": one.finding.subject,
        "volume": one.finding.volume or None,
        "outcome": one.outcome,
        "error": error_document(one.error) if one.error else None,
    }
