"""What is accounted together: an agent's scope, or the tree of an agent that runs in none; found and measured here."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from moltguest.limits import SMALLEST_SCOPE, Levels
from moltguest.watchdog.processes import Identity, Process

# How far back growth is looked at to tell who leaks.
_GROWTH_S = 30.0


@dataclass(slots=True)
class Growth:
    """How fast something grows, in bytes; samples may come at any distance."""

    rate: float = 0.0
    _points: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=400))

    def add(self, now: float, used: int) -> None:
        """Take in a sample. The rate falls slowly, as memory comes in steps; time that stands still adds nothing."""
        if self._points:
            before, level = self._points[-1]
            if now - before < 0.02:
                return
            self.rate = max((used - level) / (now - before), self.rate * 0.7, 0.0)
        self._points.append((now, used))
        while now - self._points[0][0] > _GROWTH_S:
            self._points.popleft()

    def grown(self) -> int:
        """Return by how much it grew in the last half minute."""
        return max(0, self._points[-1][1] - self._points[0][1]) if self._points else 0


@dataclass(slots=True)
class Group:
    """Processes that are accounted together. ``path`` is the scope's cgroup, empty for the tree of an agent in none.

    ``share`` is the part of a tree's memory that is its own, when pages are shared between its processes.
    """

    key: str
    name: str
    levels: Levels
    path: str = ""
    slice: str = ""
    members: tuple[Identity, ...] = ()
    used: int = 0
    anon: int = 0
    shmem: int = 0
    growth: Growth = field(default_factory=Growth)
    share: float = 1.0
    shared_at: float = float("-inf")
    warned: bool = False

    @property
    def is_scope(self) -> bool:
        """Whether the kernel holds the group together."""
        return bool(self.path)

    @property
    def is_over(self) -> bool:
        """Whether it uses more than it may."""
        return self.used >= self.levels.term

    def weight(self) -> int:
        """Return how likely this is the one that leaks: size times growth, an idle giant before an idle dwarf."""
        return self.used * max(self.growth.grown(), SMALLEST_SCOPE // 4)


@dataclass(slots=True)
class Whole:
    """All agents of one agents.slice together."""

    path: str
    levels: Levels
    used: int = 0
    growth: Growth = field(default_factory=Growth)

    @property
    def is_over(self) -> bool:
        """Whether they use more than they may."""
        return self.used >= self.levels.term


@dataclass(frozen=True, slots=True)
class Member:
    """A process of a group. ``memory`` is in bytes and never too little; ``protected`` says why it is left alone."""

    process: Process
    executable: str | None
    agent: str | None
    memory: int
    owner: int
    protected: str | None
