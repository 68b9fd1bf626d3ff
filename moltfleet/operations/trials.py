"""The programs of ``bootstrap/trials/`` in a guest: brought there for as long as they are needed, and asked.

What they answer was made by a hostile guest: one bounded document, of which nothing is used unchecked.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.errors import GuestFailed, MoltfleetError
from moltfleet.model.names import printable
from moltfleet.operations.deadlines import timeouts
from moltfleet.operations.tools_archive import tar_of

if TYPE_CHECKING:
    from moltfleet.model.domain import CommandResult
    from moltfleet.model.ports import GuestSession
    from moltfleet.operations.fleet import Fleet

_LARGEST_ANSWER = 256 * 1024
# What mktemp makes of our pattern: it comes out of a guest and goes into commands.
_DIRECTORY = re.compile(r"/tmp/moltfleet-trials\.[A-Za-z0-9]{6,32}")
_BRING = (
    "umask 022; directory=$(mktemp -d /tmp/moltfleet-trials.XXXXXX) && "
    'tar --extract --file=- --directory="$directory" && echo "$directory"'
)


@dataclass(frozen=True, slots=True)
class Trials:
    """The programs in one guest, at ``directory``."""

    session: GuestSession
    directory: str

    def run(self, program: str, *arguments: str, timeout_s: float, root: bool = False) -> CommandResult:
        """Run one of them as the user that is logged in, or as root."""
        words = ("python3", "-EsB", f"{self.directory}/{program}", *arguments)
        command = shlex.join(("sudo", "-n", *words) if root else words)
        return self.session.run(command, timeout_s=timeout_s, limit=_LARGEST_ANSWER)


@contextmanager
def brought(fleet: Fleet, session: GuestSession, name: str) -> Iterator[Trials]:
    """Bring them into a guest; they go when the context ends. Raises: GuestFailed."""
    limit = timeouts(fleet).login
    answer = session.run(f"sh -c {shlex.quote(_BRING)}", input=tar_of(fleet.bootstrap.tree("trials")), timeout_s=limit)
    directory = answer.text.strip()
    if answer.exit_code != 0 or not _DIRECTORY.fullmatch(directory):
        said = printable(answer.stderr.decode("utf-8", "replace").strip(), limit=300)
        raise GuestFailed(f"Nothing can be tried in {name!r}: its /tmp takes no files", details=said or None)
    try:
        yield Trials(session, directory)
    finally:
        # A guest that has gone has taken them along.
        with suppress(MoltfleetError):
            session.run(f"sudo -n rm -rf {directory}", timeout_s=limit)


def document_of(answer: CommandResult) -> dict[str, object] | None:
    """Read the one document that a program of ours prints; None when there is none."""
    try:
        document = json.loads(answer.text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def text_of(document: dict[str, object], name: str, *, limit: int = 400) -> str:
    """Read a text; anything else is empty."""
    value = document.get(name)
    return printable(value, limit=limit) if isinstance(value, str) else ""


def end_of(answer: CommandResult) -> str:
    """Say in one line how a program ended that gave no answer."""
    lines = answer.stderr.decode("utf-8", "replace").strip().splitlines()
    return printable(f"exit status {answer.exit_code}: {lines[-1] if lines else 'it said nothing'}", limit=300)
