"""A host's memory that is what the test says: 64 GiB, calm and empty unless told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from moltfleet.model.load import HostLoad
from moltfleet.model.size import Size


def a_calm_host() -> HostLoad:
    """64 GiB of which 60 are available; nothing waits and nothing was killed."""
    return HostLoad(
        total=Size.of_gib(64),
        total_origin="/proc/meminfo",
        available=Size.of_gib(60),
        available_origin="MemAvailable, /proc/meminfo",
        pressure=0.0,
        pressure_origin="/proc/pressure/memory",
        oom_kills=0,
        oom_origin="last 10 minutes, /proc/vmstat",
    )


@dataclass(slots=True)
class FakeMeter:
    """The Meter port. ``remembered`` counts how often it was told to remember."""

    load: HostLoad = field(default_factory=a_calm_host)
    remembered: int = 0
    highest: dict[str, Size] = field(default_factory=dict)

    def measure(self) -> HostLoad:
        return self.load

    def peaks(self) -> Mapping[str, Size]:
        return self.highest

    def remember(self) -> None:
        self.remembered += 1
