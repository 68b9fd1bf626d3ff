"""A night in a process of its own: guests in memory, a real journal, a real lock; it stands still in its first molt.

To be run as `night.py DIRECTORY`; says "in a molt" when it has come that far.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from fakes import FakeHypervisor
from fakes.leakynight import NIGHT, a_leaky_world
from moltfleet.adapters.clock import SystemClock
from moltfleet.adapters.locks import FileLocks
from moltfleet.adapters.nights import NightFiles
from moltfleet.operations.nightly import run_night


def stand_still(*_: Any, **__: Any) -> None:
    """Be in the middle of a molt until somebody kills this process."""
    print("in a molt", flush=True)
    time.sleep(600)


def main(directory: Path) -> None:
    """Begin the night."""
    world = a_leaky_world()
    FakeHypervisor.restore = stand_still  # type: ignore[method-assign]
    nights = NightFiles(directory / "nights", keep=30)
    locks = FileLocks(directory / "locks", SystemClock(), is_shared=False)
    run_night(replace(world.fleet, nights=nights, locks=locks), NIGHT)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
