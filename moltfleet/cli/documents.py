"""Results as JSON documents: the contract of docs/json.md. Keys are only ever added within a version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moltfleet.cli.errors import error_document
from moltfleet.model.hostcheck import Check, CheckState

if TYPE_CHECKING:
    from moltfleet.cli.streams import GuestOutput
    from moltfleet.model.containment import HostPlan
    from moltfleet.model.domain import Endpoint
    from moltfleet.model.errors import MoltfleetError
    from moltfleet.model.logins import LoginsResult
    from moltfleet.model.makingroom import RoomPlan, Way
    from moltfleet.model.records import Forced, Hold, SyncedLogins
    from moltfleet.model.rescue import RescueResult
    from moltfleet.model.results import ActResult, CloneView, GoldenView, HealthResult, KeptView, MoltResult

Document = dict[str, Any]


def clones_document(views: Iterable[CloneView], last_night: Document | None = None) -> Document:
    """``moltfleet.list/1``, with how the last night was."""
    return {"schema": "moltfleet.list/1", "clones": [_clone(view) for view in views], "last_night": last_night}


def status_document(views: Iterable[CloneView]) -> Document:
    """``moltfleet.status/1``: the list's form, and what made a clone stale, who forced it up, hold, logins."""
    return {"schema": "moltfleet.status/1", "clones": [_clone_in_full(view) for view in views]}


def _clone_in_full(view: CloneView) -> Document:
    return _clone(view) | {
        "stale_reason": view.stale_reason or None,
        "forced": _forced(view.forced),
        "hold": hold_document(view.hold),
        "logins": _synced(view.logins),
    }


def acts_document(schema: str, results: Iterable[ActResult]) -> Document:
    """The form of create, start, stop, restart, delete, cleanup and warm."""
    return {"schema": schema, "results": [act_document(result) for result in results]}


def molts_document(schema: str, results: Iterable[MoltResult]) -> Document:
    """``moltfleet.molt/1``, ``moltfleet.undo/1`` and ``moltfleet.kept-restore/1``."""
    return {"schema": schema, "results": [_molt(result) for result in results]}


def health_document(results: Iterable[HealthResult]) -> Document:
    """``moltfleet.health/1``."""
    return {"schema": "moltfleet.health/1", "results": [_health(result) for result in results]}


def kept_document(views: Iterable[KeptView]) -> Document:
    """``moltfleet.kept-list/1``."""
    return {"schema": "moltfleet.kept-list/1", "kept": [_kept(view) for view in views]}


def kept_deleted_document(clone: str, label: str) -> Document:
    """``moltfleet.kept-delete/1``."""
    return {"schema": "moltfleet.kept-delete/1", "clone": clone, "label": label}


def goldens_document(views: Iterable[GoldenView]) -> Document:
    """``moltfleet.golden-list/1``."""
    return {"schema": "moltfleet.golden-list/1", "goldens": [view_document(view) for view in views]}


def golden_built_document(view: GoldenView) -> Document:
    """``moltfleet.golden-build/1``."""
    return {"schema": "moltfleet.golden-build/1", "golden": view_document(view)}


def golden_document(view: GoldenView, manifest: Mapping[str, object]) -> Document:
    """``moltfleet.golden-show/1``, with the manifest as it was written at the build."""
    return {"schema": "moltfleet.golden-show/1", "golden": view_document(view), "manifest": dict(manifest)}


def golden_deleted_document(name: str) -> Document:
    """``moltfleet.golden-delete/1``."""
    return {"schema": "moltfleet.golden-delete/1", "golden": name}


def exec_document(outputs: Iterable[GuestOutput]) -> Document:
    """``moltfleet.exec/1``; bytes that are not UTF-8 are replaced."""
    return {"schema": "moltfleet.exec/1", "results": [_output(output) for output in outputs]}


def copy_document(source: str, destination: str) -> Document:
    """``moltfleet.copy/1``."""
    return {"schema": "moltfleet.copy/1", "source": source, "destination": destination}


def inventory_script_document(file: Path) -> Document:
    """``moltfleet.inventory-script/1``; the inventory itself has Ansible's form."""
    return {"schema": "moltfleet.inventory-script/1", "file": str(file)}


def host_check_document(checks: Iterable[Check]) -> Document:
    """``moltfleet.host-check/1``."""
    rows = list(checks)
    counts = {state: sum(check.state is state for check in rows) for state in CheckState}
    return {
        "schema": "moltfleet.host-check/1",
        "warnings": counts[CheckState.WARNING],
        "unknown": counts[CheckState.UNKNOWN],
        "checks": [_check(check) for check in rows],
    }


def host_contain_document(plan: HostPlan, *, removed: bool, left: Iterable[Check]) -> Document:
    """``moltfleet.host-contain/1``; ``left`` are the checks that are not ok afterwards."""
    return {
        "schema": "moltfleet.host-contain/1",
        "removed": removed,
        "files": [{"path": act.path, "act": act.act} for act in plan.acts],
        "notes": list(plan.notes),
        "checks": [_check(check) for check in left],
    }


def room_document(plan: RoomPlan, results: Iterable[ActResult] | None = None) -> Document:
    """``moltfleet.make-room/1``; ``results`` is null as long as nothing was done."""
    return {
        "schema": "moltfleet.make-room/1",
        "memory_mib": plan.before.candidate.memory.mib,
        "fits": plan.before.admit,
        "steps": [_way(way) for way in plan.ways],
        "results": None if results is None else [act_document(result) for result in results],
    }


def dry_run_document(lines: Iterable[str]) -> Document:
    """``moltfleet.dry-run/1``."""
    return {"schema": "moltfleet.dry-run/1", "lines": list(lines)}


def _check(check: Check) -> Document:
    return {
        "name": check.name,
        "state": check.state,
        "finding": check.finding,
        "why": check.why,
        "fix": check.fix,
    }


def _clone(view: CloneView) -> Document:
    return {
        "name": view.name,
        "golden": view.golden,
        "generation": view.generation,
        "latest_generation": view.latest_generation,
        "state": str(view.state),
        "ip": guest_address(view.endpoint),
        "ssh": _login(view.endpoint),
        "memory_mib": view.memory.mib,
        "vcpus": view.vcpus,
        "disk_allocation_bytes": view.disk_allocation.bytes,
        "warm": view.warm,
        "health": view.health,
    }


def _forced(forced: Forced | None) -> Document | None:
    if forced is None:
        return None
    return {"reason": forced.reason, "by": forced.by, "at": forced.at, "rules": list(forced.rules)}


def guest_address(endpoint: Endpoint | None) -> str | None:
    """The guest's own address; None for a forwarded port, where only the host's loopback is known."""
    return None if endpoint is None or endpoint.host.startswith("127.") else endpoint.host


def _synced(logins: SyncedLogins | None) -> Document | None:
    return {"names": list(logins.names), "by": logins.by} if logins else None


def hold_document(hold: Hold | None) -> Document | None:
    """A hold, null for none."""
    return {"until": hold.until, "by": hold.by, "why": hold.why} if hold else None


def _login(endpoint: Endpoint | None) -> Document | None:
    return {"host": endpoint.host, "port": endpoint.port, "user": endpoint.user} if endpoint else None


def act_document(result: ActResult) -> Document:
    """What became of one clone."""
    return {
        "clone": result.clone,
        "outcome": result.outcome,
        "detail": result.detail,
        "seconds": round(result.seconds, 3),
        "error": _error(result.error),
    }


def _way(way: Way) -> Document:
    return {
        "clone": way.clone,
        "act": str(way.act),
        "why": way.why,
        "promised_bytes": way.promised.bytes,
        "resident_bytes": way.resident.bytes,
    }


def _output(output: GuestOutput) -> Document:
    return {
        "clone": output.result.clone,
        "exit_status": output.exit_status,
        "stdout": bytes(output.stdout).decode("utf-8", "replace"),
        "stderr": bytes(output.stderr).decode("utf-8", "replace"),
        "truncated": output.truncated,
        "seconds": round(output.result.seconds, 3),
        "error": _error(output.result.error),
    }


def _molt(result: MoltResult) -> Document:
    phases = ("total", "overlay", "destroy", "restore", "ready")
    return {
        "clone": result.clone,
        "outcome": result.outcome,
        "mode": result.mode,
        "reason": result.reason,
        "kept": result.kept,
        "seconds": {phase: round(getattr(result.seconds, phase), 3) for phase in phases},
        "error": _error(result.error),
        "rescue": _rescue(result.rescue),
        "logins": logins_document(result.logins),
    }


def logins_document(result: LoginsResult | None) -> Document | None:
    """What became of a clone's logins, by name; null for one that has none."""
    if result is None:
        return None
    return {"pulled": list(result.pulled), "pushed": list(result.pushed), "notes": list(result.notes)}


def _rescue(result: RescueResult | None) -> Document | None:
    if result is None:
        return None
    return {"outcome": str(result.outcome), "directory": str(result.directory) if result.directory else None}


def _health(result: HealthResult) -> Document:
    return {
        "clone": result.clone,
        "verdict": result.verdict,
        "level": result.level.value if result.health else None,
        "seconds": round(result.seconds, 3),
        "health": result.health.document() if result.health else None,
        "error": _error(result.error),
    }


def _kept(view: KeptView) -> Document:
    return {
        "clone": view.clone,
        "label": view.label,
        "kept_at": view.kept_at,
        "allocation_bytes": view.allocation.bytes,
    }


def _error(error: MoltfleetError | None) -> Document | None:
    return error_document(error) if error else None


def view_document(view: GoldenView) -> Document:
    """One golden, as ``golden list`` tells it."""
    return {
        "name": view.name,
        "profile": view.profile,
        "source": view.source,
        "generation": view.generation,
        "generations": list(view.generations),
        "built_at": view.built_at,
        "allocation_bytes": view.allocation.bytes,
        "clones": list(view.clones),
        "behind": list(view.behind),
    }
