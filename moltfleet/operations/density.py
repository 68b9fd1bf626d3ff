"""Find out how many agents a golden's clones carry: simulated ones, more and more of them, in one clone made for it.

The clone is a probe: admitted like any other, listed nowhere, gone when this ends; after an interruption the next
changing command takes it away.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moltfleet.model.density import STEPS, AgentLoad, Density, Resource, Stage
from moltfleet.model.errors import GuestFailed, WrongState
from moltfleet.model.recipe import GuestIdentity, HostKeyPair
from moltfleet.model.requests import AdmissionRequest, CreateRequest
from moltfleet.model.volumes import density_domain
from moltfleet.operations import admission, create, create_plan, removing, repair, seeding, tools_session, trials
from moltfleet.operations.clones import find_endpoint
from moltfleet.operations.deadlines import timeouts
from moltfleet.operations.ready import Guest, ready

if TYPE_CHECKING:
    from moltfleet.model.domain import CommandResult
    from moltfleet.model.records import CloneRecord
    from moltfleet.model.size import Size
    from moltfleet.operations.create_plan import CreatePlan
    from moltfleet.operations.fleet import Fleet

_PROGRAM = "density.py"
_SCHEMA = "moltfleet.density-stage/1"
# More than any guest has, and still exact as JSON.
_LARGEST_NUMBER = 2**53
_USUAL_LOAD, _AS_USUAL = AgentLoad(), AdmissionRequest()


@dataclass(frozen=True, slots=True)
class DensityRequest:
    """A golden to try, and with what. ``hold_s`` is how long the agents of a step work once all have started."""

    golden: str
    steps: tuple[int, ...] = STEPS
    load: AgentLoad = _USUAL_LOAD
    hold_s: float = 20.0
    memory: Size | None = None
    vcpus: int | None = None
    disk: Size | None = None
    admission: AdmissionRequest = _AS_USUAL


def plan_density(fleet: Fleet, request: DensityRequest) -> tuple[str, ...]:
    """Say what would be tried, and whether its clone would be refused; changes nothing. Raises: as `measure`."""
    plan, load = _plan(fleet, request), request.load
    sizes = f"{load.memory} memory, {load.shm} of /dev/shm, {load.disk} disk, {load.processes} processes"
    return (
        *create_plan.foresee(fleet, plan),
        f"{', '.join(map(str, request.steps))} simulated agents at once, each with {sizes}, for {request.hold_s:g} s",
        f"{plan.names[0]} would be deleted again",
    )


def measure(fleet: Fleet, request: DensityRequest) -> Density:
    """Try one step after the other until something gives way. Raises: as a creation; WrongState, GuestFailed."""
    repair.sweep(fleet)
    plan = _plan(fleet, request)
    (name,) = plan.names
    # A probe's lock is its golden's: whoever finds it free takes the probe away.
    with fleet.locks.hold(request.golden, verb="density"), ExitStack() as undo:
        undo.enter_context(admission.room_for(fleet, plan.candidate(fleet, name), request.admission))
        host_key = fleet.keys.new_host_key()
        clone = create.define(fleet, plan, name, host_key, probe=True)
        undo.callback(removing.remove_clone, fleet, name, clone)
        _boot(fleet, plan, name, clone, host_key)
        return _in_guest(fleet, request, plan, clone)


def _plan(fleet: Fleet, request: DensityRequest) -> CreatePlan:
    wanted = CreateRequest(
        request.golden, memory=request.memory, vcpus=request.vcpus, disk=request.disk, warm=False, user_keys=()
    )
    plan = create_plan.plan_create(fleet, wanted)
    return replace(plan, names=(density_domain(request.golden),), stem=None)


def _boot(fleet: Fleet, plan: CreatePlan, name: str, clone: CloneRecord, host_key: HostKeyPair) -> None:
    identity = GuestIdentity(
        hostname=name.replace(".", "-"),
        user=clone.user,
        authorized_keys=(fleet.keys.fleet_public_key(),),
        host_key=host_key,
    )
    seeding.write_clone_seed(fleet, clone, identity)
    create.make_disk(fleet, plan, clone)
    fleet.hypervisor.start(name)


def _in_guest(fleet: Fleet, request: DensityRequest, plan: CreatePlan, clone: CloneRecord) -> Density:
    (name,) = plan.names
    guest = Guest(name, lambda: find_endpoint(fleet, name, clone), is_seeded=True)
    stages: list[Stage] = []
    with ready(fleet, guest, title=f"Starting {name}") as session:
        if session.run("command -v python3", timeout_s=timeouts(fleet).login, limit=256).exit_code != 0:
            raise WrongState(f"Golden {request.golden!r} has no python3", hint="Simulated agents are written in it.")
        found = tools_session.look(session, name, timeout_s=timeouts(fleet).tools)
        with (
            fleet.progress.step(f"Density of {request.golden}") as step,
            trials.brought(fleet, session, name) as brought,
        ):
            for agents in request.steps:
                step.detail(f"{agents} agents")
                stages.append(_stage(fleet, request, agents, brought))
                if not stages[-1].passed:
                    break
    notes = [] if found.report else ["The golden has no guest tools: its agents ran without limits."]
    return Density(
        golden=request.golden,
        generation=clone.generation,
        memory=plan.memory,
        vcpus=plan.vcpus,
        load=request.load,
        wanted=request.steps,
        stages=tuple(stages),
        tools=found.report.version if found.report else "",
        notes=tuple(notes),
    )


def _stage(fleet: Fleet, request: DensityRequest, agents: int, brought: trials.Trials) -> Stage:
    load, limit = request.load, timeouts(fleet).tools
    figures = (agents, load.memory.mib, load.shm.mib, load.disk.mib, load.processes, request.hold_s, limit / 2)
    answer = brought.run(_PROGRAM, *(f"{figure:g}" for figure in figures), timeout_s=limit + request.hold_s)
    return read_stage(agents, answer)


def read_stage(agents: int, answer: CommandResult) -> Stage:
    """Read what a step in the guest has told. Raises: GuestFailed."""
    document = trials.document_of(answer)
    if answer.exit_code != 0 or document is None or document.get("schema") != _SCHEMA:
        raise GuestFailed(f"Step with {agents} agents gave no answer", details=trials.end_of(answer))
    gave_way = document.get("gave_way")
    resources = {resource.value: resource for resource in Resource}
    return Stage(
        agents=agents,
        well=min(agents, _whole(document.get("well"))),
        gave_way=None if gave_way is None else resources.get(str(gave_way), Resource.OTHER),
        said=trials.text_of(document, "said", limit=160),
        peaks=_figures(document.get("peaks")),
        sizes=_figures(document.get("sizes")),
        greeting_s=_seconds(document.get("greeting_s")),
        heap_errors=_whole(document.get("heap_errors")),
        has_node=document.get("node") is True,
        is_contained=document.get("contained") is True,
        seconds=_seconds(document.get("seconds")),
    )


def _figures(value: object) -> dict[Resource, int]:
    read: Callable[[str], object] = value.get if isinstance(value, dict) else lambda _: 0
    return {r: _whole(read(r.value)) for r in (Resource.MEMORY, Resource.SHM, Resource.DISK, Resource.PROCESSES)}


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_NUMBER else 0


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value <= _LARGEST_NUMBER else 0.0
