"""A process is put into a scope with limits: by whichever manager may do it, and only what the kernel shows counts.

Three ways, in this order. Root asks the system's manager. A user asks the manager of their own, which needs no password
and which lingering keeps running for cron and for sessions that outlive a login. Where there is none, sudo without a
password lets root ask. Anything else would need a password, and is refused: nothing runs without its limits unsaid.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from moltguest.limits import MIB, Levels
from moltguest.scope.manager import Address, Manager, Refused, addresses_of_system, addresses_of_user
from moltguest.scope.message import Property
from moltguest.watchdog.cgroups import AGENTS_SLICE
from moltguest.watchdog.files import read, read_int

# What older systemd does not know of a scope: 249 (Ubuntu 22.04) no OOMPolicy, those before 236 no CollectMode.
OPTIONAL = ("OOMPolicy", "CollectMode", "TimeoutStopUSec", "MemorySwapMax")
_LONGEST_S = 20.0
_ASK_EVERY_S = 0.25
PROGRAM = "/usr/local/lib/moltfleet/current/bin/run-limited"


class NotContained(Exception):
    """A process is not where it should be."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope that is wanted. Without ``levels`` it has no limits and lies outside of agents.slice."""

    unit: str
    description: str
    levels: Levels | None = None

    def properties(self, pid: int) -> tuple[Property, ...]:
        """Return what a manager is asked for."""
        found = [
            Property("Description", "s", self.description),
            Property("PIDs", "au", (pid,)),
            # One program of several that dies for want of memory is no reason to end the others.
            Property("OOMPolicy", "s", "continue"),
            Property("CollectMode", "s", "inactive-or-failed"),
            Property("TimeoutStopUSec", "t", 10_000_000),
        ]
        if self.levels:
            found += [
                Property("Slice", "s", AGENTS_SLICE),
                Property("MemoryHigh", "t", self.levels.high),
                Property("MemoryMax", "t", self.levels.max),
                Property("MemorySwapMax", "t", 0),
            ]
        return tuple(found)


def group_of(pid: int, root: str = "/") -> str:
    """Return a process's group in the unified hierarchy, empty when it has gone or there is none."""
    for line in (read(f"{root.rstrip('/')}/proc/{pid}/cgroup") or b"").splitlines():
        if line.startswith(b"0::"):
            return line[3:].decode("utf-8", "surrogateescape")
    return ""


def why_not_inside(pid: int, scope: Scope, root: str = "/") -> str:
    """Return why a process does not count as contained, empty when it does: the kernel's word, nobody else's."""
    group = group_of(pid, root)
    if scope.unit not in group.split("/"):
        return f"it runs in {group or 'no group'}"
    if scope.levels is None:
        return ""
    if AGENTS_SLICE not in group.split("/"):
        return f"its group {group} is not below {AGENTS_SLICE}"
    base = f"{root.rstrip('/')}/sys/fs/cgroup{group[: group.index(scope.unit) + len(scope.unit)]}"
    for name, wanted in (("memory.max", scope.levels.max), ("memory.high", scope.levels.high)):
        if not os.path.exists(f"{base}/{name}"):
            return "its manager may not limit memory"
        # The kernel counts in pages.
        found = read_int(f"{base}/{name}")
        if found is None or abs(found - wanted) >= 65536:
            return f"its {name} is {'max' if found is None else f'{found // MIB} MiB'}"
    return ""


def contain(pid: int, scope: Scope) -> str:
    """Put a process into a scope, and see that it is there. Returns by whom. Raises: NotContained with all reasons."""
    reasons = []
    for name, way in ways():
        try:
            way(pid, scope)
            return name
        except (Refused, NotContained) as error:
            reasons.append(f"{name}: {error}")
    raise NotContained("; ".join(reasons) or "there is no systemd here")


def ways() -> list[tuple[str, Callable[[int, Scope], None]]]:
    """Return how this user can have a process contained."""
    uid = os.geteuid()
    if uid == 0:
        return [("the system's manager", lambda pid, scope: by_manager(addresses_of_system(), pid, scope))]
    return [
        ("this user's manager", lambda pid, scope: by_manager(addresses_of_user(uid), pid, scope)),
        ("sudo without a password", by_sudo),
    ]


def by_manager(addresses: tuple[Address, ...], pid: int, scope: Scope) -> None:
    """Ask a manager. Raises: Refused, NotContained."""
    manager = Manager(addresses)
    try:
        negotiate(manager, scope.unit, scope.properties(pid))
        _wait(manager, pid, scope)
    finally:
        manager.close()


def negotiate(manager: Manager, unit: str, properties: tuple[Property, ...]) -> tuple[str, ...]:
    """Ask for a scope, without the properties that this version does not know. Returns those. Raises: Refused."""
    left_out: list[str] = []
    while True:
        wanted = tuple(found for found in properties if found.name not in left_out)
        try:
            manager.start_scope(unit, wanted)
            return tuple(left_out)
        except Refused as error:
            names = [name for name in OPTIONAL if name not in left_out]
            named = [name for name in names if name in str(error)]
            is_about_a_property = "PropertyReadOnly" in error.name or "UnknownProperty" in error.name or named
            if not names or not is_about_a_property:
                raise
            left_out += named or names


def _wait(manager: Manager, pid: int, scope: Scope) -> None:
    """Wait until the process is there; a manager says so before it has happened."""
    began = asked = time.monotonic()
    while why := why_not_inside(pid, scope):
        now = time.monotonic()
        if now - began > _LONGEST_S:
            raise NotContained(why)
        if now - asked >= _ASK_EVERY_S:
            asked = now
            if not manager.knows(scope.unit):
                raise NotContained(f"{why}, and its scope could not be made")
        time.sleep(0.005)


def by_sudo(pid: int, scope: Scope) -> None:
    """Let root ask, where that needs no password. Raises: NotContained."""
    # Seldom needed, and slow to load.
    import subprocess

    limit = str(scope.levels.max) if scope.levels else "none"
    argv = ["sudo", "-n", PROGRAM, "--move", str(pid), scope.unit, limit]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotContained(str(error)) from error
    if done.returncode != 0:
        raise NotContained((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    if why := why_not_inside(pid, scope):
        raise NotContained(why)
