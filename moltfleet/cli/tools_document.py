"""Guest tools as JSON documents: `moltfleet.tools-status/1` and `moltfleet.tools-verify/1` of docs/json.md."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from moltfleet.cli.errors import error_document

if TYPE_CHECKING:
    from moltfleet.model.guesttools import Proof, ProofResult, ToolsView

Document = dict[str, Any]


def tools_status_document(views: Iterable[ToolsView]) -> Document:
    """``moltfleet.tools-status/1``."""
    return {"schema": "moltfleet.tools-status/1", "results": [_view(view) for view in views]}


def tools_verify_document(results: Iterable[ProofResult]) -> Document:
    """``moltfleet.tools-verify/1``."""
    return {"schema": "moltfleet.tools-verify/1", "results": [_result(result) for result in results]}


def _view(view: ToolsView) -> Document:
    report = view.found.report
    return {
        "clone": view.clone,
        "state": view.state.value,
        "version": report.version if report else None,
        "expected": view.expected,
        "changed": list(report.changed) if report else [],
        "missing": list(report.missing) if report else [],
        "reason": view.found.lack.value if view.found.lack else None,
        "seconds": round(view.seconds, 3),
        "error": error_document(view.error) if view.error else None,
    }


def _result(result: ProofResult) -> Document:
    return {
        "clone": result.clone,
        "passed": bool(result.proofs) and all(proof.passed for proof in result.proofs),
        "proofs": [_proof(proof) for proof in result.proofs],
        "seconds": round(result.seconds, 3),
        "error": error_document(result.error) if result.error else None,
    }


def _proof(proof: Proof) -> Document:
    return {
        "name": proof.name,
        "passed": proof.passed,
        "tried": proof.tried,
        "happened": proof.happened,
        "seconds": round(proof.seconds, 3),
    }
