"""A survey as ``moltfleet.survey/1`` of docs/json.md, and what follows from one as ``moltfleet.leaking/1``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from moltfleet.cli.documents import act_document, hold_document

if TYPE_CHECKING:
    from moltfleet.model.policy import Decision
    from moltfleet.model.records import Hold
    from moltfleet.model.results import ActResult
    from moltfleet.model.survey import CloneSurvey, PoolSurvey, SurveyResult
    from moltfleet.model.verdict import Judgement

Document = dict[str, Any]


def survey_document(result: SurveyResult, acts: Iterable[ActResult] = ()) -> Document:
    """``moltfleet.survey/1``; ``acts`` are what protected the pool."""
    return {
        "schema": "moltfleet.survey/1",
        "taken_at": result.taken_at,
        "seconds": round(result.seconds, 3),
        "clones": [_clone(one) for one in result.clones],
        "pool": _pool(result.pool),
        "notes": list(result.notes),
        "results": [act_document(act) for act in acts],
    }


def leaking_document(decisions: Iterable[Decision], acts: Iterable[ActResult] | None = None) -> Document:
    """``moltfleet.leaking/1``; ``acts`` is None as long as nothing was done."""
    return {
        "schema": "moltfleet.leaking/1",
        "decisions": [_decision(decision) for decision in decisions],
        "results": None if acts is None else [act_document(act) for act in acts],
    }


def _decision(decision: Decision) -> Document:
    return {
        "clone": decision.clone,
        "act": str(decision.act),
        "verdict": str(decision.verdict),
        "why": decision.why,
        "full_in_seconds": None if decision.seconds is None else round(decision.seconds, 1),
        "answered": decision.answered,
    }


def _clone(one: CloneSurvey) -> Document:
    return {
        "name": one.clone,
        "state": str(one.state),
        **_judgement(one.judgement),
        "busy": one.is_busy,
        "busy_why": one.busy_why,
        "hold": hold_document(one.hold),
        "molted_at": one.molted_at,
        "can_molt": one.can_molt,
        "answered": one.answered,
        "resident_bytes": one.resident.bytes if one.resident else None,
        "disk_bytes": one.disk.bytes if one.disk else None,
        "written_bytes": one.written,
        "written_seconds": round(one.written_s, 1),
        "cpu_share": None if one.cpu_share is None else round(one.cpu_share, 4),
        "kills": one.kills,
    }


def _judgement(found: Judgement) -> Document:
    return {
        "verdict": str(found.verdict),
        "reason": found.reason,
        "evidence": list(found.evidence),
        "used_bytes": found.used,
        "total_bytes": found.total,
        "full_in_seconds": None if found.seconds is None else round(found.seconds, 1),
        "bytes_per_second": None if found.rate is None else round(found.rate, 1),
    }


def holds_document(holds: Iterable[tuple[str, Hold]]) -> Document:
    """``moltfleet.hold-list/1``."""
    return {
        "schema": "moltfleet.hold-list/1",
        "holds": [{"clone": clone, "until": hold.until, "by": hold.by, "why": hold.why} for clone, hold in holds],
    }


def _pool(pool: PoolSurvey) -> Document:
    return {
        "free_bytes": pool.free.bytes if pool.free is not None else None,
        "size_bytes": pool.size.bytes if pool.size is not None else None,
        **_judgement(pool.judgement),
    }
