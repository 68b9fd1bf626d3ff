"""The memory of this machine: what is available, how hard it is waited for, and whether the kernel killed for it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from moltfleet.adapters import hostinfo
from moltfleet.adapters.oomkills import OomHistory
from moltfleet.model.load import HostLoad

if TYPE_CHECKING:
    from moltfleet.model.size import Size


class LocalMeter:
    """The ``Meter`` port on this machine. ``state`` is where the OOM counter is remembered."""

    def __init__(self, state: Path | None = None, *, proc: Path = Path("/proc")) -> None:
        self._history = OomHistory((state or platformdirs.user_state_path("moltfleet")) / "oom-kills.json", proc)
        self._proc = proc

    def measure(self) -> HostLoad:
        """See the port."""
        memory = hostinfo.memory()
        pressure, pressure_origin = hostinfo.memory_pressure(self._proc)
        kills, kills_origin = self._history.recent()
        return HostLoad(
            total=memory.total,
            total_origin="/proc/meminfo",
            available=memory.available,
            available_origin="MemAvailable, /proc/meminfo",
            pressure=pressure,
            pressure_origin=pressure_origin,
            oom_kills=kills,
            oom_origin=kills_origin,
        )

    def peaks(self) -> Mapping[str, Size]:
        """See the port: the kernel keeps it for every process."""
        return hostinfo.emulator_peaks(self._proc)

    def remember(self) -> None:
        """See the port; a state directory that cannot be written leaves the kills unmeasured, and nothing else."""
        with contextlib.suppress(OSError):
            self._history.remember()
