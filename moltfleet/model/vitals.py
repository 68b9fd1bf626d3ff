"""What bulk statistics tell of a domain at one moment: why it does not run, its balloon, its processors, its disk."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from moltfleet.model.domain import DomainState
from moltfleet.model.size import Size


class Reason(StrEnum):
    """Why a domain is paused or off, as far as libvirt tells."""

    IO_ERROR = "an I/O error"
    BY_HAND = "by hand"
    POWERED_OFF = "its guest powered off"
    CUT = "its power was cut"
    CRASHED = "it crashed"
    OTHER = "libvirt does not say why"


@dataclass(frozen=True, slots=True)
class Balloon:
    """What the guest's balloon driver told: MemTotal and MemAvailable; ``told_at`` is seconds since the epoch."""

    total: Size
    available: Size
    told_at: float


@dataclass(frozen=True, slots=True)
class Vitals:
    """One domain, running or not. What is None was not told: by this driver, or because a job is running.

    ``life`` changes with every start and restore, "" when nothing runs; ``cpu_s`` counts from the start; ``disk`` is
    what the top layer of the first disk takes; ``resident`` is QEMU's RSS.
    """

    name: str
    state: DomainState
    reason: Reason = Reason.OTHER
    life: str = ""
    balloon: Balloon | None = None
    resident: Size | None = None
    cpu_s: float | None = None
    disk: Size | None = None
