"""The scopes and services below every agents.slice, with the limits that they really have."""

from __future__ import annotations

from moltguest.limits import HIGH, SMALLEST_SCOPE, Levels, Limits, levels
from moltguest.settings import Settings
from moltguest.watchdog.cgroups import Cgroups
from moltguest.watchdog.groups import Group, Whole
from moltguest.watchdog.look import Look


class Scopes:
    """All scopes by their cgroup, and each agents.slice as a whole; none where cgroups are not version 2."""

    def __init__(self, cgroups: Cgroups, limits: Limits, settings: Settings) -> None:
        self.is_unified = cgroups.is_unified()
        self.groups: dict[str, Group] = {}
        self.wholes: dict[str, Whole] = {}
        self._cgroups, self._limits, self._settings = cgroups, limits, settings

    def reconfigure(self, limits: Limits, settings: Settings) -> None:
        """Go by these limits and settings from now on."""
        self._limits, self._settings = limits, settings
        self._read_levels()

    def measure(self, now: float) -> None:
        """Bring all memory up to date; new scopes are seen, those that have gone are dropped."""
        if not self.is_unified:
            return
        groups, wholes = {}, {}
        for path in self._cgroups.agents_slices():
            whole = self.wholes.get(path) or Whole(path, self._levels_of_slice(path))
            wholes[path] = whole
            usage = self._cgroups.usage(path)
            whole.used = usage.used if usage else 0
            whole.growth.add(now, whole.used)
            for unit in self._cgroups.units(path):
                group = self.groups.get(unit) or self._new(unit, path)
                if self.measure_one(group):
                    group.growth.add(now, group.used)
                    groups[unit] = group
        self.groups, self.wholes = groups, wholes

    def measure_one(self, group: Group) -> bool:
        """Bring one scope's memory up to date. Returns False when it has gone."""
        usage = self._cgroups.usage(group.path)
        if usage is None:
            group.used = 0
            return False
        group.used, group.anon, group.shmem = usage.used, usage.anon, usage.shmem
        return True

    def name(self, seen: Look) -> None:
        """Call each scope after the first agent in it, and read its limits again."""
        members: dict[str, list[int]] = {}
        for pid, unit in seen.inside.items():
            if pid in seen.agents and pid in seen.table:
                members.setdefault(unit, []).append(pid)
        for unit, pids in members.items():
            if unit in self.groups:
                self.groups[unit].name = seen.agents[min(pids, key=lambda pid: seen.table[pid].start)]
        self._read_levels()

    def _new(self, unit: str, slice_path: str) -> Group:
        name = unit.rsplit("/", 1)[-1].rsplit(".", 1)[0]
        return Group(unit, name, self._levels_of_scope(unit), path=unit, slice=slice_path)

    def _read_levels(self) -> None:
        for unit, group in self.groups.items():
            group.levels = self._levels_of_scope(unit)
        for path, whole in self.wholes.items():
            whole.levels = self._levels_of_slice(path)

    def _levels_of_slice(self, path: str) -> Levels:
        _, most = self._cgroups.bounds(path)
        return levels(max(min(most or self._limits.ceiling, self._limits.ceiling), SMALLEST_SCOPE))

    def _levels_of_scope(self, path: str) -> Levels:
        high, most = self._cgroups.bounds(path)
        if high is None and most is None:
            return self._limits.outside
        from_high = None if high is None else int(high / HIGH) + 1
        least = min(bound for bound in (most, from_high, self._limits.ceiling) if bound is not None)
        return levels(max(least, SMALLEST_SCOPE), self._settings)
