"""Agents that run in no scope, each with everything below it: found by executable, kept when a parent ends."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from moltguest.limits import Limits
from moltguest.watchdog.groups import Group
from moltguest.watchdog.look import Look
from moltguest.watchdog.processes import Identity, Process, Processes

# The proportional share is slow to ask for: not oftener than this, and not longer than that.
_SHARE_EVERY_S = 10.0
_SHARE_LONGEST_S = 0.5


@dataclass(frozen=True, slots=True)
class Stray:
    """An agent in no scope, seen for the first time. ``left`` is the scope that it was in before, empty for none."""

    group: Group
    process: Process
    left: str


class Trees:
    """All trees, by the identity of the process that each began with."""

    def __init__(self, processes: Processes, limits: Limits) -> None:
        self.groups: dict[str, Group] = {}
        self._processes, self._limits = processes, limits
        self._inside: dict[Identity, str] = {}

    def reconfigure(self, limits: Limits) -> None:
        """Go by these limits from now on."""
        self._limits = limits
        for tree in self.groups.values():
            tree.levels = limits.outside

    def measure(self, now: float) -> None:
        """Bring all memory up to date; the first figure is never too little, and is made exact when it matters."""
        for tree in self.groups.values():
            self._sum(tree)
            if tree.used >= tree.levels.warn and now - tree.shared_at >= _SHARE_EVERY_S:
                self._ask_share(tree, now)
            tree.growth.add(now, tree.used)

    def measure_one(self, tree: Group, seen: Look, now: float) -> None:
        """Bring one tree up to date as it is at this moment, with whatever was started since."""
        tree.members = _identities(seen.tree(seen.alive(tree.members), set()))
        self._sum(tree)
        self._ask_share(tree, now)

    def update(self, seen: Look) -> list[Stray]:
        """Bring the trees in line with what was seen; returns those that are new."""
        taken = self._regrow(seen)
        lost = self._lost(seen)
        strays = []
        for pid in sorted({*seen.agents, *lost}, key=lambda pid: seen.table[pid].start):
            root = seen.table[pid]
            members = seen.tree([root], taken)
            if members:
                group = Group(f"tree:{pid}:{root.start}", _name(seen, pid), self._limits.outside)
                group.members = _identities(members)
                self.groups[group.key] = group
                taken.update(member.pid for member in members)
                strays.append(Stray(group, root, lost.get(pid, "")))
        self._inside = {seen.table[pid].identity: unit for pid, unit in seen.inside.items() if pid in seen.table}
        return strays

    def _regrow(self, seen: Look) -> set[int]:
        """Whoever was of a tree stays of it, also when its parent has ended; trees without anybody go."""
        taken: set[int] = set()
        groups = {}
        for key, tree in self.groups.items():
            members = seen.tree(seen.alive(tree.members), taken)
            if members:
                tree.members = _identities(members)
                taken.update(member.pid for member in members)
                groups[key] = tree
        self.groups = groups
        return taken

    def _lost(self, seen: Look) -> dict[int, str]:
        """Processes that were in a scope when last seen, and are in none now, with that scope."""
        return {
            pid: unit
            for (pid, start), unit in self._inside.items()
            if pid not in seen.inside and pid in seen.table and seen.table[pid].start == start
        }

    def _sum(self, tree: Group) -> None:
        tree.used = tree.anon = int(sum(self._processes.most(pid) for pid, _ in tree.members) * tree.share)

    def _ask_share(self, tree: Group, now: float) -> None:
        """Ask for true shares, the largest process first, until it is clear on which side of its end the tree is.

        That is slow while a leak goes on. One process that is over by itself needs no asking: its anonymous pages are
        shared with what it has forked only, and all of that is of the tree.
        """
        most = sorted(((self._processes.most(pid), pid) for pid, _ in tree.members), reverse=True)
        if most and self._processes.anonymous(most[0][1]) >= tree.levels.term:
            tree.share, tree.shared_at = 1.0, now
            self._sum(tree)
            return
        left = upper = sum(amount for amount, _ in most)
        exact, deadline = 0, time.monotonic() + _SHARE_LONGEST_S
        for amount, pid in most:
            if left + exact < tree.levels.term or exact >= tree.levels.term or time.monotonic() > deadline:
                break
            share = self._processes.share(pid)
            exact += amount if share is None else min(share, amount)
            left -= amount
        tree.used = tree.anon = exact + left
        tree.share = tree.used / upper if upper else 1.0
        tree.shared_at = now


def _identities(members: list[Process]) -> tuple[Identity, ...]:
    return tuple(member.identity for member in members)


def _name(seen: Look, pid: int) -> str:
    return seen.agents.get(pid) or os.path.basename(seen.executables.get(pid) or "process")
