"""What a survey of the fleet found: a verdict for each clone, with what it is told from, and one for the pool."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from moltfleet.model.domain import DomainState
from moltfleet.model.records import Hold
from moltfleet.model.size import Size
from moltfleet.model.verdict import Judgement, Verdict
from moltfleet.model.vitals import Reason


class Ask(StrEnum):
    """Which guests are asked how they are: all that run, those that statistics give a reason to, or none."""

    ALL = "all"
    SUSPECTS = "suspects"
    NONE = "none"


_RUNNING = (DomainState.RUNNING, DomainState.BLOCKED)


@dataclass(frozen=True, slots=True)
class CloneSurvey:
    """One clone. ``is_busy`` tells whether somebody works in it, None when that is not known; ``busy_why`` says more.

    ``written`` bytes came into its top layer in the last ``written_s`` seconds. ``molted_at`` is of the epoch.
    ``killed`` processes were ended in it since the last survey that was recorded, of ``kills`` since its boot.
    ``paused_for_pool`` tells that this program paused it. ``answered`` tells whether the guest itself was heard.
    """

    clone: str
    state: DomainState
    judgement: Judgement
    is_busy: bool | None = False
    busy_why: str = ""
    hold: Hold | None = None
    molted_at: float | None = None
    can_molt: bool = True
    why_not: Reason = Reason.OTHER
    paused_for_pool: bool = False
    resident: Size | None = None
    disk: Size | None = None
    written: int = 0
    written_s: float = 0.0
    cpu_share: float | None = None
    kills: int | None = None
    killed: int = 0
    answered: bool = False

    @property
    def verdict(self) -> Verdict:
        """The word."""
        return self.judgement.verdict

    @property
    def reason(self) -> str:
        """Why that word."""
        return self.judgement.reason

    @property
    def seconds(self) -> float | None:
        """When its memory is used up; None when that cannot be told."""
        return self.judgement.seconds

    @property
    def is_running(self) -> bool:
        """Whether its processors run."""
        return self.state in _RUNNING


@dataclass(frozen=True, slots=True)
class PoolSurvey:
    """The storage pool's room; None where there is no running pool. ``written`` bytes came in since the last sample."""

    free: Size | None
    size: Size | None
    judgement: Judgement
    written: int = 0

    @property
    def free_share(self) -> float:
        """Which part is free; 1 where it was not measured."""
        return self.free.bytes / self.size.bytes if self.free is not None and self.size and self.size.bytes else 1.0


@dataclass(frozen=True, slots=True)
class SurveyResult:
    """One pass over the fleet: clones by name. ``notes`` say what could not be measured; ``taken_at`` is UTC."""

    taken_at: str
    clones: tuple[CloneSurvey, ...]
    pool: PoolSurvey
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def get(self, name: str) -> CloneSurvey | None:
        """Look one clone up."""
        return next((clone for clone in self.clones if clone.clone == name), None)
