"""When a clone is molted by itself and when it is left alone: the settings, and what follows from a survey. No I/O.

Losing work to a molt that nobody wanted is worse than a leak that goes on for another night: what is not known is left
alone. What is critical will be lost anyway, so it is not spared because somebody works on it; but never in a circle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from moltfleet.model import forecast
from moltfleet.model.errors import InvalidInput
from moltfleet.model.figures import amount, duration, percent
from moltfleet.model.survey import CloneSurvey, PoolSurvey, SurveyResult
from moltfleet.model.verdict import Verdict
from moltfleet.model.vitals import Reason

# Twice in a timer's minute, and some: a survey that came late does not make two stories out of one.
_LONGEST_GAP_S = 900.0
# Less growth than this is nothing to pause anybody for.
_LEAST_GROWTH = 16 << 20
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of every day, in minutes of local time; one that ends before it begins goes past midnight."""

    begin: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Hours:
        """Read ``22:00-06:30``. Raises: InvalidInput."""
        match = _HOURS.fullmatch(text.strip())
        if match is None:
            raise InvalidInput(f"Hours {text[:40]!r} are not such as 22:00-06:30")
        hours = [int(number) for number in match.groups()]
        return cls(hours[0] * 60 + hours[1], hours[2] * 60 + hours[3])

    def __contains__(self, minute: int) -> bool:
        if self.begin <= self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end

    def __str__(self) -> str:
        return f"{self.begin // 60:02}:{self.begin % 60:02}-{self.end // 60:02}:{self.end % 60:02}"


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings of ``[policy]``; shares are of the whole, times are seconds."""

    horizon_s: float = 7200.0
    critical_s: float = 900.0
    leaking_share: float = 0.85
    critical_share: float = 0.95
    cooldown_s: float = 3600.0
    quiet: tuple[Hours, ...] = ()
    busy_share: float = 0.05
    busy_s: float = 300.0
    pool_share: float = 0.05
    restart: bool = True
    guest_s: float = 10.0

    @property
    def thresholds(self) -> forecast.Thresholds:
        """What makes a verdict about memory. The shape of a leak stays as it was chosen on traces."""
        return replace(
            forecast.FROZEN,
            horizon_s=self.horizon_s,
            critical_s=self.critical_s,
            growing_s=max(forecast.FROZEN.growing_s, self.horizon_s),
            high_share=self.leaking_share,
            critical_share=self.critical_share,
            longest_gap_s=_LONGEST_GAP_S,
            # Surveys are minutes apart: after so many of them a slope would have been seen.
            fewest_samples=forecast.FEWEST_PARTS,
        )

    @property
    def pool_thresholds(self) -> forecast.Thresholds:
        """The same for the pool's room."""
        full = 1 - self.pool_share
        return replace(self.thresholds, high_share=max(0.0, full - self.pool_share), critical_share=full)


class Act(StrEnum):
    """What is to be done about a clone."""

    PAUSE = "pause"
    MOLT = "molt"
    RESUME = "resume"
    START = "start"
    REPORT = "report"
    LEAVE = "leave"


_CHANGES = frozenset((Act.PAUSE, Act.MOLT, Act.RESUME, Act.START))


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done about a clone, and why; ``answered`` tells whether its guest could be asked."""

    clone: str
    act: Act
    verdict: Verdict
    why: str
    seconds: float | None = None
    answered: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything is to be done at all."""
        return self.act in _CHANGES


@dataclass(frozen=True, slots=True)
class Moment:
    """When it is decided: seconds since the epoch, and the minute of the local day."""

    epoch: float
    minute: int


def decide(survey: SurveyResult, policy: Policy, moment: Moment) -> tuple[Decision, ...]:
    """Decide about every clone; in order of urgency, first what keeps the others alive."""
    filler = find_filler(survey, policy)
    decisions = [_decide_one(clone, survey.pool, policy, moment, is_filler=clone is filler) for clone in survey.clones]
    return tuple(sorted(decisions, key=_urgency))


def _urgency(decision: Decision) -> tuple[int, bool, float, str]:
    seconds = float("inf") if decision.seconds is None else decision.seconds
    return list(Act).index(decision.act), decision.verdict is not Verdict.CRITICAL, seconds, decision.clone


def find_filler(survey: SurveyResult, policy: Policy) -> CloneSurvey | None:
    """Return the running clone that wrote most, when the pool is nearly full and still fills; None when none did.

    A pool that stands still has had its filler stopped: nobody else is paused for what that one wrote.
    """
    if not is_full(survey.pool, policy) or survey.pool.written < _LEAST_GROWTH:
        return None
    growing = [one for one in survey.clones if _fills(one)]
    return max(growing, key=lambda one: (one.written, one.clone), default=None)


def _fills(clone: CloneSurvey) -> bool:
    # What a command works on gives way by itself, or is being molted.
    return clone.is_running and clone.verdict is not Verdict.BUSY and clone.written >= _LEAST_GROWTH


def is_full(pool: PoolSurvey, policy: Policy) -> bool:
    """Whether so little is free that a guest must not go on filling it."""
    return pool.free is not None and pool.size is not None and pool.free.bytes <= policy.pool_share * pool.size.bytes


def _decide_one(clone: CloneSurvey, pool: PoolSurvey, policy: Policy, moment: Moment, *, is_filler: bool) -> Decision:
    if is_filler:
        act, why = Act.PAUSE, _about_filler(clone, pool)
    elif clone.verdict.is_alarm:
        act, why = _about_leak(clone, policy, moment)
    elif clone.verdict is Verdict.PAUSED:
        act, why = _about_paused(clone, pool, policy)
    elif clone.verdict is Verdict.DOWN:
        act, why = (Act.START, clone.reason) if policy.restart else (Act.REPORT, f"{clone.reason}; restart is off")
    else:
        # What cannot be told needs a person; all else needs nobody.
        act, why = (Act.REPORT if clone.verdict is Verdict.UNKNOWN else Act.LEAVE), clone.reason
    return Decision(clone.clone, act, clone.verdict, why, clone.seconds, clone.answered)


def _about_filler(clone: CloneSurvey, pool: PoolSurvey) -> str:
    free = pool.free.bytes if pool.free is not None else 0
    return (
        f"wrote {amount(clone.written)} in the last {duration(clone.written_s)}, more than any other, and the pool has"
        f" {amount(free)} free: paused before a full pool stops all"
    )


def _about_leak(clone: CloneSurvey, policy: Policy, moment: Moment) -> tuple[Act, str]:
    """Molt what leaks, unless something stands against it; nothing does when it is critical, but a molt just now."""
    cooling = _cooling(clone, policy, moment)
    if cooling:
        return Act.LEAVE, f"{clone.reason}; {cooling}"
    if not clone.can_molt:
        return Act.REPORT, f"{clone.reason}; it has no clean point to molt to"
    objections = tuple(_objections(clone, policy, moment))
    if not objections:
        return Act.MOLT, clone.reason
    if clone.verdict is Verdict.CRITICAL:
        return Act.MOLT, f"{clone.reason}; critical, so although {' and '.join(objections)}"
    return Act.LEAVE, f"{clone.reason}; but {' and '.join(objections)}"


def _cooling(clone: CloneSurvey, policy: Policy, moment: Moment) -> str:
    """Say that it was molted a moment ago: again so soon would fix nothing, and lose what was begun since."""
    if clone.molted_at is None:
        return ""
    ago = moment.epoch - clone.molted_at
    # What lies in the future was written by a clock that was wrong.
    if not 0 <= ago < policy.cooldown_s:
        return ""
    return f"but it was molted {duration(ago)} ago, and cools down for {duration(policy.cooldown_s)}"


def _objections(clone: CloneSurvey, policy: Policy, moment: Moment) -> Iterator[str]:
    if clone.hold is not None:
        yield f"{clone.hold.by} holds it until {clone.hold.until}" + (f" ({clone.hold.why})" if clone.hold.why else "")
    if clone.is_busy is None:
        yield f"it is not known whether it is busy: {clone.busy_why}"
    elif clone.is_busy:
        yield f"it is busy: {clone.busy_why}"
    for hours in policy.quiet:
        if moment.minute in hours:
            yield f"these are quiet hours ({hours})"


def _about_paused(clone: CloneSurvey, pool: PoolSurvey, policy: Policy) -> tuple[Act, str]:
    """Let go on what a full pool stopped, when there is room again; what a person paused is that person's."""
    stopped_by_pool = clone.paused_for_pool or clone.why_not is Reason.IO_ERROR
    if not stopped_by_pool or pool.free is None or pool.size is None:
        return Act.REPORT, clone.reason
    # Twice the room that it was stopped at, so that it is not stopped again at once.
    if pool.free.bytes <= 2 * policy.pool_share * pool.size.bytes:
        return Act.REPORT, f"{clone.reason}; the pool still has only {percent(pool.free_share)} free"
    return Act.RESUME, f"{clone.reason}; there is room again, {amount(pool.free.bytes)}"
