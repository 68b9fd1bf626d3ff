"""What earlyoom ended, by its journal."""

from __future__ import annotations

from collections.abc import Callable

from moltfleet.adapters.earlyoom import recent_kills
from moltfleet.adapters.run import RunResult
from moltfleet.model.errors import ToolFailed

LOG = b"""\
mem avail: 12000 of 64000 MiB (18.75%), swap free:    0 of    0 MiB ( 0.00%)
low memory! at or below SIGTERM limits: mem 10.00%, swap 10.00%
sending SIGTERM to process 4711 uid 64055 "qemu-system-x86": badness 1200, VmRSS 30000 MiB
sending SIGKILL to process 4711 uid 64055 "qemu-system-x86": badness 1200, VmRSS 30000 MiB
process exited after 1.2 seconds
"""


def told(stdout: bytes) -> Callable[..., RunResult]:
    return lambda argv, *, timeout_s: RunResult(tuple(argv), 0, stdout, b"")


def test_signals_are_counted_and_nothing_else() -> None:
    assert recent_kills(told(LOG)) == 2
    assert recent_kills(told(b"")) == 0


def test_a_journal_that_cannot_be_read_is_not_taken_for_a_calm_one() -> None:
    def fail(*_: object, **__: object) -> RunResult:
        raise ToolFailed("Program 'journalctl' is not installed")

    assert recent_kills(fail) is None
