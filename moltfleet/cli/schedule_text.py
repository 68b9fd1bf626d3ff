"""A schedule as a table and as JSON documents: `moltfleet.schedule-*/1` of docs/json.md."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import TYPE_CHECKING

from moltfleet.cli.tables import figures_table

if TYPE_CHECKING:
    from moltfleet.cli.documents import Document
    from moltfleet.model.schedule import Job
    from moltfleet.operations.scheduling import Scheduled


def schedule_document(verb: str, found: Scheduled) -> Document:
    """``moltfleet.schedule-install/1`` and ``moltfleet.schedule-show/1``."""
    return {
        "schema": f"moltfleet.schedule-{verb}/1",
        "jobs": [_job(job) for job in found.jobs],
        "lingering": found.lingering,
        "notes": list(found.notes),
    }


def removed_document(jobs: Iterable[Job]) -> Document:
    """``moltfleet.schedule-remove/1``."""
    return {"schema": "moltfleet.schedule-remove/1", "removed": [{"kind": str(j.kind), "name": j.name} for j in jobs]}


def schedule_text(jobs: Iterable[Job]) -> str:
    """One line per job; times as this machine's clock shows them."""
    headers = ("JOB", "BY", "STATE", "WHEN", "NEXT", "LAST")
    rows = [(j.name, j.kind, j.state, j.when, _local(j.next), _last(j)) for j in jobs]
    return figures_table(headers, rows)


def _job(job: Job) -> Document:
    return {
        "name": job.name,
        "kind": str(job.kind),
        "when": job.when,
        "command": job.command,
        "state": job.state,
        "next": job.next,
        "last": job.last,
        "result": job.result or None,
    }


def _last(job: Job) -> str:
    if job.last is None:
        return "-"
    return _local(job.last) if job.result in ("", "success") else f"{_local(job.last)} ({job.result})"


def _local(moment: str | None) -> str:
    if moment is None:
        return "-"
    return datetime.datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")
