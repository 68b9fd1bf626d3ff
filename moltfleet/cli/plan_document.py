"""A plan as a JSON document: ``moltfleet.plan/1`` of docs/json.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moltfleet.model.admission import Admission
    from moltfleet.model.capacity import Capacity
    from moltfleet.model.fit import Fit
    from moltfleet.model.mix import Mix
    from moltfleet.model.plan import DiskFigures, Now, Plan
    from moltfleet.model.size import Size

Document = dict[str, Any]


def plan_document(plan: Plan) -> Document:
    """``moltfleet.plan/1``."""
    ratio = plan.vcpu_ratio
    return {
        "schema": "moltfleet.plan/1",
        "host": {
            "memory_mib": plan.host.memory.mib,
            "reserve_mib": plan.host.reserve.mib,
            "available_mib": plan.capacity.available.mib,
            "cpus": plan.host.cpus,
        },
        "clone": {"memory_mib": plan.clone.memory.mib, "vcpus": plan.clone.vcpus},
        "max_clones": plan.capacity.max_clones,
        "safe_clones": plan.capacity.safe_clones,
        "vcpu_ratio": None if ratio is None else round(ratio, 3),
        "notes": list(plan.notes),
        "origins": {
            "host_memory": plan.host.memory_origin,
            "reserve": plan.host.reserve_origin,
            "cpus": plan.host.cpus_origin,
            "clone_memory": plan.clone.memory_origin,
            "clone_vcpus": plan.clone.vcpus_origin,
        },
        "matrix": [_cell(cell, plan.mix) for cell in plan.matrix],
        "mix": _mix(plan.mix, plan.capacity.available) if plan.mix else None,
        "fit": _fit(plan.fit) if plan.fit else None,
        "disk": _disk(plan.disk) if plan.disk else None,
        "now": _now(plan.now) if plan.now else None,
    }


def admission_document(admission: Admission) -> Document:
    """What the host would do now: the answer, and every rule with its arithmetic."""
    return {
        "admit": admission.admit,
        "rules": [
            {"rule": str(result.rule), "passed": result.passed, "detail": result.detail, "measured": result.measured}
            for result in admission.rules
        ],
        "largest_mib": admission.largest.mib,
        "warning": admission.warning,
    }


def _now(now: Now) -> Document:
    return admission_document(now.admission) | {"clones": now.clones}


def _cell(cell: Capacity, mix: Mix | None) -> Document:
    return {
        "host_mib": cell.host.mib,
        "clone_mib": cell.clone.mib,
        "max_clones": cell.max_clones,
        "safe_clones": cell.safe_clones,
        "mix_verdict": str(mix.verdict(cell.available)) if mix else None,
    }


def _mix(mix: Mix, available: Size) -> Document:
    return {
        "parts": [{"count": part.count, "memory_mib": part.memory.mib} for part in mix.parts],
        "clones": mix.clones,
        "memory_mib": mix.memory.mib,
        "spare_mib": (available.bytes - mix.memory.bytes) // 2**20,
        "verdict": str(mix.verdict(available)),
    }


def _fit(fit: Fit) -> Document:
    return {
        "clones": fit.clones,
        "verdict": str(fit.verdict),
        "clone_memory_mib": _pair(fit.clone_memory),
        "host_memory_mib": _pair(fit.host_memory),
        "reserve_mib": _pair(fit.reserve),
    }


def _pair(pair: tuple[Size | None, Size | None]) -> Document:
    return {word: None if size is None else size.mib for word, size in zip(("safe", "possible"), pair, strict=True)}


def _disk(disk: DiskFigures) -> Document:
    return {
        "golden": disk.golden,
        "golden_bytes": disk.golden_size.bytes,
        "growth_bytes": disk.growth.bytes,
        "ram_image_bytes": disk.ram_image.bytes,
        "per_clone_bytes": disk.per_clone.bytes,
        "pool_free_bytes": None if disk.pool_free is None else disk.pool_free.bytes,
        "clones": disk.clones,
    }
