"""The last fifteen minutes, kept in memory and written with every victim: what was used, by whom, in JSON lines."""

from __future__ import annotations

import json
import os
from collections import deque

from moltguest.watchdog.groups import Group
from moltguest.watchdog.memory import Memory

KEPT_S = 900.0
LARGEST = 64 << 10
_CLOSEST_S = 0.95
_KEPT_FILES = 8
_KEPT_GROUPS = 12
_PREFIX, _SUFFIX = "kill-", ".jsonl"


class Recorder:
    """A ring of samples: at most one a second, and each of the last few seconds as it came."""

    def __init__(self) -> None:
        self._sparse: deque[tuple[float, bytes]] = deque()
        self._dense: deque[tuple[float, bytes]] = deque(maxlen=50)

    def add(self, now: float, memory: Memory | None, groups: list[Group]) -> None:
        """Keep one sample; names are left out, as they are somebody else's text."""
        line = _line(now, memory, groups)
        self._dense.append((now, line))
        if not self._sparse or now - self._sparse[-1][0] >= _CLOSEST_S:
            self._sparse.append((now, line))
        while self._sparse and now - self._sparse[0][0] > KEPT_S:
            self._sparse.popleft()

    def text(self, header: dict[str, object]) -> bytes:
        """Return the recording, the header in its first line; the oldest samples give way to its largest size."""
        first = json.dumps({"schema": "moltfleet.recording/1", **header}).encode() + b"\n"
        begin = self._dense[0][0] if self._dense else float("inf")
        lines = [line for at, line in self._sparse if at < begin] + [line for _, line in self._dense]
        kept: deque[bytes] = deque()
        left = LARGEST - len(first)
        for line in reversed(lines):
            left -= len(line)
            if left < 0:
                break
            kept.appendleft(line)
        return first + b"".join(kept)


def _line(now: float, memory: Memory | None, groups: list[Group]) -> bytes:
    largest = sorted(groups, key=lambda group: group.used, reverse=True)[:_KEPT_GROUPS]
    sample = {
        "t": round(now, 2),
        "available": memory.available if memory else None,
        "groups": [[group.key.rsplit("/", 1)[-1][:48], group.used, group.anon, group.shmem] for group in largest],
    }
    return json.dumps(sample, separators=(",", ":")).encode() + b"\n"


def save(directory: str, name: str, text: bytes) -> str | None:
    """Write a recording and drop the oldest ones. Returns its path, None when there is no room or no permission."""
    path = f"{directory}/{_PREFIX}{name}{_SUFFIX}"
    try:
        _drop_old(directory)
        with open(path + ".new", "wb") as file:
            file.write(text)
        os.replace(path + ".new", path)
    except OSError:
        _remove(path + ".new")
        return None
    return path


def _drop_old(directory: str) -> None:
    names = sorted(name for name in os.listdir(directory) if name.startswith(_PREFIX))
    for name in names[: max(0, len(names) - _KEPT_FILES + 1)]:
        _remove(f"{directory}/{name}")


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
