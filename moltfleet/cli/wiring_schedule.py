"""Where schedules meet adapters; apart from the wiring, as a schedule needs no libvirt binding."""

from __future__ import annotations

import os
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from moltfleet.adapters.accounts import LocalAccounts
from moltfleet.adapters.clock import SystemClock
from moltfleet.adapters.machine import LocalMachine
from moltfleet.operations.scheduling import Scheduling

if TYPE_CHECKING:
    from moltfleet.config import Config
    from moltfleet.model.ports import Progress


def own_program() -> tuple[str, ...]:
    """How another process starts this program."""
    script = Path(sys.executable).with_name("moltfleet")
    return (str(script),) if script.is_file() else (sys.executable, "-m", "moltfleet")


def build_scheduling(config: Config, progress: Progress, options: tuple[str, ...]) -> Scheduling:
    """Join the ports of one run; ``options`` go before the command's name in whatever is scheduled."""
    start = own_program()
    return Scheduling(
        config=config,
        machine=LocalMachine(),
        accounts=LocalAccounts(os.environ),
        clock=SystemClock(),
        progress=progress,
        program=(*start, *options),
        parts=(start[0], sys.executable, str(files("moltfleet"))),
        environment=os.environ,
    )
