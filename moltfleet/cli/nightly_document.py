"""A night as a JSON document: `moltfleet.nightly/1` of docs/json.md, and what of the last one `list` tells."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from moltfleet.model.nightly import CloneNight, HostState, LastNight, Night, Outcome

if TYPE_CHECKING:
    from moltfleet.cli.documents import Document


def night_document(night: Night, report: str | None) -> Document:
    """``moltfleet.nightly/1``; ``report`` is the path of its report."""
    return {
        "schema": "moltfleet.nightly/1",
        "started_at": night.started_at,
        "ended_at": night.ended_at,
        "deadline_at": night.deadline_at,
        "seconds": round(night.seconds, 3),
        "outcome": str(night.outcome),
        "molts": str(night.scope),
        "version": night.version,
        "continues": night.continues,
        "report": report,
        "failures": list(night.failures),
        "notes": list(night.notes),
        "steps": [
            {
                "name": str(step.name),
                "state": str(step.state),
                "detail": step.detail,
                "seconds": round(step.seconds, 3),
            }
            for step in night.steps
        ],
        "clones": [_clone(clone) for clone in night.clones],
        "host": {"before": _host(night.host_before), "after": _host(night.host_after)},
        "unexplained": [{"volume": one.volume, "allocation_bytes": one.allocation} for one in night.unexplained],
    }


def last_night_document(night: LastNight | None) -> Document | None:
    """What of the last night `list` tells."""
    if night is None:
        return None
    return {
        "started_at": night.started_at,
        "ended_at": night.ended_at,
        "outcome": str(night.outcome),
        "report": night.report,
    }


def last_night_text(night: LastNight) -> str:
    """The same in a line, by this machine's clock."""
    began = datetime.datetime.fromisoformat(night.started_at).astimezone().strftime("%Y-%m-%d %H:%M")
    where = "" if night.outcome is Outcome.OK or night.report is None else f"; report: {night.report}"
    return f"Last night: {began}, {night.outcome}{where}"


def _clone(clone: CloneNight) -> Document:
    return {
        "clone": clone.clone,
        "act": clone.act,
        "why": clone.why,
        "state": str(clone.state),
        "stage": clone.stage or None,
        "before": clone.before or None,
        "after": clone.after or None,
        "mode": clone.mode or None,
        "rescue": {"outcome": clone.rescue, "directory": clone.directory, "details": list(clone.details)}
        if clone.rescue
        else None,
        "kept": clone.kept,
        "warmed": clone.warmed or None,
        "seconds": round(clone.seconds, 3),
        "error": clone.error or None,
    }


def _host(state: HostState | None) -> Document | None:
    if state is None:
        return None
    return {
        "memory_bytes": state.total,
        "available_bytes": state.available,
        "promised_bytes": state.committed,
        "pressure_percent": state.pressure,
    }
