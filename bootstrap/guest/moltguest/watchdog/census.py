"""Keeps account of all agents, in scopes and in none, and says anew who is who before anything is done to them."""

from __future__ import annotations

from moltguest.limits import Limits
from moltguest.settings import Settings
from moltguest.watchdog.agents import Agents
from moltguest.watchdog.cgroups import Cgroups, unit_of
from moltguest.watchdog.choice import Reason, Verdict
from moltguest.watchdog.groups import Group, Member, Whole
from moltguest.watchdog.look import Look, look
from moltguest.watchdog.memory import read_memory
from moltguest.watchdog.processes import Processes
from moltguest.watchdog.scopes import Scopes
from moltguest.watchdog.trees import Stray, Trees

_ENDED = ("Z", "X", "x")


class Census:
    """All groups of a guest."""

    def __init__(self, root: str, limits: Limits, settings: Settings) -> None:
        self.processes, self.cgroups = Processes(root), Cgroups(root)
        self.scopes, self.trees = Scopes(self.cgroups, limits, settings), Trees(self.processes, limits)
        self._root, self._agents = root, Agents(settings)

    def reconfigure(self, limits: Limits, settings: Settings) -> None:
        """Go by these limits and settings from now on."""
        self._agents = Agents(settings)
        self.scopes.reconfigure(limits, settings)
        self.trees.reconfigure(limits)

    @property
    def groups(self) -> list[Group]:
        """All scopes and trees."""
        return [*self.scopes.groups.values(), *self.trees.groups.values()]

    @property
    def wholes(self) -> list[Whole]:
        """Each agents.slice as a whole."""
        return list(self.scopes.wholes.values())

    def measure(self, now: float) -> None:
        """Bring the memory of all groups up to date."""
        self.scopes.measure(now)
        self.trees.measure(now)

    def discover(self) -> list[Stray]:
        """Look at all processes: name the scopes by their agents, find agents that run in none."""
        seen = self._look()
        self.scopes.name(seen)
        return self.trees.update(seen)

    def _look(self) -> Look:
        return look(self.processes, self.cgroups, self._agents, list(self.scopes.groups))

    def measure_one(self, group: Group, now: float) -> int:
        """Measure one group anew, with all its processes and their true shares; returns what it uses in bytes."""
        if group.is_scope:
            self.scopes.measure_one(group)
        else:
            self.trees.measure_one(group, self._look(), now)
        return group.used

    def is_still_over(self, verdict: Verdict, now: float) -> bool:
        """Measure anew what a verdict was made from: whether it would be made again."""
        used = self.measure_one(verdict.group, now)
        if verdict.reason is Reason.OWN:
            return used >= verdict.threshold
        if verdict.reason is Reason.AGENTS:
            usage = self.cgroups.usage(verdict.group.slice)
            return usage is not None and usage.used >= verdict.threshold
        memory = read_memory(self._root)
        return memory is not None and memory.available <= verdict.threshold

    def members(self, group: Group) -> list[Member]:
        """Return the processes of a group as they are at this moment, the oldest first; the ended are left out."""
        pids = self.cgroups.pids(group.path) if group.is_scope else [pid for pid, _ in group.members]
        known = dict(group.members)
        found = []
        for pid in pids:
            member = self.member(pid)
            if member is None or member.process.state in _ENDED:
                continue
            if group.is_scope or known[pid] == member.process.start:
                found.append(member)
        return sorted(found, key=lambda member: (member.process.start, member.process.pid))

    def is_empty(self, group: Group) -> bool:
        """Whether nobody of a group is left; costs little."""
        if group.is_scope:
            return not self.cgroups.pids(group.path)
        return not any(self._is_alive(pid, start) for pid, start in group.members)

    def _is_alive(self, pid: int, start: int) -> bool:
        try:
            process = self.processes.find(pid)
        except PermissionError:
            return True
        return process is not None and process.start == start and process.state not in _ENDED

    def member(self, pid: int) -> Member | None:
        """Return one process as it is at this moment, None when there is none or it cannot be read."""
        try:
            process = self.processes.find(pid)
        except PermissionError:
            return None
        if process is None:
            return None
        executable = self.processes.executable(pid)
        agent = self._agents.name(process, executable, self.processes)
        seen = Look(self.processes, {}, {pid: executable}, {pid: agent} if agent else {}, {})
        protected = seen.protection(process, self.processes.cgroup(pid))
        return Member(process, executable, agent, self.processes.most(pid), self.processes.owner(pid), protected)

    def is_still_in(self, group: Group, member: Member) -> bool:
        """Whether a process is the one that it was, runs the same program, and belongs to the group."""
        now = self.member(member.process.pid)
        if now is None or now.process.identity != member.process.identity or now.executable != member.executable:
            return False
        if now.protected is not None:
            return False
        if group.is_scope:
            return unit_of(self.processes.cgroup(now.process.pid)) == group.path
        return now.process.identity in group.members

    def is_on_its_way_out(self, member: Member) -> bool:
        """Whether a process has given up its memory, and with it its executable, but is not gone yet."""
        now = self.member(member.process.pid)
        return now is not None and now.process.identity == member.process.identity and now.executable is None
