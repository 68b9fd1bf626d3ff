"""What keeps watch over this guest, and which limits hold in it: as they are, beside what belongs there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

from moltguest.health.report import Containment, Watchdog
from moltguest.limits import Limits
from moltguest.watchdog.cgroups import Cgroups
from moltguest.watchdog.files import printable, read, read_int
from moltguest.watchdog.processes import Process
from moltguest.watchdog.statefile import PATH

# The watchdog writes its state at every discovery; busy, it may be late.
_FRESH_S = 60.0
_LARGEST = 1 << 20
_LONGEST = 200


def read_watchdog(root: str, now: float) -> Watchdog:
    """Return how the watchdog is, from the file that it keeps writing; ``now`` is time.monotonic()."""
    data = read(root.rstrip("/") + "/" + PATH, _LARGEST)
    if data is None:
        return Watchdog("absent")
    try:
        state = json.loads(data)
        written, modes = float(state["uptime"]), dict(state["modes"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return Watchdog("silent", problems=("its state file cannot be read",))
    is_fresh = -1 <= now - written <= _FRESH_S
    word = "silent" if not is_fresh else "dry run" if modes.get("dry_run") else "watching"
    last = state.get("last") if isinstance(state.get("last"), dict) else {}
    return Watchdog(
        word,
        kills=_whole(state.get("kills")),
        last=_text(last.get("message", "")),
        last_ago_s=_ago(last.get("uptime"), now),
        disabled=_texts(state.get("disabled")),
        problems=_texts(state.get("problems")),
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _ago(value: object, now: float) -> float | None:
    return max(0.0, now - value) if isinstance(value, int | float) else None


def _text(value: object) -> str:
    return printable(value, _LONGEST) if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_text(item) for item in value[:20]) if isinstance(value, list) else ()


def read_containment(root: str, cgroups: Cgroups, limits: Limits, table: dict[int, Process]) -> Containment:
    """Return which limits really hold."""
    return Containment(
        cgroup_version=_version(root, cgroups),
        expected=limits.contained,
        agents_max=_least(cgroups.bounds(path)[1] for path in cgroups.agents_slices()),
        expected_max=limits.ceiling,
        users_max=_users_max(root),
        earlyoom=any(process.comm == "earlyoom" for process in table.values()),
    )


def _version(root: str, cgroups: Cgroups) -> int:
    """Return 2 or 1, and 0 where memory is not accounted at all."""
    if cgroups.is_unified():
        return 2
    return 1 if os.path.isdir(root.rstrip("/") + "/sys/fs/cgroup/memory") else 0


def _users_max(root: str) -> int | None:
    """Return the least limit of a user's slice, root's left out: that one is exempt."""
    base = root.rstrip("/") + "/sys/fs/cgroup/user.slice"
    try:
        names = [name for name in os.listdir(base) if name.startswith("user-") and name != "user-0.slice"]
    except OSError:
        return None
    return _least(read_int(f"{base}/{name}/memory.max") for name in names)


def _least(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)
