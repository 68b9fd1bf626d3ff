"""Which clones could do with less memory, by what they are seen to take; what was not seen is not guessed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from moltfleet.model.admission import how_many
from moltfleet.model.domain import DomainState
from moltfleet.model.load import Candidate, DomainUse, Situation
from moltfleet.model.report import Advice, CloneUse
from moltfleet.model.size import Size

NOW, SINCE_START = "now", "since start"
# Room for a task that is larger than those seen.
_MARGIN = 1.5
# An agent with its tools, a browser and a build takes about 3 GiB when it is at work.
LEAST = Size.of_gib(4)
_AT_WORK = (DomainState.RUNNING, DomainState.BLOCKED)


def advise(situation: Situation, clones: Iterable[CloneUse], candidate: Candidate) -> tuple[Advice, ...]:
    """Return one piece of advice for each golden and size whose running clones all take much less than they have.

    Other properties of a clone than its memory and vCPUs are those of ``candidate``.
    """
    groups: dict[tuple[str, Size, int], list[CloneUse]] = {}
    for clone in clones:
        if clone.view.state in _AT_WORK and clone.resident is not None:
            groups.setdefault((clone.view.golden, clone.view.memory, clone.view.vcpus), []).append(clone)
    found = (_advice(situation, group, candidate) for _, group in sorted(groups.items()))
    return tuple(advice for advice in found if advice is not None)


def _advice(situation: Situation, group: list[CloneUse], candidate: Candidate) -> Advice | None:
    view = group[0].view
    peaks = [clone.peak for clone in group if clone.peak is not None]
    highest = max((*peaks, *(clone.resident for clone in group if clone.resident is not None)))
    suggested = suggest(highest)
    present = replace(candidate, name="", memory=view.memory, vcpus=view.vcpus)
    smaller = _with_memory(situation, {clone.view.name for clone in group}, suggested)
    more_now, more_then = how_many(situation, present), how_many(smaller, replace(present, memory=suggested))
    if suggested >= view.memory or more_then <= more_now:
        return None
    return Advice(
        golden=view.golden,
        memory=view.memory,
        clones=tuple(clone.view.name for clone in group),
        highest=highest,
        basis=SINCE_START if len(peaks) == len(group) else NOW,
        suggested=suggested,
        more_now=more_now,
        more_then=more_then,
    )


def suggest(highest: Size) -> Size:
    """Return a memory size for clones that were seen to take ``highest``: one and a half times that, at least 4 GiB.

    Sizes go up as memory is sold: 4, 6, 8, 12, 16, 24, 32 GiB and so on.
    """
    return next(size for size in _ladder() if size >= highest * _MARGIN)


def _ladder() -> Iterator[Size]:
    step = LEAST
    while True:
        yield step
        yield step * 1.5
        step = step * 2


def _with_memory(situation: Situation, names: set[str], memory: Size) -> Situation:
    def resized(domain: DomainUse) -> DomainUse:
        return replace(domain, memory=memory) if domain.name in names else domain

    return replace(situation, domains=tuple(resized(domain) for domain in situation.domains))
