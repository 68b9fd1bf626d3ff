"""Login files between this program and a guest, over one open login; what a guest sends is bounded and checked."""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.errors import GuestFailed
from moltfleet.model.logins import LARGEST_FILE, LoginFile, is_whole
from moltfleet.model.names import printable
from moltfleet.operations.parallel import pause

if TYPE_CHECKING:
    from moltfleet.model.domain import CommandResult
    from moltfleet.model.ports import Clock, GuestSession

SCRIPT = "logins.sh"
# A program may be in the middle of writing one.
_READINGS = 3
_BETWEEN_S = 0.3
_LINE = re.compile(rb"(\d{1,3}) (\d{1,12}(?:\.\d{1,9})?) ([A-Za-z0-9+/=]*)")


@dataclass(frozen=True, slots=True)
class Wire:
    """An open login to a guest, the script that answers there, and how long it may take."""

    session: GuestSession
    script: str
    clock: Clock
    timeout_s: float

    def look(self, paths: Sequence[str]) -> tuple[LoginFile, ...]:
        """Read those of the files that are there. Raises: GuestFailed, GuestUnreachable, DeadlinePassed."""
        if not paths:
            return ()
        found = self._look(paths)
        for _ in range(_READINGS - 1):
            if all(is_whole(file) for file in found):
                break
            pause(self.clock, _BETWEEN_S)
            found = self._look(paths)
        return found

    def _look(self, paths: Sequence[str]) -> tuple[LoginFile, ...]:
        # One byte more than may be: what is too long is told from what is cut off.
        longest = (LARGEST_FILE + 1) * 4 // 3 + 64
        answer = self._run("look", str(LARGEST_FILE + 1), *paths, limit=len(paths) * longest)
        return parse(answer.stdout, paths)

    def put(self, files: Sequence[LoginFile]) -> None:
        """Write files there, whole, for their owner alone. Raises: as :meth:`look`."""
        if files:
            lines = (b"%d %s\n" % (int(file.changed_at), base64.b64encode(file.content)) for file in files)
            self._run("put", *(file.path for file in files), input=b"".join(lines))

    def remove(self, paths: Iterable[str]) -> None:
        """Delete files there. Raises: as :meth:`look`."""
        self._run("remove", *paths)

    def _run(self, act: str, *words: str, input: bytes = b"", limit: int = 4096) -> CommandResult:
        """Run the script; only names are on its command line."""
        line = shlex.join(("sh", "-c", self.script, "sh", act, *words))
        result = self.session.run(line, input=input, timeout_s=self.timeout_s, limit=limit)
        if result.exit_code != 0:
            raise GuestFailed(
                f"Guest did not {act} its login files",
                details=printable(result.stderr.decode("utf-8", "replace"), limit=300),
                hint="Is its disk full, or its home directory read-only?",
            )
        return result


def parse(answer: bytes, paths: Sequence[str]) -> tuple[LoginFile, ...]:
    """Read what the script wrote, each file at most once. Raises: GuestFailed for anything else."""
    found: dict[str, LoginFile] = {}
    for line in answer.splitlines():
        match = _LINE.fullmatch(line)
        number = int(match[1]) if match else 0
        if match is None or not 1 <= number <= len(paths) or paths[number - 1] in found:
            raise GuestFailed("Guest told of its login files what nobody can read")
        try:
            content = base64.b64decode(match[3], validate=True)
        except binascii.Error as error:
            raise GuestFailed("Guest told of its login files what nobody can read") from error
        if len(content) > LARGEST_FILE:
            raise GuestFailed(f"Guest has a login file of more than {LARGEST_FILE // 1024} KiB")
        found[paths[number - 1]] = LoginFile(paths[number - 1], content, float(match[2]))
    return tuple(found.values())
