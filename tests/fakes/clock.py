"""Time that passes only when somebody sleeps."""

from __future__ import annotations

import threading

# 2026-11-20T10:00:00Z
STARTS_AT = 1_795_168_800.0


class FakeClock:
    """The Clock port; sleeping costs nothing and moves both clocks."""

    def __init__(self) -> None:
        self._passed = 0.0
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        return 100.0 + self._passed

    def now(self) -> float:
        return STARTS_AT + self._passed

    def sleep(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError(f"negative sleep: {seconds}")
        with self._lock:
            self._passed += seconds
