"""Samples in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby

from moltfleet.model.errors import MoltfleetError, ToolFailed
from moltfleet.model.samples import Sample


class FakeSamples:
    """The Samples port. ``broken`` makes it one whose file nobody can use."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, float], Sample] = {}
        self.broken: MoltfleetError | None = None

    def break_down(self) -> None:
        """Be of no use from now on."""
        self.broken = ToolFailed("Samples in /state/samples cannot be used: database is locked")

    def add(self, samples: Sequence[Sample]) -> None:
        if self.broken:
            raise self.broken
        for sample in samples:
            self.kept.setdefault((sample.subject, sample.time_s), sample)

    def history(self, *, since_s: float, subjects: Collection[str] = ()) -> Iterator[tuple[str, tuple[Sample, ...]]]:
        if self.broken:
            raise self.broken
        recent = [key for key in sorted(self.kept) if key[1] >= since_s]
        for subject, keys in groupby(recent, key=lambda key: key[0]):
            if not subjects or subject in subjects:
                yield subject, tuple(self.kept[key] for key in keys)
