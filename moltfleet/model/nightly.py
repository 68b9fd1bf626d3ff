"""A night: what was to be done, what became of it, and what of it is known when it was interrupted.

The journal and the report of a night are one and the same value, written anew after each thing that happened.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol


class Outcome(StrEnum):
    """How a night ended. ``running`` in a journal that nobody works on any more is an interrupted one."""

    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    LATE = "late"
    INTERRUPTED = "interrupted"


class State(StrEnum):
    """How far a step, or the work on one clone, has come. ``left`` was not begun, on purpose, and says why."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    LEFT = "left"
    INTERRUPTED = "interrupted"


class StepName(StrEnum):
    """The steps of a night, in their order."""

    REPAIR = "repair"
    SURVEY = "survey"
    MOLT = "molt"
    WARM = "warm"
    HEALTH = "health"
    ORPHANS = "orphans"


class Scope(StrEnum):
    """Which clones a night molts."""

    LEAKING = "leaking"
    ALL = "all"
    NONE = "none"


# Of ``CloneNight.warmed``.
UNDER_WAY = "under way"


@dataclass(frozen=True, slots=True)
class Step:
    """One step. ``detail`` says in a sentence what came of it, or why not."""

    name: StepName
    state: State = State.WAITING
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class CloneNight:
    """What a night did with one clone: ``act`` is what was decided, ``why`` the reason, ``before`` the verdict then.

    ``stage`` is what was under way ("rescue", "molt", "warm", "start", "resume", "pause") or is the last that was done.
    ``rescue`` is the outcome of the rescue, "" when none was needed; ``directory`` where it lies; ``kept`` the label of
    the layer that is kept because of it. ``mode`` is how it was molted. ``warmed`` is what became of making its RAM
    anew ("under way", "warmed", "cooled", "failed", "interrupted"), "" when that was not begun. ``after`` is the
    verdict in the end.
    """

    clone: str
    act: str
    why: str
    before: str
    state: State = State.WAITING
    stage: str = ""
    rescue: str = ""
    directory: str | None = None
    details: tuple[str, ...] = ()
    mode: str = ""
    kept: str | None = None
    warmed: str = ""
    seconds: float = 0.0
    error: str = ""
    after: str = ""

    @property
    def is_open(self) -> bool:
        """Whether something was still to be done with it."""
        return self.state in (State.WAITING, State.RUNNING, State.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Unexplained:
    """A volume of the pool that belongs to nobody, in bytes."""

    volume: str
    allocation: int


@dataclass(frozen=True, slots=True)
class HostState:
    """The host's memory in bytes, and its pressure in percent; None is what was not measured."""

    total: int
    available: int | None
    committed: int
    pressure: float | None


@dataclass(frozen=True, slots=True)
class Night:
    """A night. Times are ISO 8601 in UTC; ``continues`` is the start of the interrupted one that this one takes up."""

    started_at: str
    deadline_at: str
    scope: Scope
    version: str
    outcome: Outcome = Outcome.RUNNING
    ended_at: str | None = None
    seconds: float = 0.0
    steps: tuple[Step, ...] = tuple(Step(name) for name in StepName)
    clones: tuple[CloneNight, ...] = ()
    continues: str | None = None
    host_before: HostState | None = None
    host_after: HostState | None = None
    unexplained: tuple[Unexplained, ...] = ()
    notes: tuple[str, ...] = ()

    def step(self, name: StepName) -> Step:
        """One of its steps."""
        return next(step for step in self.steps if step.name is name)

    def with_step(self, changed: Step) -> Night:
        """Return it with one step as it is now."""
        return replace(self, steps=tuple(changed if step.name is changed.name else step for step in self.steps))

    def clone(self, name: str) -> CloneNight | None:
        """What it did with a clone."""
        return next((clone for clone in self.clones if clone.clone == name), None)

    def with_clone(self, changed: CloneNight) -> Night:
        """Return it with one clone as it is now, which is added when it is new."""
        if self.clone(changed.clone) is None:
            return replace(self, clones=(*self.clones, changed))
        return replace(self, clones=tuple(changed if c.clone == changed.clone else c for c in self.clones))

    def interrupted(self, *, at: str) -> Night:
        """Return it as what it is when nobody works on it any more: what was under way is not known to have ended."""
        steps = tuple(_broken_off(step) for step in self.steps)
        clones = tuple(_left_by(clone) for clone in self.clones)
        return replace(self, outcome=Outcome.INTERRUPTED, ended_at=at, steps=steps, clones=clones)

    @property
    def failures(self) -> tuple[str, ...]:
        """What went wrong, a line each."""
        steps = (f"{step.name}: {step.detail}" for step in self.steps if step.state is State.FAILED)
        clones = (f"{clone.clone}: {clone.error}" for clone in self.clones if clone.state is State.FAILED)
        return (*steps, *clones)


def _left_by(clone: CloneNight) -> CloneNight:
    if clone.state is State.RUNNING:
        return replace(clone, state=State.INTERRUPTED)
    return replace(clone, warmed="interrupted") if clone.warmed == UNDER_WAY else clone


def _broken_off(step: Step) -> Step:
    if step.state is State.RUNNING:
        return replace(step, state=State.INTERRUPTED)
    return replace(step, state=State.LEFT, detail="the night was interrupted") if step.state is State.WAITING else step


@dataclass(frozen=True, slots=True)
class LastNight:
    """What the last night came to. ``report`` is the path of its report; None when there is none yet."""

    started_at: str
    ended_at: str | None
    outcome: Outcome
    report: str | None = None


class Nights(Protocol):
    """The journals of nights on this machine, and their reports."""

    def write(self, night: Night) -> None:
        """Write the journal, replacing what it was, on the disk when this returns. Raises: ToolFailed."""

    def latest(self) -> Night | None:
        """The night that began last; None when there was none, or its journal is damaged."""

    def file_report(self, night: Night, markdown: str) -> str:
        """Put the report beside the journal, and drop nights that are too old; returns its path. Raises: ToolFailed."""

    def report_path(self, night: Night) -> str | None:
        """Where the report of a night is; None when there is none."""

    def mark_missed(self, night: Night) -> bool:
        """Remember that somebody was told that none came after this night; False when that was so already."""
