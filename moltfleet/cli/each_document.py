"""What `moltfleet each` tells: a row for each clone, or the document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moltfleet.cli.errors import error_document
from moltfleet.cli.tables import figures_table
from moltfleet.model.rescue import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moltfleet.model.each import EachRequest, EachResult

_LONGEST_SAYING = 60


def each_table(results: Iterable[EachResult]) -> str:
    """One line per clone, with the last line that its command wrote."""
    headers = ("CLONE", "OUTCOME", "STATUS", "SECONDS", "FETCHED", "SAID LAST")
    return figures_table(headers, [_row(result) for result in results])


def _row(result: EachResult) -> tuple[object, ...]:
    status = "-" if result.exit_status is None else result.exit_status
    return (result.clone, result.outcome, status, f"{result.seconds:.1f}", _fetched(result), _said(result))


def _fetched(result: EachResult) -> str:
    if result.taken:
        return f"branch {result.branch}"
    if result.rescue is None:
        return "-"
    words = {Outcome.RESCUED: "stored", Outcome.NOTHING: "nothing new"}
    return words.get(result.rescue.outcome, str(result.rescue.outcome))


def _said(result: EachResult) -> str:
    streams = (result.stdout, result.stderr)
    for stream in streams if result.outcome == "done" else reversed(streams):
        lines = stream[-4000:].decode("utf-8", "replace").strip().splitlines()
        if lines:
            line = lines[-1].strip()
            return line if len(line) <= _LONGEST_SAYING else f"{line[: _LONGEST_SAYING - 1]}…"
    return ""


def each_document(request: EachRequest, results: Iterable[EachResult]) -> dict[str, Any]:
    """``moltfleet.each/1``."""
    return {"schema": "moltfleet.each/1", "command": request.line, "results": [_result(one) for one in results]}


def _result(result: EachResult) -> dict[str, Any]:
    fetched = result.rescue
    return {
        "clone": result.clone,
        "outcome": result.outcome,
        "exit_status": result.exit_status,
        "seconds": round(result.seconds, 3),
        "task": result.task or None,
        "branch": result.branch or None,
        "taken": result.taken,
        "fetched": None
        if fetched is None
        else {"outcome": fetched.outcome, "directory": str(fetched.directory) if fetched.directory else None},
        "stdout": result.stdout.decode("utf-8", "replace"),
        "stderr": result.stderr.decode("utf-8", "replace"),
        "truncated": result.truncated,
        "error": error_document(result.error) if result.error else None,
    }
