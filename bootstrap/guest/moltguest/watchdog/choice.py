"""Who has to go, as pure judgement: which group is over which threshold, and which process of it is to blame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from moltguest.limits import MIB
from moltguest.watchdog.groups import Group, Member, Whole

# Ending something smaller helps nobody, when many share the blame.
SMALLEST_CULPRIT = 64 * MIB


class Reason(str, Enum):
    """Which threshold was crossed: the group's own, that of all agents together, or what the guest has left."""

    OWN = "own"
    AGENTS = "agents"
    GUEST = "guest"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A group that has to shrink. ``used`` and ``threshold`` are bytes, of what the reason is about."""

    reason: Reason
    group: Group
    used: int
    threshold: int


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that a verdict is made from. ``cooling`` are keys of groups that were just dealt with."""

    groups: tuple[Group, ...]
    wholes: tuple[Whole, ...]
    available: int
    available_term: int
    cooling: frozenset[str]
    is_cooling: bool


def judge(situation: Situation) -> Verdict | None:
    """Return the one group that has to shrink first, None when none has to.

    A group over its own threshold goes first, whatever was done to others before. What all share is looked at only
    when the last victim's memory had time to come back.
    """
    ready = [group for group in situation.groups if group.key not in situation.cooling]
    own = _worst(group for group in ready if group.is_over)
    if own is not None:
        return Verdict(Reason.OWN, own, own.used, own.levels.term)
    if situation.is_cooling:
        return None
    large = [group for group in ready if group.used >= SMALLEST_CULPRIT]
    for whole in situation.wholes:
        culprit = _worst(group for group in large if group.slice == whole.path)
        if whole.is_over and culprit is not None:
            return Verdict(Reason.AGENTS, culprit, whole.used, whole.levels.term)
    # Whoever holds less than what is missing is not to blame: then it is no agent, and earlyoom's business.
    culprit = _worst(group for group in large if group.used >= situation.available_term)
    if situation.available <= situation.available_term and culprit is not None:
        return Verdict(Reason.GUEST, culprit, situation.available, situation.available_term)
    return None


def _worst(groups: Iterable[Group]) -> Group | None:
    return max(groups, key=lambda group: (group.weight(), group.key), default=None)


@dataclass(frozen=True, slots=True)
class Victim:
    """The process that is asked to end; with ``whole`` the rest of its group ends after it."""

    member: Member
    whole: bool

    @property
    def owner(self) -> int:
        """The number of the user that it runs as."""
        return self.member.owner


def choose(group: Group, members: list[Member], *, whole: bool = False) -> Victim | None:
    """Return who of a group is to blame, None when nobody of it may be ended.

    One process that is no agent but holds half of the memory goes alone: the agent that started it lives on. Otherwise,
    and when ``whole`` is wanted, the oldest agent goes, and with it all the others.
    """
    free = [member for member in members if member.protected is None]
    if not free:
        return None
    first = min([member for member in free if member.agent] or free, key=lambda member: member.process.start)
    largest = max(free, key=lambda member: (member.memory, -member.process.pid))
    if not whole and largest is not first and not largest.agent and 2 * largest.memory >= group.used:
        return Victim(largest, whole=False)
    return Victim(first, whole=True)
