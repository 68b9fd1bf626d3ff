"""See from outside whether a scope of the proofs has been held at its limit: its kernel counts that."""

import os
import threading
from pathlib import Path

from ground import NAME

OFTEN_S = 0.05
# run-limited names its scopes after the program, and knows letters and digits only.
SCOPES = f"{NAME.replace('-', '_')}-*.scope"


class Holding:
    """While this context lasts, look for a scope of the proofs whose memory was about to go over its MemoryMax."""

    def __init__(self, slices: "Path | None" = None) -> None:
        user = os.getuid()
        manager = f"/sys/fs/cgroup/user.slice/user-{user}.slice/user@{user}.service/agents.slice"
        self.seen = False
        self._slice = slices or Path(manager)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Holding":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        pattern = f"{SCOPES}/memory.events"
        while not self.seen and not self._over.wait(OFTEN_S):
            self.seen = any(count_held(path) for path in self._slice.glob(pattern))


def count_held(events: Path) -> int:
    """How many times a cgroup's memory was about to go over its limit; 0 when that cannot be read."""
    try:
        fields = dict(line.split() for line in events.read_text().splitlines())
        return int(fields.get("max", 0))
    except (OSError, ValueError):
        return 0
