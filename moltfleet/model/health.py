"""A guest's health as values: what its health check finds and the host reads; names here are keys of the JSON document.

Host and guest share this file, as they do the forecast: Python 3.10, standard library, no I/O.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum

SCHEMA = "moltfleet.guest-health/1"


class Level(str, Enum):
    """How much something matters. A note is worth knowing and no reason to worry."""

    OK = "ok"
    NOTE = "note"
    WARN = "warn"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. ``agents`` is what all agents use together, ``cache`` what the kernel could drop at once."""

    total: int
    available: int
    agents: int
    cache: int
    shm: int
    swap_total: int
    swap_used: int


@dataclass(frozen=True, slots=True)
class Pressure:
    """Percent of the last 10 and 60 seconds in which some task, or all of them, waited (PSI)."""

    some_avg10: float
    some_avg60: float
    full_avg10: float
    full_avg60: float


@dataclass(frozen=True, slots=True)
class Place:
    """A file system. Bytes and inodes; ``in_memory`` when what lies there takes memory."""

    path: str
    in_memory: bool
    total: int
    available: int
    inodes: int
    inodes_free: int

    @property
    def full(self) -> float:
        """Which part of its room is used."""
        return 1 - self.available / self.total if self.total else 0.0

    @property
    def inodes_full(self) -> float:
        """Which part of its inodes is used; 0 where they are not counted."""
        return 1 - self.inodes_free / self.inodes if self.inodes else 0.0


@dataclass(frozen=True, slots=True)
class Count:
    """How many there are and how many there may be; None where there is no limit, or it cannot be seen."""

    what: str
    used: int
    most: int | None
    where: str = ""
    refused: int = 0

    @property
    def full(self) -> float:
        """Which part is used."""
        return self.used / self.most if self.most else 0.0


@dataclass(frozen=True, slots=True)
class Kill:
    """A process that the kernel ended for want of memory; ``limit`` is the cgroup whose limit it was, else empty."""

    name: str
    pid: int
    limit: str
    ago_s: float | None


@dataclass(frozen=True, slots=True)
class Kills:
    """Ended by the kernel since the boot: all, and those of agents. ``recent`` is what its log still tells of them.

    ``limit_hits`` is how often a limit of an agent's cgroup was reached and nothing could be freed.
    """

    total: int
    agents: int
    limit_hits: int
    recent: tuple[Kill, ...] = ()


@dataclass(frozen=True, slots=True)
class Watchdog:
    """``state`` is "watching", "dry run", "silent" (it writes no more) or "absent"."""

    state: str
    kills: int = 0
    last: str = ""
    last_ago_s: float | None = None
    disabled: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Containment:
    """``agents_max`` is the real limit of agents.slice in bytes, ``expected_max`` the one that belongs there."""

    cgroup_version: int
    expected: bool
    agents_max: int | None
    expected_max: int
    users_max: int | None
    earlyoom: bool


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent with all that it started; ``scope`` is empty when no limit holds it. Bytes; it is ended at ``end``."""

    name: str
    scope: str
    key: str
    used: int
    warn: int
    end: int
    most: int
    processes: int


@dataclass(frozen=True, slots=True)
class Session:
    """A tmux session. ``note`` is "idle" or "redundant" when it could be ended, with the reason in ``why``.

    ``program`` is an agent's name where one runs there; ``server`` is the name of the session's tmux server.
    """

    name: str
    user: str
    attached: bool
    idle_s: float
    directory: str
    program: str
    note: str = ""
    why: str = ""
    server: str = "default"


@dataclass(frozen=True, slots=True)
class Trend:
    """The forecast for the guest (``key`` empty) or for one agent; see moltguest.forecast for the words."""

    key: str
    name: str
    verdict: str
    reason: str
    used: int
    total: int
    samples: int
    span_s: float
    seconds: float | None = None
    rate: float | None = None
    seen_s: float | None = None
    points: int | None = None
    bound_s: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that somebody should know: what it is, and the one thing to do about it."""

    code: str
    level: Level
    text: str
    advice: str


@dataclass(frozen=True, slots=True)
class Health:
    """One look at the guest. ``unseen`` says what could not be looked at, and why.

    ``agents_cpu_s`` is the processor time that agents in scopes used since the boot, None where it is not counted.
    """

    host: str
    version: str
    boot_id: str
    time: float
    uptime_s: float
    cpus: int
    level: Level
    verdict: str
    memory: Memory
    pressure: dict[str, Pressure | None]
    load: tuple[float, ...]
    places: tuple[Place, ...]
    counts: tuple[Count, ...]
    kills: Kills
    watchdog: Watchdog
    containment: Containment
    agents: tuple[Agent, ...]
    sessions: tuple[Session, ...]
    trends: tuple[Trend, ...]
    findings: tuple[Finding, ...]
    unseen: tuple[str, ...]
    agents_cpu_s: float | None = None

    def document(self) -> dict[str, object]:
        """Return the report as a JSON document."""
        return {"schema": SCHEMA, **asdict(self)}
