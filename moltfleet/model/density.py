"""How many agents one clone carries: what each simulated one takes, what a step showed, and what that amounts to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from moltfleet.model.size import Size

# From as many as a person has at once to as many as a large guest is asked to carry.
STEPS = (4, 5, 10, 15, 20)
# About what a coding agent takes while it works, its helpers included.
_MEMORY, _SHM, _DISK = Size.of_mib(500), Size.of_mib(64), Size.of_mib(100)
# Nobody waits longer for a greeting of sshd.
_GREETING_S = 10.0


class Resource(StrEnum):
    """What can give way."""

    MEMORY = "memory"
    SHM = "shm"
    DISK = "disk"
    PROCESSES = "processes"
    HEAP = "heap"
    TIME = "time"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class AgentLoad:
    """What one simulated agent takes of its guest."""

    memory: Size = _MEMORY
    shm: Size = _SHM
    disk: Size = _DISK
    processes: int = 12


@dataclass(frozen=True, slots=True)
class Stage:
    """One step: so many agents at once. ``well`` of them had all they wanted until the end.

    ``peaks`` and ``sizes`` are bytes by resource, processes are counted; ``greeting_s`` is the longest that sshd took.
    """

    agents: int
    well: int
    gave_way: Resource | None
    said: str
    peaks: Mapping[Resource, int]
    sizes: Mapping[Resource, int]
    greeting_s: float
    heap_errors: int
    has_node: bool
    is_contained: bool
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether all agents were well."""
        return self.gave_way is None and self.well == self.agents


@dataclass(frozen=True, slots=True)
class Criterion:
    """One of the criteria of success; ``passed`` is None when it could not be measured."""

    name: str
    passed: bool | None
    finding: str


@dataclass(frozen=True, slots=True)
class Density:
    """What the test of one golden showed. ``wanted`` are the steps that were asked for."""

    golden: str
    generation: int
    memory: Size
    vcpus: int
    load: AgentLoad
    wanted: tuple[int, ...]
    stages: tuple[Stage, ...]
    tools: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """Pass or fail of each criterion."""
        return judge(self.stages, self.wanted)

    @property
    def passed(self) -> bool:
        """Whether none has failed."""
        return all(criterion.passed is not False for criterion in self.criteria)

    @property
    def first_failure(self) -> Stage | None:
        """The step at which something gave way; the test ends there."""
        return next((stage for stage in self.stages if not stage.passed), None)


def judge(stages: Sequence[Stage], wanted: Sequence[int]) -> tuple[Criterion, ...]:
    """Say of each criterion whether the steps that were made have met it."""
    return (_start(stages, wanted), _shm(stages), _heap(stages), _scale(stages, wanted), _shell(stages))


def _start(stages: Sequence[Stage], wanted: Sequence[int]) -> Criterion:
    name = f"{wanted[0]} agents start without running out of memory"
    if not stages:
        return Criterion(name, None, "not tried")
    crashed = stages[0].gave_way in (Resource.MEMORY, Resource.HEAP) or stages[0].well < stages[0].agents
    return Criterion(name, not crashed, f"{stages[0].well} of {stages[0].agents} were well")


def _shm(stages: Sequence[Stage]) -> Criterion:
    name = "/dev/shm stays below its size"
    fullest = max(stages, key=lambda stage: _share(stage, Resource.SHM), default=None)
    if fullest is None:
        return Criterion(name, None, "not tried")
    peak, size = Size(fullest.peaks[Resource.SHM]), Size(fullest.sizes[Resource.SHM])
    is_full = any(stage.gave_way is Resource.SHM for stage in stages) or peak >= size
    return Criterion(name, not is_full, f"at most {peak} of {size}, with {fullest.agents} agents")


def _heap(stages: Sequence[Stage]) -> Criterion:
    name = "no JavaScript heap errors"
    if not any(stage.has_node for stage in stages):
        return Criterion(name, None, "not measured: there is no node in the guest")
    errors = sum(stage.heap_errors for stage in stages)
    return Criterion(name, errors == 0, f"{errors} in all steps")


def _scale(stages: Sequence[Stage], wanted: Sequence[int]) -> Criterion:
    name = f"step by step to {wanted[-1]} agents"
    reached = max((stage.agents for stage in stages if stage.passed), default=0)
    failed = next((stage for stage in stages if not stage.passed), None)
    if failed is None:
        return Criterion(name, reached == wanted[-1] if stages else None, f"{reached} were well at once")
    return Criterion(name, False, f"{reached} were well at once; with {failed.agents} {failed.gave_way} gave way first")


def _shell(stages: Sequence[Stage]) -> Criterion:
    name = f"sshd greets within {_GREETING_S:.0f} s throughout"
    if not stages:
        return Criterion(name, None, "not tried")
    slowest = max(stage.greeting_s for stage in stages)
    return Criterion(name, slowest < _GREETING_S, f"at most {slowest:.1f} s")


def _share(stage: Stage, resource: Resource) -> float:
    return stage.peaks[resource] / max(1, stage.sizes[resource])
