"""Survey again and again, with a memory of one's own: what is watched is forecast although nothing is recorded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.errors import MoltfleetError
from moltfleet.operations.parallel import pause
from moltfleet.operations.survey import survey

if TYPE_CHECKING:
    from moltfleet.model.ports import Samples
    from moltfleet.model.samples import Sample
    from moltfleet.model.survey import Ask, SurveyResult
    from moltfleet.operations.fleet import Fleet

# Of one subject; looked at every second that is longer than any forecast looks back to a burst.
_MOST = 1200


class _Remembered:
    """Samples that are read from where they are kept, and added to in memory alone."""

    def __init__(self, kept: Samples) -> None:
        self._kept = kept
        self._own: dict[str, deque[Sample]] = {}

    def add(self, samples: Sequence[Sample]) -> None:
        """Remember them."""
        for sample in samples:
            self._own.setdefault(sample.subject, deque(maxlen=_MOST)).append(sample)

    def history(self, *, since_s: float, subjects: Collection[str] = ()) -> Iterator[tuple[str, tuple[Sample, ...]]]:
        """Return what is kept and what is remembered, one after the other in time."""
        told, failure = set(), None
        try:
            for subject, samples in self._kept.history(since_s=since_s, subjects=subjects):
                told.add(subject)
                yield subject, self._merged(subject, samples, since_s)
        except MoltfleetError as error:
            failure = error
        for subject in self._own:
            if subject not in told and (not subjects or subject in subjects):
                yield subject, self._merged(subject, (), since_s)
        if failure is not None:
            raise failure

    def _merged(self, subject: str, samples: tuple[Sample, ...], since_s: float) -> tuple[Sample, ...]:
        moments = {sample.time_s: sample for sample in (*samples, *self._own.get(subject, ()))}
        return tuple(moments[time_s] for time_s in sorted(moments) if time_s >= since_s)


def watch(
    fleet: Fleet, patterns: Sequence[str], *, every_s: float, ask: Ask, show: Callable[[SurveyResult], None]
) -> None:
    """Survey for ever, and show each result; ends with an error of the hypervisor's, or when it is interrupted."""
    watching = replace(fleet, samples=_Remembered(fleet.samples))
    while True:
        show(survey(watching, record=True, patterns=patterns, ask=ask))
        pause(fleet.clock, every_s)
