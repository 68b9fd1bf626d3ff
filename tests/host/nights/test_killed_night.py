"""kill -9 of a process that is in the middle of a night: its journal is on the disk, and its lock is free."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from fakes.leakynight import NIGHT, a_leaky_world
from moltfleet.adapters.clock import SystemClock
from moltfleet.adapters.locks import FileLocks
from moltfleet.adapters.nights import NightFiles
from moltfleet.model.nightly import Outcome, State, StepName
from moltfleet.operations.nightly import run_night
from moltfleet.operations.nights import latest_night

PROGRAM = Path(__file__).with_name("night.py")


def test_a_night_that_is_killed_is_running_until_then_and_interrupted_from_then_on(tmp_path: Path) -> None:
    nights = NightFiles(tmp_path / "nights", keep=30)
    locks = FileLocks(tmp_path / "locks", SystemClock(), is_shared=False)
    fleet = replace(a_leaky_world().fleet, nights=nights, locks=locks)
    argv = [sys.executable, str(PROGRAM), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in a molt\n"
        seen = latest_night(fleet)
        process.kill()
        process.wait(10)
    assert seen is not None
    fast = seen.clone("fast")
    assert fast is not None
    assert (seen.outcome, fast.state, fast.stage) == (Outcome.RUNNING, State.RUNNING, "rescue and molt")
    left = latest_night(fleet)
    assert left is not None
    assert (left.outcome, left.step(StepName.MOLT).state) == (Outcome.INTERRUPTED, State.INTERRUPTED)
    assert nights.report_path(left) is None
    fleet.clock.sleep(60)
    night = run_night(fleet, NIGHT)
    assert (night.outcome, night.continues) == (Outcome.OK, left.started_at)
    report = nights.report_path(left)
    assert report is not None
    assert Path(report).read_text().startswith(f"# The night of {left.started_at} was interrupted: ")
