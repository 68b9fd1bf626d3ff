"""Deadlines on the injected clock; those of the configuration, longer when the guest is emulated."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.domain import VirtType

if TYPE_CHECKING:
    from moltfleet.config import Timeouts
    from moltfleet.model.ports import Clock
    from moltfleet.operations.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock."""

    clock: Clock
    at: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> Deadline:
        """Make one ``seconds`` from now."""
        return cls(clock, clock.monotonic() + seconds)

    @property
    def left_s(self) -> float:
        """Seconds left, at least 0."""
        return max(0.0, self.at - self.clock.monotonic())

    @property
    def has_passed(self) -> bool:
        """Whether nothing is left."""
        return self.left_s <= 0


def timeouts(fleet: Fleet) -> Timeouts:
    """The configured waits, scaled for this host."""
    is_emulated = fleet.hypervisor.host().virt_type is VirtType.QEMU
    return fleet.config.timeouts.scaled(fleet.config.emulation_factor if is_emulated else 1.0)


def hours_since(clock: Clock, moment: str) -> float:
    """Hours that have passed since a :func:`timestamp`."""
    return (clock.now() - epoch(moment)) / 3600


def epoch(moment: str) -> float:
    """A :func:`timestamp` as seconds since the epoch."""
    return datetime.datetime.fromisoformat(moment).timestamp()


def find_epoch(moment: str) -> float | None:
    """As :func:`epoch`; None for what is no moment, since people can edit records."""
    try:
        return epoch(moment)
    except (ValueError, OverflowError):
        return None


def timestamp(clock: Clock, *, after_s: float = 0.0) -> str:
    """Now, or so much later, as UTC in ISO 8601 with seconds."""
    return datetime.datetime.fromtimestamp(clock.now() + after_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
