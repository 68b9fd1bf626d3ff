"""All memory limits of a guest, derived from its memory: pure arithmetic, which writes and measures nothing.

The rule that holds for every guest: warn < term < high < max <= total - reserve. The documented 8000 and 13000 MiB and
12G stay wherever they fit; absolute figures do nothing in a guest that is smaller than they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from moltguest.settings import Settings

MIB = 1 << 20
GIB = 1 << 30

DOCUMENTED_WARN = 8000 * MIB
DOCUMENTED_TERM = 13000 * MIB
DOCUMENTED_SCOPE = 12 * GIB
# A guest sold as 2 GiB shows a little less; whatever is smaller gets the watchdog only.
SMALLEST_CONTAINED = 2 * GIB - 256 * MIB
# Below this a scope cannot hold an interpreter, and its limit only makes noise.
SMALLEST_SCOPE = 64 * MIB

RESERVE_FLOOR = 1536 * MIB
# The kernel's penalty between high and max is what gives the watchdog its time: 5 % of 12 GiB are minutes.
HIGH = 0.95
TERM = 0.92
WARN = 0.62
SCOPE_SHARE = 0.85
# A documented threshold fits when this much is left below high.
FITS = 0.97
DOCKER_SHARE = 0.35
TMPFS_SHARE = 0.12
SMALLEST_TMPFS = 64 * MIB
LARGEST_TMPFS = 2 * GIB
# A file takes about 1 KiB of kernel memory: at most an eighth on top of the size.
BYTES_PER_INODE = 8192
# Of the whole memory, in this order as it runs out: agents at their ceiling leave 8 %, the watchdog acts at 7 %,
# earlyoom asks at 6 % and kills at 3 %.
LEFT_AT_CEILING = 0.08
WATCHDOG_AVAILABLE = 0.07
EARLYOOM_TERM_PERCENT = 6
EARLYOOM_KILL_PERCENT = 3


@dataclass(frozen=True, slots=True)
class Levels:
    """What happens to a group of processes as it grows, in bytes: warned, ended, slowed down, killed by the kernel."""

    warn: int
    term: int
    high: int
    max: int


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """The size of a file system in memory, in bytes, and how many files it may hold."""

    size: int
    inodes: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit of one guest, in bytes.

    ``ceiling`` (total - reserve) is MemoryMax of agents.slice and of user-.slice. ``scope`` is an agent's scope by
    default, ``agents`` all of agents.slice together, ``outside`` an agent in no scope; in the latter two ``high`` is a
    mark for the arithmetic and never written: it would slow down the operator's shell. ``contained`` is False in a
    guest that is too small: no slice, scope or mount is to be limited there. ``notes`` say what is not as wished.
    """

    total: int
    reserve: int
    ceiling: int
    contained: bool
    scope: Levels
    agents: Levels
    outside: Levels
    docker_max: int
    available_term: int
    earlyoom_term_percent: int
    earlyoom_kill_percent: int
    shm: Tmpfs
    tmp: Tmpfs
    notes: tuple[str, ...]


def derive(total: int, settings: Settings | None = None) -> Limits:
    """Return the limits of a guest with ``total`` bytes (MemTotal). Raises: ValueError below 128 MiB."""
    if total < 128 * MIB:
        raise ValueError(f"{total} bytes are no guest's memory")
    wished = settings or Settings()
    ceiling = _mib(total - reserve_of(total, wished.base_mib * MIB))
    contained = total >= SMALLEST_CONTAINED
    outside = _outside(ceiling, wished)
    scope_max = wished.scope_mib * MIB if wished.scope_mib else min(DOCUMENTED_SCOPE, _mib(SCOPE_SHARE * ceiling))
    scope = levels(min(max(scope_max, SMALLEST_SCOPE), ceiling), wished)
    return Limits(
        total=total,
        reserve=total - ceiling,
        ceiling=ceiling,
        contained=contained,
        scope=scope,
        agents=levels(ceiling),
        outside=outside,
        docker_max=_mib(DOCKER_SHARE * total),
        available_term=_mib(WATCHDOG_AVAILABLE * total),
        earlyoom_term_percent=EARLYOOM_TERM_PERCENT,
        earlyoom_kill_percent=EARLYOOM_KILL_PERCENT,
        shm=_tmpfs(total, wished.shm_mib),
        tmp=_tmpfs(total, wished.tmp_mib),
        notes=tuple(_notes(total, wished, scope, outside)),
    )


def reserve_of(total: int, base: int = 0) -> int:
    """Return what no agent may have, in bytes; ``base`` is what the idle guest uses.

    Never more than half: a guest that idles on more than that has no room to keep, and is told so.
    """
    floor = min(RESERVE_FLOOR, 0.4 * total)
    return int(min(max(floor, 0.1 * total, base + LEFT_AT_CEILING * total), 0.5 * total))


def levels(maximum: int, settings: Settings | None = None) -> Levels:
    """Return the levels below ``maximum`` bytes, which is a scope's MemoryMax; a wished threshold counts if lower.

    Raises: ValueError below 64 MiB.
    """
    if maximum < SMALLEST_SCOPE:
        raise ValueError(f"a limit of less than {SMALLEST_SCOPE // MIB} MiB holds no program")
    wished = settings or Settings()
    high = _mib(HIGH * maximum)
    term = min(_wish(wished.kill_mib, maximum), _mib(TERM * high))
    warn = min(_wish(wished.warn_mib, maximum), _mib(WARN * high))
    return Levels(_below(warn, term), term, high, maximum)


def scope_levels(limits: Limits, maximum: int, settings: Settings | None = None) -> Levels:
    """Return the levels of a scope that somebody wants with ``maximum`` bytes; it gets no more than the ceiling.

    Raises: ValueError below 64 MiB.
    """
    return levels(min(maximum, limits.ceiling), settings)


def _outside(ceiling: int, wished: Settings) -> Levels:
    """An agent in no scope: the documented or wished thresholds as they stand, if they fit below the ceiling."""
    derived = levels(ceiling)
    term = _wish(wished.kill_mib, DOCUMENTED_TERM)
    term = term if term <= FITS * derived.high else derived.term
    warn = min(DOCUMENTED_WARN, derived.warn) if wished.warn_mib is None else wished.warn_mib * MIB
    return Levels(_below(warn, term), term, derived.high, ceiling)


def _below(warn: int, term: int) -> int:
    """A warning that would come with the end, or after it, comes in the usual distance before it."""
    return warn if warn < term else _mib(WARN / TERM * term)


def _notes(total: int, wished: Settings, scope: Levels, outside: Levels) -> list[str]:
    notes = []
    if total < SMALLEST_CONTAINED:
        notes.append(f"Guest has {total // MIB} MiB: too small for limits by slice and scope, only the watchdog acts")
    if wished.base_mib * MIB + LEFT_AT_CEILING * total > 0.5 * total:
        notes.append(f"Guest uses {wished.base_mib} MiB without any agent: more than its memory leaves room for")
    for name, wish, used in (
        ("WATCHDOG_KILL_MB", wished.kill_mib, outside.term),
        ("WATCHDOG_WARN_MB", wished.warn_mib, outside.warn),
        ("SCOPE_MAX_MB", wished.scope_mib, scope.max),
    ):
        if wish is not None and wish * MIB != used:
            notes.append(f"{name}={wish} does not fit a guest of {total // MIB} MiB: {used // MIB} is used")
    return notes


def _tmpfs(total: int, wished_mib: int | None) -> Tmpfs:
    size = min(max(_mib(TMPFS_SHARE * total), SMALLEST_TMPFS), LARGEST_TMPFS)
    if wished_mib is not None:
        size = min(wished_mib * MIB, _mib(0.5 * total))
    return Tmpfs(size, size // BYTES_PER_INODE)


def _wish(mib: int | None, documented: int) -> int:
    return documented if mib is None else mib * MIB


def _mib(amount: float) -> int:
    """Cut down to a whole MiB, so that a person can read it back."""
    return int(amount) // MIB * MIB
