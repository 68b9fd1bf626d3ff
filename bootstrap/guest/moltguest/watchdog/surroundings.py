"""What happens beside the agents: kernel OOM kills, and file systems in memory that fill up."""

from __future__ import annotations

import os

from moltguest.watchdog import reports
from moltguest.watchdog.cgroups import Cgroups
from moltguest.watchdog.files import read_fields
from moltguest.watchdog.journal import Event

_IN_MEMORY = ("/dev/shm", "/tmp")
_FULL, _ROOM_AGAIN = 0.8, 0.7


class Surroundings:
    """Remembers what was said, so that each thing is said once."""

    def __init__(self, root: str, cgroups: Cgroups) -> None:
        self._root, self._cgroups = root.rstrip("/"), cgroups
        self._kills = self._count_kills()
        self._full: set[str] = set()

    def look(self) -> list[Event]:
        """Return what has happened since the last look."""
        return [*self._kernel_kills(), *self._filling()]

    def _count_kills(self) -> dict[str, int]:
        counts = {path: self._cgroups.oom_kills(path) for path in self._cgroups.agents_slices()}
        counts["the guest"] = read_fields(self._root + "/proc/vmstat").get(b"oom_kill", 0)
        return counts

    def _kernel_kills(self) -> list[Event]:
        now, before = self._count_kills(), self._kills
        self._kills = now
        # The guest's figure holds those of all slices.
        new = {where: count - before.get(where, 0) for where, count in now.items()}
        of_agents = sum(count for where, count in new.items() if where != "the guest" and count > 0)
        new["the guest"] -= of_agents
        return [reports.kernel_kill(where, count) for where, count in new.items() if count > 0]

    def _filling(self) -> list[Event]:
        events = []
        for path in _IN_MEMORY:
            share = self._share(path)
            if share >= _FULL and path not in self._full:
                self._full.add(path)
                events.append(reports.filling(path, share))
            elif share < _ROOM_AGAIN:
                self._full.discard(path)
        return events

    def _share(self, path: str) -> float:
        try:
            found = os.statvfs(self._root + path)
        except OSError:
            return 0.0
        blocks = 1 - found.f_bavail / found.f_blocks if found.f_blocks else 0.0
        inodes = 1 - found.f_favail / found.f_files if found.f_files else 0.0
        return max(blocks, inodes)
