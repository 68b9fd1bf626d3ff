"""How soon an agent that was ended may be started again: after 3, 5, 10 seconds, then not before somebody says so.

The watchdog counts, whoever starts agents asks. Kept in one small file, so that no restart of either forgets it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

PATH = "var/lib/moltfleet/watchdog/backoff.json"
WAITS_S = (3.0, 5.0, 10.0)
# An agent that ran for so long since was well.
HEALTHY_S = 600.0
_LARGEST = 64 << 10
_MOST_KEYS = 64


@dataclass(frozen=True, slots=True)
class Count:
    """How often an agent was ended in a row, and when last, in seconds since the boot ``boot``."""

    kills: int
    last: float
    boot: str


def key_of(agent: str, owner: int) -> str:
    """Return what an agent is counted under: its name and its user."""
    return f"{agent}@{owner}"


class Backoff:
    """The counts of a guest. A file that cannot be read or written is one problem; counting goes on in memory."""

    def __init__(self, root: str, boot: str) -> None:
        self._path, self._boot = root.rstrip("/") + "/" + PATH, boot
        self.problem = ""
        self._stamp = self._stamped()
        self._counts = self._load()

    def wait_s(self, key: str, now: float) -> float | None:
        """Return the seconds to wait before a start, 0 for none; None when starting is disabled."""
        count = self._current(key, now)
        if count is None:
            return 0.0
        if count.kills > len(WAITS_S):
            return None
        return max(0.0, count.last + WAITS_S[count.kills - 1] - now)

    def add(self, key: str, now: float) -> float | None:
        """Count one more end; returns the wait that follows from it, None when starting is disabled now."""
        count = self._current(key, now)
        self._counts[key] = Count((count.kills if count else 0) + 1, now, self._boot)
        while len(self._counts) > _MOST_KEYS:
            self._counts.pop(min(self._counts, key=lambda name: self._counts[name].last))
        self._store()
        return self.wait_s(key, now)

    def reset(self, key: str | None = None) -> None:
        """Forget one agent's ends, or all."""
        if key is None:
            self._counts.clear()
        else:
            self._counts.pop(key, None)
        self._store()

    def disabled(self, now: float) -> list[str]:
        """Return whom nobody starts again."""
        self._refresh()
        return sorted(key for key in self._counts if self.wait_s(key, now) is None)

    def _current(self, key: str, now: float) -> Count | None:
        self._refresh()
        count = self._counts.get(key)
        if count is None or count.boot != self._boot:
            return None
        # Disabled stays until somebody resets it, or the guest is booted or molted.
        if count.kills <= len(WAITS_S) and not 0 <= now - count.last < HEALTHY_S:
            return None
        return count

    def _refresh(self) -> None:
        """Take up what somebody else has written since: a reset is another process's."""
        stamp = self._stamped()
        if stamp is not None and stamp != self._stamp:
            self._stamp, self._counts = stamp, self._load()

    def _stamped(self) -> tuple[int, int] | None:
        """Return what tells one version of the file from the next, None when there is none."""
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _load(self) -> dict[str, Count]:
        try:
            with open(self._path, "rb") as file:
                content = json.loads(file.read(_LARGEST))
            return {
                str(key): Count(int(value["kills"]), float(value["last"]), str(value["boot"]))
                for key, value in content["counts"].items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.problem = f"{self._path}: {error}; the count begins anew"
            return {}

    def _store(self) -> None:
        content = {"schema": "moltfleet.backoff/1", "counts": {key: asdict(c) for key, c in self._counts.items()}}
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            with open(self._path + ".new", "w", encoding="utf-8") as file:
                json.dump(content, file)
            os.replace(self._path + ".new", self._path)
        except OSError as error:
            self.problem = f"{self._path}: {error.strerror}; the count is not kept"
        else:
            self.problem, self._stamp = "", self._stamped()


def boot_id(root: str = "/") -> str:
    """Return what tells this boot from all others, empty when it cannot be told."""
    try:
        with open(root.rstrip("/") + "/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(64).strip()
    except (OSError, ValueError):
        return ""
