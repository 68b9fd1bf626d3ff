"""Which running clones to molt or stop so that another one fits: the order is simple, and said. Does none of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from moltfleet.model.admission import Admission, Rule, decide

if TYPE_CHECKING:
    from moltfleet.model.load import Candidate, Situation
    from moltfleet.model.size import Size


class Act(StrEnum):
    """What can be done to a running clone to get memory back."""

    MOLT = "molt"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to get memory back. ``resident_after`` is what QEMU takes afterwards, zero for a stopped clone.

    ``promised`` and ``resident`` are what it gives back of each; ``why`` says why it comes where it comes.
    """

    clone: str
    act: Act
    promised: Size
    resident: Size
    resident_after: Size
    why: str


@dataclass(frozen=True, slots=True)
class RoomPlan:
    """``ways`` in the order in which to go them; none when there is room. ``before`` is what is so now.

    ``after`` is what would be so then: it does not admit when even all ways together do not make enough room.
    """

    ways: tuple[Way, ...]
    before: Admission
    after: Admission


def plan_room(situation: Situation, candidate: Candidate, ways: Sequence[Way]) -> RoomPlan:
    """Choose of ``ways``, in their order, as many as are needed, and leave out what the later ones made unnecessary."""
    before = decide(situation, candidate)
    if before.admit:
        return RoomPlan((), before, before)
    chosen: list[Way] = []
    for way in ways:
        chosen.append(way)
        if fits(situation, candidate, chosen):
            break
    if fits(situation, candidate, chosen):
        chosen = _without_the_unneeded(situation, candidate, chosen)
    return RoomPlan(tuple(chosen), before, decide(after(situation, chosen), candidate))


def fits(situation: Situation, candidate: Candidate, ways: Sequence[Way]) -> bool:
    """Whether the candidate would be let in after these ways."""
    return bool(ways) and decide(after(situation, ways), candidate).admit


def after(situation: Situation, ways: Iterable[Way]) -> Situation:
    """Return the situation as it is expected to be then. Whether pressure falls can only be seen."""
    for way in ways:
        use = next((use for use in situation.domains if use.name == way.clone), None)
        if use is None:
            continue
        situation = situation.without(way.clone)
        if way.act is Act.MOLT:
            molted = replace(use, resident=way.resident_after)
            situation = replace(
                situation,
                host=replace(situation.host, available=_less(situation.host.available, way.resident_after)),
                domains=(*situation.domains, molted),
            )
        unmeasured = replace(situation.host, pressure=None, pressure_origin="it falls within a minute")
        situation = replace(situation, host=unmeasured)
    return situation


def is_pressed(admission: Admission) -> bool:
    """Whether the host waits for memory: then every MiB that is given back helps, promised or not."""
    return any(result.rule is Rule.PRESSURE for result in admission.failed)


def _less(available: Size | None, taken: Size) -> Size | None:
    return None if available is None else available - taken


def _without_the_unneeded(situation: Situation, candidate: Candidate, chosen: list[Way]) -> list[Way]:
    needed = list(chosen)
    for way in chosen[:-1]:
        rest = [other for other in needed if other is not way]
        if fits(situation, candidate, rest):
            needed = rest
    return needed
