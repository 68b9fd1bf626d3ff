"""What a scope went through, as seen from outside: memory, and whom the kernel ended in it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from moltguest.scope.contain import group_of
from moltguest.watchdog.cgroups import AGENTS_SLICE, Cgroups
from moltguest.watchdog.files import read_fields
from moltguest.watchdog.journal import amount


@dataclass(slots=True)
class Observed:
    """Figures of a scope, in bytes; the last that could be read, as a scope goes with its last process."""

    path: str
    slice: str
    used: int = 0
    peak: int = 0
    kills: int = 0
    reached: int = 0
    slice_kills_before: int = 0

    def look(self, cgroups: Cgroups) -> None:
        """Bring the figures up to date, if the scope is still there."""
        usage = cgroups.usage(self.path)
        if usage is None:
            return
        self.used = usage.used
        self.peak = max(self.peak, usage.used)
        events = read_fields(cgroups.file(self.path, "memory.events"))
        self.kills = max(self.kills, events.get(b"oom_kill", 0))
        self.reached = max(self.reached, events.get(b"oom", 0))

    def why_killed(self, cgroups: Cgroups, most: int, *, killed: bool) -> str:
        """Return for which limit the kernel has ended somebody in the scope, empty when it has not.

        A scope that went before it could be asked has left its mark on its slice; ``killed`` is the program's SIGKILL.
        """
        has_left_a_mark = killed and cgroups.oom_kills(self.slice) > self.slice_kills_before
        if not self.kills and not has_left_a_mark:
            return ""
        if self.reached or not self.kills:
            return f"it reached its limit of {amount(most)}"
        return "all agents together reached their limit"


def observe(pid: int, unit: str, cgroups: Cgroups) -> Observed:
    """Begin with the scope that a process has just been put into."""
    group = group_of(pid)
    path = group[: group.index(unit) + len(unit)] if unit in group else group
    slice_path = group.partition(f"/{AGENTS_SLICE}/")[0] + f"/{AGENTS_SLICE}"
    found = Observed(path, slice_path, slice_kills_before=cgroups.oom_kills(slice_path))
    found.look(cgroups)
    return found


def open_events(cgroups: Cgroups, observed: Observed) -> int:
    """Return a descriptor that polls as urgent whenever a limit of the scope has acted, -1 when there is none."""
    try:
        fd = os.open(cgroups.file(observed.path, "memory.events"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
    return fd if has_been_read(fd) else -1


def has_been_read(fd: int) -> bool:
    """Read the events, so that only the next one wakes again. Returns False when the scope has gone."""
    try:
        os.pread(fd, 4096, 0)
    except OSError:
        return False
    return True
