from __future__ import annotations

import time

from moltfleet.adapters.clock import SystemClock


def test_the_clock_tells_and_waits():
    clock = SystemClock()
    assert abs(clock.now() - time.time()) < 1
    started = clock.monotonic()
    clock.sleep(0.02)
    clock.sleep(-1)
    assert 0.02 <= clock.monotonic() - started < 1
