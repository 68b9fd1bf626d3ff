"""All that a diagnosis is made from."""

from __future__ import annotations

from dataclasses import dataclass

from moltguest.health.heaps import Heap
from moltguest.health.report import (
    Agent,
    Containment,
    Count,
    Kills,
    Memory,
    Place,
    Pressure,
    Session,
    Trend,
    Watchdog,
)
from moltguest.limits import Limits


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen. ``pressure`` is memory's; ``v8_deaths`` are sessions in which node ended with its heap full.

    ``version`` is that of the guest tools, empty when they are not installed.
    """

    version: str
    limits: Limits
    memory: Memory
    pressure: Pressure | None
    places: tuple[Place, ...]
    counts: tuple[Count, ...]
    kills: Kills
    watchdog: Watchdog
    containment: Containment
    agents: tuple[Agent, ...]
    heaps: tuple[Heap, ...]
    v8_deaths: tuple[str, ...]
    sessions: tuple[Session, ...]
    trends: tuple[Trend, ...]
