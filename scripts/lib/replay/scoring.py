"""What a rule's alarms were worth: how long before the end the first one came, and which were for nothing."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from replay.rules import Alarms
from replay.traces import HOUR_S, Trace

# Alarms with less quiet between them are one.
QUIET_S = 600.0
# An alarm may outlast a leak that was ended by so much, and no more.
GRACE_S = 300.0
# An alarm that comes earlier than this before the end is not a forecast any more: twice the horizon.
PREMATURE_S = 4 * HOUR_S


@dataclass(frozen=True, slots=True)
class Score:
    """One rule on one trace. ``lead_s`` is None without an alarm in time, and where there was nothing to foresee."""

    family: str
    hours: float
    ends: bool
    longest_lead_s: float
    lead_s: float | None
    false_alarms: int


def score(trace: Trace, alarms: Alarms) -> Score:
    """Hear a rule's alarms out and compare them with what happened."""
    found = list(episodes(alarms))
    false = [episode for episode in found if is_false(trace, episode)]
    end = trace.exhausted_s
    true = [max(begin, trace.leaks[0][0]) for begin, stop in found if (begin, stop) not in false]
    lead = end - true[0] if end is not None and true else None
    return Score(trace.family, trace.end_s / HOUR_S, end is not None, trace.longest_lead_s, lead, len(false))


def episodes(alarms: Alarms) -> Iterable[tuple[float, float]]:
    """Return each stretch of alarm as (begin, end)."""
    found: list[tuple[float, float]] = []
    for now, is_alarm in alarms:
        if is_alarm and found and now - found[-1][1] < QUIET_S:
            found[-1] = (found[-1][0], now)
        elif is_alarm:
            found.append((now, now))
    return found


def is_false(trace: Trace, episode: tuple[float, float]) -> bool:
    """Whether nothing leaked during an alarm, or it went on long after, or came much too early."""
    begin, end = episode
    during = [leak for leak in trace.leaks if begin <= leak[1] and end >= leak[0]]
    if not during:
        return True
    if trace.exhausted_s is not None and trace.exhausted_s - begin > PREMATURE_S:
        return True
    return end > during[-1][1] + GRACE_S


@dataclass(frozen=True, slots=True)
class Summary:
    """Scores of one rule taken together; leads in minutes. ``lead`` counts a miss as no lead at all."""

    traces: int
    misses: int
    lead: float
    lead_p10: float
    longest: float
    longest_p10: float
    hours: float
    false_alarms: int

    @property
    def false_per_100_hours(self) -> float:
        """How often it cried wolf."""
        return 100 * self.false_alarms / self.hours if self.hours else 0.0


def summarize(scores: Sequence[Score]) -> Summary:
    """Take the scores of one rule together."""
    ending = [one for one in scores if one.ends]
    leads = [(one.lead_s or 0.0) / 60 for one in ending]
    longest = [one.longest_lead_s / 60 for one in ending]
    return Summary(
        traces=len(ending),
        misses=sum(one.lead_s is None for one in ending),
        lead=statistics.median(leads) if leads else 0.0,
        lead_p10=tenth(leads),
        longest=statistics.median(longest) if longest else 0.0,
        longest_p10=tenth(longest),
        hours=sum(one.hours for one in scores),
        false_alarms=sum(one.false_alarms for one in scores),
    )


def tenth(values: Sequence[float]) -> float:
    """Return what nine of ten values reach; 0 of none."""
    ordered = sorted(values)
    return ordered[len(ordered) // 10] if ordered else 0.0
