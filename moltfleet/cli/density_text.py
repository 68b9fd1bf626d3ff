"""What a density test showed, for people and as `moltfleet.density/1` of docs/json.md."""

from __future__ import annotations

from typing import Any

from moltfleet.cli.tables import figures_table
from moltfleet.model.density import Criterion, Density, Resource, Stage
from moltfleet.model.size import Size

_WORDS = {True: "pass", False: "FAIL", None: "-"}
_COUNTED = Resource.PROCESSES


def density_text(density: Density) -> str:
    """A line about the clone, a row for each step, a row for each criterion."""
    load = density.load
    clone = f"{density.golden} g{density.generation}, {density.memory}, {density.vcpus} vCPUs"
    tools = f"guest tools {density.tools}" if density.tools else "no guest tools"
    sizes = f"{load.memory} memory, {load.shm} of /dev/shm, {load.disk} disk, {load.processes} processes"
    headers = ("AGENTS", "WELL", "MEMORY", "SHM", "DISK", "PROCESSES", "SSHD", "SECONDS", "GAVE WAY")
    steps = figures_table(headers, [_row(stage) for stage in density.stages])
    criteria = figures_table(
        ("CRITERION", "RESULT", "FINDING"), [(c.name, _WORDS[c.passed], c.finding) for c in density.criteria]
    )
    return f"A clone of {clone}, {tools}; each agent takes {sizes}.\n\n{steps}\n\n{criteria}"


def _row(stage: Stage) -> tuple[object, ...]:
    peaks = (_peak(stage, resource) for resource in (Resource.MEMORY, Resource.SHM, Resource.DISK, _COUNTED))
    gave_way = "-" if stage.gave_way is None else f"{stage.gave_way}: {stage.said}"
    return (stage.agents, stage.well, *peaks, f"{stage.greeting_s:.2f} s", f"{stage.seconds:.1f}", gave_way)


def _peak(stage: Stage, resource: Resource) -> str:
    """The most that was in use, of how much; what a step writes is told beside what was free."""
    peak, size = stage.peaks[resource], stage.sizes[resource]
    return f"{peak}/{size}" if resource is _COUNTED else f"{Size(peak)}/{Size(size)}"


def density_document(density: Density) -> dict[str, Any]:
    """``moltfleet.density/1``."""
    load, failure = density.load, density.first_failure
    return {
        "schema": "moltfleet.density/1",
        "golden": density.golden,
        "generation": density.generation,
        "tools": density.tools or None,
        "memory_mib": density.memory.mib,
        "vcpus": density.vcpus,
        "agent": {
            "memory_bytes": load.memory.bytes,
            "shm_bytes": load.shm.bytes,
            "disk_bytes": load.disk.bytes,
            "processes": load.processes,
        },
        "wanted": list(density.wanted),
        "steps": [_step(stage) for stage in density.stages],
        "criteria": [_criterion(criterion) for criterion in density.criteria],
        "gave_way": failure.gave_way.value if failure and failure.gave_way else None,
        "gave_way_at": failure.agents if failure else None,
        "passed": density.passed,
        "notes": list(density.notes),
    }


def _step(stage: Stage) -> dict[str, Any]:
    return {
        "agents": stage.agents,
        "well": stage.well,
        "passed": stage.passed,
        "gave_way": stage.gave_way.value if stage.gave_way else None,
        "said": stage.said,
        "peaks": {resource.value: figure for resource, figure in stage.peaks.items()},
        "sizes": {resource.value: figure for resource, figure in stage.sizes.items()},
        "greeting_s": round(stage.greeting_s, 3),
        "heap_errors": stage.heap_errors,
        "node": stage.has_node,
        "contained": stage.is_contained,
        "seconds": round(stage.seconds, 3),
    }


def _criterion(criterion: Criterion) -> dict[str, Any]:
    return {"name": criterion.name, "passed": criterion.passed, "finding": criterion.finding}
