"""What the doctor found: each finding with its reason and its fix, and what became of those that were mended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from moltfleet.model.errors import MoltfleetError
from moltfleet.model.size import Size


class Area(StrEnum):
    """Where something was found, in the order in which it is told."""

    HOST = "host"
    FLEET = "fleet"
    IDENTITY = "identity"
    GUESTS = "guests"


class Remedy(StrEnum):
    """What ``--fix`` does, in the order in which it does it: each later one may find less to do."""

    REPAIR = "repair"
    FORGET = "forget"
    CLEAR = "clear"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. ``kind`` is a stable word, ``subject`` a domain, volume or path.

    ``remedy`` is None where only a person can decide: ``fix`` says then what to do, else what ``--fix`` does.
    ``volume`` is what a remedy for a domain is about; ``frees`` is what it gives back to the pool.
    """

    kind: str
    area: Area
    subject: str
    fact: str
    why: str
    fix: str
    remedy: Remedy | None = None
    volume: str = ""
    frees: Size = Size(0)  # noqa: RUF009


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was found. ``notes`` say what could not be looked at, or is none of our business."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def mendable(self) -> tuple[Finding, ...]:
        """What ``--fix`` acts on, in its order."""
        order = list(Remedy)
        found = [(order.index(f.remedy), f) for f in self.findings if f.remedy is not None]
        return tuple(finding for _, finding in sorted(found, key=lambda pair: pair[0]))

    @property
    def frees(self) -> Size:
        """What mending gives back to the pool."""
        return Size(sum(finding.frees.bytes for finding in self.findings))


@dataclass(frozen=True, slots=True)
class Mended:
    """What became of one finding: ``outcome`` is "mended", "gone" when there was nothing to do any more, "failed"."""

    finding: Finding
    outcome: str
    error: MoltfleetError | None = None
