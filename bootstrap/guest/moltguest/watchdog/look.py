"""One look at all processes of the guest: who is an agent, who is in which scope, who is below whom."""

from __future__ import annotations

from dataclasses import dataclass, field

from moltguest.watchdog.agents import Agents, protection
from moltguest.watchdog.cgroups import Cgroups, is_inside
from moltguest.watchdog.processes import Process, Processes, children_of, descendants


@dataclass(slots=True)
class Look:
    """What was seen. ``agents`` are names by process number, ``inside`` the scopes of those that are in one."""

    processes: Processes
    table: dict[int, Process]
    executables: dict[int, str | None]
    agents: dict[int, str]
    inside: dict[int, str]
    _children: dict[int, list[Process]] = field(default_factory=dict)

    def alive(self, identities: tuple[tuple[int, int], ...]) -> list[Process]:
        """Return those of the processes that still are what they were."""
        table = self.table
        return [table[pid] for pid, start in identities if pid in table and table[pid].start == start]

    def tree(self, roots: list[Process], taken: set[int]) -> list[Process]:
        """Return the processes and all below them that are in no scope, are not taken, and may be ended."""
        self._children = self._children or children_of(self.table)
        return descendants(roots, self._children, lambda process: process.pid not in taken and self._is_loose(process))

    def _is_loose(self, process: Process) -> bool:
        if process.pid in self.inside:
            return False
        cgroup = self.processes.cgroup(process.pid)
        return not is_inside(cgroup) and self.protection(process, cgroup) is None

    def protection(self, process: Process, cgroup: str) -> str | None:
        """Return why a process may never be ended, None when it may."""
        return protection(process, self.executables.get(process.pid), cgroup, is_agent=process.pid in self.agents)


def look(processes: Processes, cgroups: Cgroups, agents: Agents, units: list[str]) -> Look:
    """Look at all processes, and at who is in the ``units``."""
    table = processes.scan()
    executables = {pid: processes.executable(pid) for pid in table}
    names = {pid: name for pid, process in table.items() if (name := agents.name(process, executables[pid], processes))}
    inside = {pid: unit for unit in units for pid in cgroups.pids(unit)}
    return Look(processes, table, executables, names, inside)
