"""Logins that renew themselves, in a clone whose molt is killed; logins_in_a_guest.py has the rest, by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from moltfleet.model.effects import Effect

from . import soundness
from .conftest import LONGEST_S, User
from .loggedin import Tool, molted, synced
from .loggedin import tool as tool

KILLED = Path(__file__).with_name("killed.py")


@pytest.mark.parametrize("effect", [*(e for e in Effect if e.startswith("logins.")), *(Effect.MOLT_DESTROYED,)])
def test_a_molt_that_is_killed_loses_no_token(alice: User, crab: str, tool: Tool, effect: Effect) -> None:
    synced(tool, crab)
    assert tool.use(crab) == "logged in"
    argv = alice.lab.argv((sys.executable, str(KILLED), effect, "molt", crab, "--yes"), user=alice.name)
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    assert done.returncode in (-9, 137), f"{effect} was not reached: {done.stdout}{done.stderr}"
    molted(tool, crab)
    assert tool.use(crab) == "logged in"
    soundness.check(alice.lab)
