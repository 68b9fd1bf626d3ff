"""What the watchdog knows, for whoever looks: one small JSON file in /run, replaced as a whole."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

from moltguest.limits import Limits
from moltguest.watchdog.files import printable
from moltguest.watchdog.groups import Group
from moltguest.watchdog.memory import Memory

PATH = "run/moltfleet/watchdog/state.json"


@dataclass(frozen=True, slots=True)
class State:
    """One moment. ``uptime`` is seconds since the boot, to tell a state that nobody updates any more."""

    uptime: float
    since: float
    limits: Limits
    memory: Memory | None
    groups: list[Group]
    modes: dict[str, bool]
    problems: list[str]
    kills: int
    last: dict[str, object] | None
    disabled: list[str]

    def document(self) -> dict[str, object]:
        """Return the state as a JSON document; every amount is bytes."""
        return {
            "schema": "moltfleet.watchdog/1",
            "pid": os.getpid(),
            "uptime": round(self.uptime, 1),
            "since": round(self.since, 1),
            "modes": self.modes,
            "available": self.memory.available if self.memory else None,
            "limits": asdict(self.limits),
            "groups": [_group(group) for group in sorted(self.groups, key=lambda group: -group.used)],
            "kills": self.kills,
            "last": self.last,
            "disabled": self.disabled,
            "problems": self.problems[:20],
        }


def _group(group: Group) -> dict[str, object]:
    return {
        "key": printable(group.key, 200),
        "agent": printable(group.name),
        "contained": group.is_scope,
        "used": group.used,
        "rate": int(group.growth.rate),
        "processes": None if group.is_scope else len(group.members),
        **asdict(group.levels),
    }


def store(root: str, state: State) -> str:
    """Write the state. Returns what is wrong, empty when nothing is."""
    path = root.rstrip("/") + "/" + PATH
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(state.document(), file)
        os.replace(path + ".new", path)
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""
