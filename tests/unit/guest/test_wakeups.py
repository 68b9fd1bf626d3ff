"""moltguest.watchdog.wakeups: what can be waited for is, and what cannot is no reason to fail."""

from __future__ import annotations

import os
import time
from pathlib import Path

from moltguest.watchdog.wakeups import Wakeups


def test_a_wait_ends_when_the_time_is_over() -> None:
    began = time.monotonic()
    assert Wakeups().wait(0.05) == []
    assert 0.03 < time.monotonic() - began < 2


def test_a_wait_ends_when_a_descriptor_is_readable() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x")
    wakeups = Wakeups()

    assert wakeups.wait(60, [reader, -1]) == [reader]
    assert wakeups.wait(0.01, []) == [], "it is not waited for any more"
    os.close(reader)
    os.close(writer)


def test_files_without_a_trigger_are_left_out_and_named(tmp_path: Path) -> None:
    wakeups = Wakeups()

    wakeups.watch([str(tmp_path / "memory.pressure"), str(tmp_path / "memory.events")])

    assert wakeups.refused == f"{tmp_path}/memory.pressure: No such file or directory"
    assert wakeups.wait(0.01) == []
