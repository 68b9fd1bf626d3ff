"""What earlyoom ended on this machine of late, as the journal has it; None where the journal cannot be read."""

from __future__ import annotations

from collections.abc import Callable

from moltfleet.adapters.run import RunResult, run
from moltfleet.model.errors import MoltfleetError

# What earlyoom 1.3 to 1.8 log before each signal, kill.c.
_SAID = "sending SIG"
_COMMAND = (
    "journalctl",
    "--unit=earlyoom.service",
    "--since=-10min",
    "--output=cat",
    "--quiet",
    "--no-pager",
    "--lines=500",
)


def recent_kills(runner: Callable[..., RunResult] = run) -> int | None:
    """Count the signals that earlyoom sent in the last ten minutes."""
    try:
        done = runner(_COMMAND, timeout_s=10)
    except MoltfleetError:
        return None
    return sum(line.startswith(_SAID) for line in done.text.splitlines())
