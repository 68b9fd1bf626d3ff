"""The journal of the night that is under way: every change of it is on the disk before the next thing is done."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moltfleet.model.errors import MoltfleetError
from moltfleet.model.events import Event, EventKind
from moltfleet.model.nightly import CloneNight, Night, Outcome, State, Step, StepName
from moltfleet.model.nightreport import markdown
from moltfleet.operations.deadlines import Deadline, timestamp
from moltfleet.operations.notify import tell

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Journal:
    """One night. ``was_late`` says that something was not begun because the deadline had passed."""

    fleet: Fleet
    night: Night
    deadline: Deadline
    was_late: bool = False

    def write(self, night: Night) -> None:
        """Write it down. Raises: ToolFailed; without a journal nothing more is done."""
        self.fleet.nights.write(night)
        self.night = night
        _LOG.debug("night: written down")

    def write_clone(self, clone: CloneNight) -> None:
        """Write one clone down."""
        self.write(self.night.with_clone(clone))

    def note(self, text: str) -> None:
        """Say something that is neither a failure nor a result."""
        self.night = replace(self.night, notes=(*self.night.notes, text))

    def step(self, name: StepName, act: Callable[[], str], *, despite_deadline: bool = False) -> None:
        """Do a step, which says what came of it; a failure of it leaves the others."""
        if self.deadline.has_passed and not despite_deadline:
            self.was_late = True
            self.write(self.night.with_step(Step(name, State.LEFT, "the deadline had passed")))
            return
        started = self.fleet.clock.monotonic()
        self.write(self.night.with_step(Step(name, State.RUNNING)))
        try:
            state, detail = State.DONE, act()
        except MoltfleetError as error:
            state, detail = State.FAILED, error.brief
            self.fleet.progress.warn(f"Step {name!s} of the night failed: {error.brief}", hint=error.hint)
        self.write(self.night.with_step(Step(name, state, detail, self.fleet.clock.monotonic() - started)))
        _LOG.info("night: %s %s: %s", name, state, detail)

    def close(self, outcome: Outcome, *, seconds: float) -> None:
        """End the night: first its report, then the journal, which says that there is one."""
        night = replace(self.night, outcome=outcome, ended_at=timestamp(self.fleet.clock), seconds=seconds)
        self.fleet.nights.file_report(night, markdown(night))
        self.write(night)


def report_interrupted(fleet: Fleet) -> Night | None:
    """Report the last night as interrupted if it never came to its end; the caller holds its lock."""
    last = fleet.nights.latest()
    if last is None or last.outcome is not Outcome.RUNNING:
        return None
    left = last.interrupted(at=timestamp(fleet.clock))
    # The journal comes last: killed in between, the next night does it again.
    fleet.nights.file_report(left, markdown(left))
    fleet.nights.write(left)
    under_way = ", ".join(step.name for step in left.steps if step.state is State.INTERRUPTED) or "its end"
    text = f"The night of {left.started_at} was interrupted in step {under_way}"
    fleet.progress.warn(text)
    tell(fleet, Event(EventKind.NIGHT_FAILED, text))
    return left
