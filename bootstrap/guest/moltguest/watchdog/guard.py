"""The watchdog itself: looks at memory, ends one victim at a time, and says how long it may look away."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from moltguest.backoff import Backoff, key_of
from moltguest.limits import Limits, derive
from moltguest.samples import Load, SampleLog
from moltguest.settings import Settings
from moltguest.watchdog import recorder, reports, terminal
from moltguest.watchdog.census import Census
from moltguest.watchdog.choice import Situation, Verdict, choose, judge
from moltguest.watchdog.ending import Ending, Outcome, Result
from moltguest.watchdog.journal import Log
from moltguest.watchdog.memory import Memory, read_memory
from moltguest.watchdog.pace import SHORTEST_S, pause
from moltguest.watchdog.recorder import Recorder
from moltguest.watchdog.signals import Signals
from moltguest.watchdog.statefile import State, store
from moltguest.watchdog.surroundings import Surroundings
from moltguest.watchdog.trees import Stray

COOL_DOWN_S = 15.0
_DISCOVER_S = 10.0
# While memory goes away, new processes are looked for oftener.
_DISCOVER_SOON_S = 1.0
_GONE_AWAY = 0.05
# All processes are looked at for at most a hundredth of the time, a tenth while something happens.
_DISCOVER_COST, _DISCOVER_COST_SOON = 100.0, 10.0
_NOBODY_S = 60.0


@dataclass(frozen=True, slots=True)
class World:
    """What the watchdog acts through. ``read_settings`` is called again and again; ``now`` never goes back.

    ``state_root`` is where /var/lib/moltfleet and /run/moltfleet lie below.
    """

    root: str
    state_root: str
    now: Callable[[], float]
    signals: Signals
    log: Log
    backoff: Backoff
    read_settings: Callable[[], tuple[Settings, tuple[str, ...]]]
    tell: Callable[[int, str], bool] = terminal.tell
    stopwatch: Callable[[], float] = time.monotonic


class Guard:
    """A watchdog over one guest. ``tick`` does everything once; who calls it waits in between."""

    def __init__(self, world: World, *, dry: bool) -> None:
        memory = read_memory(world.root)
        if memory is None:
            raise ValueError("/proc/meminfo tells no memory")
        self._world, self._dry = world, dry
        self._settings, problems = world.read_settings()
        self.limits: Limits = derive(memory.total, self._settings)
        self.census = Census(world.root, self.limits, self._settings)
        self._recorder = Recorder()
        self._samples = SampleLog(world.state_root)
        self._surroundings = Surroundings(world.root, self.census.cgroups)
        self._ending: Ending | None = None
        self._cooling: dict[str, float] = {}
        self._cool_until = self._discovered = self._nobody_at = float("-inf")
        self._discover_cost = 0.0
        self._is_scope_new = False
        self._available_then = memory.available
        self._said: list[str] = []
        self._since = world.now()
        self.kills = 0
        self.last: dict[str, object] | None = None
        self.complain(*problems, *self.limits.notes)
        if not self.census.scopes.is_unified:
            self.complain("cgroups are not version 2: agents are found by their executables only, and polled")

    @property
    def fileno(self) -> int:
        """A descriptor that becomes readable when the present victim ends, -1 for none."""
        return self._ending.fileno() if self._ending else -1

    @property
    def is_ending(self) -> bool:
        """Whether somebody is being ended."""
        return self._ending is not None

    def tick(self) -> float:
        """Look, act, and return how many seconds may pass until the next tick."""
        began, now = self._world.stopwatch(), self._world.now()
        memory = read_memory(self._world.root)
        known = set(self.census.scopes.groups)
        self.census.measure(now)
        self._is_scope_new = self._is_scope_new or set(self.census.scopes.groups) != known
        # It has a budget of its own: what it takes must not keep the next look away.
        aside = self._discover(now, memory) if self._is_discovery_due(now, memory) else 0.0
        self._recorder.add(now, memory, self.census.groups)
        self._warn()
        self._act(now, memory)
        if self._ending is not None:
            return SHORTEST_S / 2
        self._sample(now, memory)
        return pause(self._headrooms(memory), self._world.stopwatch() - began - aside)

    def _headrooms(self, memory: Memory | None) -> list[tuple[int, float]]:
        found = [(group.levels.term - group.used, group.growth.rate) for group in self.census.groups]
        found += [(whole.levels.term - whole.used, whole.growth.rate) for whole in self.census.wholes]
        if memory is not None:
            # Also while nobody is known: an agent that has just been started in no scope shows here first.
            found.append((memory.available - self.limits.available_term, 0.0))
        return found

    # Now and then.

    def _is_discovery_due(self, now: float, memory: Memory | None) -> bool:
        waited = now - self._discovered
        if waited >= max(_DISCOVER_S, _DISCOVER_COST * self._discover_cost):
            return True
        if waited < max(_DISCOVER_SOON_S, _DISCOVER_COST_SOON * self._discover_cost):
            return False
        fallen = self._available_then - memory.available if memory else 0
        near = any(2 * tree.used >= tree.levels.term for tree in self.census.trees.groups.values())
        return self._is_scope_new or near or fallen > _GONE_AWAY * self.limits.total

    def _discover(self, now: float, memory: Memory | None) -> float:
        """Look at all processes; returns the seconds that it took."""
        began = self._world.stopwatch()
        if memory is not None:
            self._available_then = memory.available
            self._reconfigure(memory.total)
        strays = self.census.discover()
        if strays:
            self.census.measure(now)
        for stray in strays:
            self._world.log.write(reports.uncontained(stray, self._owner(stray)))
        for event in self._surroundings.look():
            self._world.log.write(event)
        if refused := self.census.processes.unreadable:
            self.complain(f"{refused} processes cannot be read: /proc hides them, or a capability is missing")
        if self._world.backoff.problem:
            self.complain(self._world.backoff.problem)
        self._store()
        self._is_scope_new = False
        self._discovered, self._discover_cost = now, self._world.stopwatch() - began
        return self._discover_cost

    def _owner(self, stray: Stray) -> int:
        return self.census.processes.owner(stray.process.pid)

    def _reconfigure(self, total: int) -> None:
        """Take up a changed configuration, and memory that was plugged in or ballooned away."""
        settings, problems = self._world.read_settings()
        self.complain(*problems)
        if settings == self._settings and total == self.limits.total:
            return
        self._settings, self.limits = settings, derive(total, settings)
        self.census.reconfigure(self.limits, settings)
        self.complain(*self.limits.notes)

    def complain(self, *problems: str) -> None:
        """Say each problem once."""
        for problem in problems:
            if problem not in self._said and len(self._said) < 100:
                self._said.append(problem)
                self._world.log.write(reports.problem(problem))

    def state(self) -> State:
        """What is known at this moment."""
        now = self._world.now()
        return State(
            uptime=now,
            since=self._since,
            limits=self.limits,
            memory=read_memory(self._world.root),
            groups=self.census.groups,
            modes={"cgroup_v2": self.census.scopes.is_unified, "dry_run": self._dry},
            problems=list(self._said),
            kills=self.kills,
            last=self.last,
            disabled=self._world.backoff.disabled(now),
        )

    def summary(self) -> str:
        """The state in a few words."""
        return f"{len(self.census.groups)} agents, {self.kills} ended"

    def _store(self) -> None:
        if not self._dry and (wrong := store(self._world.state_root, self.state())):
            self.complain(wrong)

    # Every time.

    def _sample(self, now: float, memory: Memory | None) -> None:
        """Let the forecast have this moment."""
        if memory is None or self._dry:
            return
        loads = [Load(group.key, group.used, group.levels.term) for group in self.census.groups]
        if wrong := self._samples.offer(now, memory.available, memory.total, loads):
            self.complain(wrong)

    def _warn(self) -> None:
        for group in self.census.groups:
            if group.used >= group.levels.warn and not group.warned:
                group.warned = True
                self._world.log.write(reports.warned(group))
            elif group.warned and group.used < 0.9 * group.levels.warn:
                group.warned = False

    def _act(self, now: float, memory: Memory | None) -> None:
        if self._ending is not None:
            outcome = self._ending.step(now)
            if outcome is not None:
                self._conclude(outcome, now, memory)
            return
        self._cooling = {key: until for key, until in self._cooling.items() if until > now}
        situation = Situation(
            groups=tuple(self.census.groups),
            wholes=tuple(self.census.wholes),
            available=memory.available if memory else self.limits.total,
            available_term=self.limits.available_term,
            cooling=frozenset(self._cooling),
            is_cooling=now < self._cool_until,
        )
        verdict = judge(situation)
        if verdict is not None:
            self._begin(verdict, now, memory, whole=False)
        elif situation.available <= situation.available_term and now - self._nobody_at >= _NOBODY_S:
            self._nobody_at = now
            self._world.log.write(reports.nobody(situation.available, situation.available_term))

    def _begin(self, verdict: Verdict, now: float, memory: Memory | None, *, whole: bool) -> None:
        # With whoever was started since the last look: it may be the one.
        self.census.measure_one(verdict.group, now)
        victim = choose(verdict.group, self.census.members(verdict.group), whole=whole)
        if victim is None:
            self._cooling[verdict.group.key] = now + COOL_DOWN_S
            self._world.log.write(reports.nobody(verdict.used, verdict.threshold))
            return
        self._ending = Ending(self.census, self._world.signals, verdict, victim)
        outcome = self._ending.begin(now, dry=self._dry)
        if outcome is not None:
            self._conclude(outcome, now, memory)
            return
        self._world.log.write(reports.asked(self._ending, victim.owner))

    def _conclude(self, outcome: Outcome, now: float, memory: Memory | None) -> None:
        ending, self._ending = self._ending, None
        if ending is None:
            return
        extra: reports.Fields = {}
        if outcome.result in (Result.ENDED, Result.NOT_ENOUGH, Result.STUCK):
            extra = self._keep(ending, outcome, now)
        event = reports.outcome(ending, outcome, ending.victim.owner, extra)
        self._world.log.write(event)
        self._cool(ending, outcome.result, now)
        if outcome.result in (Result.ENDED, Result.NOT_ENOUGH):
            self.kills += 1
            self.last = {"uptime": round(now, 1), "message": event.message, **event.fields}
        self._store()
        if outcome.result is Result.NOT_ENOUGH:
            self._begin(ending.verdict, now, memory, whole=True)

    def _cool(self, ending: Ending, result: Result, now: float) -> None:
        if result in (Result.ENDED, Result.STUCK, Result.DRY):
            self._cooling[ending.group.key] = self._cool_until = now + COOL_DOWN_S
        elif result is Result.CHANGED:
            self._cooling[ending.group.key] = now + SHORTEST_S

    def _keep(self, ending: Ending, outcome: Outcome, now: float) -> reports.Fields:
        """What is kept of a kill: the recording, the count, and a line for the person in front of it."""
        member = ending.victim.member
        wait_s: float | None = 0.0
        if ending.victim.whole and outcome.result is Result.ENDED:
            agent = member.agent or ending.group.name
            wait_s = self._world.backoff.add(key_of(agent, ending.victim.owner), now)
        if outcome.result is Result.ENDED:
            self._world.tell(member.process.terminal, reports.for_terminal(ending, wait_s))
        header = {**reports.facts(ending.group), "pid": member.process.pid, "result": outcome.result.value}
        directory = f"{self._world.state_root.rstrip('/')}/var/lib/moltfleet/watchdog"
        name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{member.process.pid}"
        path = recorder.save(directory, name, self._recorder.text({**header, "uptime": round(now, 1)}))
        if path is None:
            self.complain(f"{directory}: a recording could not be written")
        return {"recording": path or "", "restart_wait": -1.0 if wait_s is None else wait_s}
