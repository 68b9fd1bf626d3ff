"""The host's scripts run in a guest as root: by agent when it answers (no crypto, no address needed), else by SSH.

A guest is hostile: what it prints is one bounded line of JSON, checked before a word of it is used.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.errors import DeadlinePassed, GuestFailed, MoltfleetError, ToolFailed
from moltfleet.model.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from moltfleet.model.domain import CommandResult, Endpoint
    from moltfleet.operations.fleet import Fleet

_LARGEST_ANSWER = 16 * 1024


@dataclass(slots=True)
class Target:
    """A guest, and its login for when the agent is silent; nobody waits twice for one that ``is_mute``."""

    domain: str
    endpoint: Endpoint | None
    is_mute: bool = False


def run_script(
    fleet: Fleet, target: Target, script: str, *, input: Callable[[], bytes], timeout_s: float
) -> CommandResult:
    """Run ``bootstrap/SCRIPT`` in the guest with ``input`` on its standard input, made when it is sent.

    The text goes along, so that it is always this program's version. Raises: GuestUnreachable, DeadlinePassed.
    """
    text = fleet.bootstrap.read(script).decode()
    if target.endpoint is None or not target.is_mute:
        try:
            return fleet.hypervisor.agent_run(
                target.domain, ("/bin/sh", "-c", text), input=input(), timeout_s=timeout_s, limit=_LARGEST_ANSWER
            )
        except (ToolFailed, DeadlinePassed):
            if target.endpoint is None:
                raise
            target.is_mute = True
    with fleet.guests.login(target.endpoint, timeout_s=timeout_s) as session:
        command = f"sudo -n sh -c {shlex.quote(text)}"
        return session.run(command, input=input(), timeout_s=timeout_s, limit=_LARGEST_ANSWER)


@dataclass(frozen=True, slots=True)
class ScriptAnswer:
    """The JSON line of one of our scripts; fields that are absent or of another type read as empty."""

    ok: bool
    boot_id: str
    nonce: str
    boot: str
    clock: float
    reseeded: bool
    error: str


def parse_answer(result: CommandResult) -> ScriptAnswer:
    """Read the script's line. Raises: GuestFailed when there is none."""
    try:
        document = json.loads(result.text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        said = printable(result.stderr.decode("utf-8", "replace"), limit=300)
        raise GuestFailed("Guest script gave no answer", details=f"exit {result.exit_code}: {said}")
    return ScriptAnswer(
        ok=document.get("ok") is True,
        boot_id=_word(document.get("boot_id")),
        nonce=_word(document.get("nonce")),
        boot=_word(document.get("boot")),
        clock=_number(document.get("clock")),
        reseeded=document.get("reseeded") is True,
        error=_word(document.get("error")),
    )


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:
        return 0.0


def _word(value: object) -> str:
    return printable(value, limit=80) if isinstance(value, str) else ""


def describe_failure(error: MoltfleetError) -> str:
    """One line for a reason that ends up in a table."""
    return printable(error.brief, limit=160)
