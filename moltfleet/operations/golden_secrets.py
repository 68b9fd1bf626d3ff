"""Looks through a sealed guest for credentials: what is in a golden is in every clone of it, for good."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from moltfleet.model.errors import GuestFailed
from moltfleet.model.names import printable

if TYPE_CHECKING:
    from moltfleet.model.ports import GuestSession
    from moltfleet.operations.fleet import Fleet

_SCRIPT = "secrets.sh"
_LARGEST_ANSWER = 64 * 1024
_MOST_NAMED = 50


def check(fleet: Fleet, session: GuestSession, *, allowed: bool, timeout_s: float) -> None:
    """Name the files that hold credentials; with ``allowed`` that is a warning. Raises: GuestFailed."""
    text = fleet.bootstrap.read(_SCRIPT).decode()
    answer = session.run(f"sudo -n sh -c {shlex.quote(text)}", timeout_s=timeout_s, limit=_LARGEST_ANSWER)
    if answer.exit_code != 0:
        said = printable(answer.stderr.decode("utf-8", "replace"))
        raise GuestFailed("Guest could not be looked through for credentials", details=said)
    names = [printable(line) for line in answer.text.splitlines() if line]
    if not names:
        return
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    brief = f"Golden holds what looks like credentials: {names[0]}{more}"
    if allowed:
        fleet.progress.warn(brief)
        return
    raise GuestFailed(
        brief,
        excerpt="\n".join(names[:_MOST_NAMED]),
        hint="Every clone would have them. Remove them in a --script; or, if that is meant: --allow-secrets.",
    )
