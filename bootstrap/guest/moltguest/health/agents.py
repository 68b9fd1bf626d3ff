"""The agents of this guest: who runs, in which scope, and what each uses; counted as the watchdog counts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from moltguest.health.heaps import Heap, read_heap
from moltguest.health.report import Agent
from moltguest.limits import Limits
from moltguest.settings import Settings
from moltguest.watchdog.census import Census
from moltguest.watchdog.cgroups import Cgroups
from moltguest.watchdog.files import printable
from moltguest.watchdog.groups import Group
from moltguest.watchdog.processes import Process


@dataclass(frozen=True, slots=True)
class Population:
    """Everybody: all processes, the agents, the processes that belong to agents, and node's heaps among these.

    ``terminals`` are the agents' names by the numbers of the terminals that they have.
    """

    table: dict[int, Process]
    agents: tuple[Agent, ...]
    used: int
    members: tuple[int, ...]
    heaps: tuple[Heap, ...]
    terminals: dict[int, str]
    unreadable: int


def read_population(root: str, limits: Limits, settings: Settings, now: float) -> Population:
    """Look at all processes and scopes once."""
    census = Census(root, limits, settings)
    census.measure(now)
    census.discover()
    census.measure(now)
    table = census.processes.scan()
    unreadable = census.processes.unreadable
    agents, members, heaps = [], [], []
    terminals: dict[int, str] = {}
    for group in sorted(census.groups, key=lambda group: (-group.used, group.key)):
        pids = census.cgroups.pids(group.path) if group.is_scope else [pid for pid, _ in group.members]
        if not pids and not group.used:
            continue
        agents.append(_agent(group, len(pids)))
        members += pids
        terminals |= {
            table[pid].terminal: printable(group.name) for pid in pids if pid in table and table[pid].terminal
        }
        found = (read_heap(root, census.processes, pid, limits.total) for pid in pids)
        heaps += [replace(heap, agent=printable(group.name)) for heap in found if heap]
    # What all agents of a slice share is in the slice's figure, and in none of its scopes'.
    used = sum(whole.used for whole in census.wholes) + sum(g.used for g in census.groups if not g.is_scope)
    return Population(table, tuple(agents), used, tuple(members), tuple(heaps), terminals, unreadable)


def read_cpu(cgroups: Cgroups) -> float | None:
    """Return the processor seconds of all agents in scopes since the boot, None where nothing counts them."""
    told = [used for path in cgroups.agents_slices() if (used := cgroups.cpu_s(path)) is not None]
    return round(sum(told), 3) if told else None


def _agent(group: Group, processes: int) -> Agent:
    scope = printable(group.path.rsplit("/", 1)[-1], 80) if group.is_scope else ""
    levels = group.levels
    return Agent(
        printable(group.name), scope, group.key, group.used, levels.warn, levels.term, levels.max, processes
    )  # fmt: skip
