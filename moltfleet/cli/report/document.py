"""The report as ``moltfleet.report/1``: every figure that the page shows, of all clones and domains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moltfleet.model.capacity import Capacity
    from moltfleet.model.load import DomainUse
    from moltfleet.model.outlook import Outlook
    from moltfleet.model.report import Advice, CloneUse, Finding, GoldenUse, HeadroomRow, Report
    from moltfleet.model.size import Size

Document = dict[str, Any]


def report_document(report: Report) -> Document:
    """Make the document of docs/json.md."""
    return {
        "schema": "moltfleet.report/1",
        "taken_at": report.taken_at,
        "version": report.version,
        "host": _host(report),
        "findings": [_finding(finding) for finding in report.findings],
        "memory": _memory(report),
        "clones": [_clone(clone) for clone in report.clones],
        "others": [_other(use) for use in report.others],
        "headroom": [_headroom(row) for row in report.headroom],
        "largest_mib": report.largest.mib,
        "advice": [_advice(advice) for advice in report.advice],
        "forecasts": None if report.outlook is None else _forecasts(report.outlook),
        "pool": _pool(report),
        "goldens": [_golden(golden) for golden in report.goldens],
    }


def _host(report: Report) -> Document:
    facts, load = report.host, report.situation.host
    return {
        "name": facts.name,
        "uri": facts.uri,
        "memory_mib": load.total.mib,
        "memory_origin": load.total_origin,
        "available_mib": _mib(load.available),
        "available_origin": load.available_origin,
        "reserve_mib": report.situation.reserve.mib,
        "reserve_origin": report.situation.reserve_origin,
        "cpus": facts.cpus,
        "vcpus": report.vcpus,
        "virt_type": str(facts.virt_type),
        "virt_reason": facts.virt_reason,
        "libvirt_version": facts.libvirt_version,
        "qemu_version": facts.qemu_version,
        "pressure_percent": load.pressure,
        "pressure_origin": load.pressure_origin,
        "oom_kills": load.oom_kills,
        "oom_origin": load.oom_origin,
    }


def _memory(report: Report) -> Document:
    held = report.memory
    return {
        "limit_mib": held.limit.mib,
        "promised_mib": {
            "clones": held.clones_promised.mib,
            "others": held.others_promised.mib,
            "starting": held.starting.mib,
            "free": held.free.mib,
            "excess": held.excess.mib,
        },
        "used_mib": {
            "clones": _mib(held.clones_used),
            "others": _mib(held.others_used),
            "rest": _mib(held.rest_used),
        },
    }


def _mib(size: Size | None) -> int | None:
    return None if size is None else size.mib


def _finding(finding: Finding) -> Document:
    return {
        "level": str(finding.level),
        "text": finding.text,
        "names": list(finding.names),
        "hint": finding.hint or None,
    }


def _clone(clone: CloneUse) -> Document:
    view, disk = clone.view, clone.disk
    return {
        "name": view.name,
        "golden": view.golden,
        "generation": view.generation,
        "latest_generation": view.latest_generation,
        "state": str(view.state),
        "health": view.health,
        "warm": view.warm,
        "vcpus": view.vcpus,
        "memory_mib": view.memory.mib,
        "promised_mib": clone.promised.mib,
        "resident_mib": _mib(clone.resident),
        "peak_mib": _mib(clone.peak),
        "disk": {
            "capacity_bytes": clone.disk_capacity.bytes,
            "clean_bytes": disk.clean.bytes,
            "ram_image_bytes": disk.ram_image.bytes,
            "written_bytes": disk.written.bytes,
            "shed_bytes": disk.shed.bytes,
            "kept_bytes": disk.kept.bytes,
            "leftover_bytes": disk.leftover.bytes,
        },
    }


def _other(use: DomainUse) -> Document:
    return {
        "name": use.name,
        "state": str(use.state),
        "vcpus": use.vcpus,
        "memory_mib": use.memory.mib,
        "promised_mib": use.promised.mib,
        "resident_mib": _mib(use.resident),
    }


def _headroom(row: HeadroomRow) -> Document:
    return {
        "memory_mib": row.memory.mib,
        "vcpus": row.vcpus,
        "default": row.is_default,
        "more_now": row.more,
        "hosts": [_capacity(capacity) for capacity in row.hosts],
    }


def _capacity(capacity: Capacity) -> Document:
    return {
        "memory_mib": capacity.host.mib,
        "max_clones": capacity.max_clones,
        "safe_clones": capacity.safe_clones,
    }


def _advice(advice: Advice) -> Document:
    return {
        "golden": advice.golden,
        "memory_mib": advice.memory.mib,
        "clones": list(advice.clones),
        "highest_mib": advice.highest.mib,
        "basis": advice.basis,
        "suggested_mib": advice.suggested.mib,
        "more_now": advice.more_now,
        "more_then": advice.more_then,
    }


def _forecasts(outlook: Outlook) -> Document:
    return {
        "growing": [
            {
                "clone": forecast.clone,
                "agent": forecast.agent or None,
                "verdict": forecast.verdict.value,
                "used_mib": forecast.used.mib,
                "total_mib": forecast.total.mib,
                "seconds": forecast.seconds,
            }
            for forecast in outlook.forecasts
        ],
        "steady": list(outlook.steady),
        "silent": list(outlook.silent),
    }


def _pool(report: Report) -> Document:
    situation = report.situation
    return {
        "free_bytes": None if situation.pool_free is None else situation.pool_free.bytes,
        "origin": situation.pool_origin,
        "parts": [
            {"kind": part.kind, "volumes": part.volumes, "allocation_bytes": part.size.bytes} for part in report.pool
        ],
    }


def _golden(golden: GoldenUse) -> Document:
    return {
        "name": golden.name,
        "profile": golden.profile,
        "source": golden.source,
        "running": golden.running,
        "generations": [
            {
                "number": generation.number,
                "built_at": generation.built_at,
                "allocation_bytes": generation.allocation.bytes,
                "clones": generation.clones,
            }
            for generation in golden.generations
        ],
    }
