"""One command in many clones: what is asked for, what became of it in each, and who takes their branches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from moltfleet.model.errors import InvalidInput
from moltfleet.model.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moltfleet.model.errors import MoltfleetError
    from moltfleet.model.rescue import RescueResult

# Between slashes, of git-check-ref-format(1): nothing that could be taken for an option, a pattern or a revision.
_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.+-]*[A-Za-z0-9_+-])?")
_LONGEST_BRANCH = 100


@dataclass(frozen=True, slots=True)
class EachRequest:
    """``line`` is for a shell; the n-th clone gets the n-th of ``tasks``, if there are any.

    ``repository`` is the guest's directory that it is run in; with ``branch`` each clone gets BRANCH/CLONE there, whose
    work is fetched. ``fetch`` are paths in the guest. ``timeout_s`` is the deadline of each, None for none.
    """

    line: str
    tasks: tuple[str, ...] = ()
    repository: str = ""
    branch: str = ""
    fetch: tuple[str, ...] = ()
    timeout_s: float | None = None
    jobs: int | None = None


@dataclass(frozen=True, slots=True)
class EachResult:
    """What became of it in one clone. ``outcome`` is "done", "failed", "late" or "unreached".

    ``exit_status`` is None unless it ran to its end. Output is raw, and its end when ``truncated``. ``rescue`` is what
    was fetched, None when nothing was to be; ``taken`` says that the branch is in the repository of this machine.
    """

    clone: str
    outcome: str
    exit_status: int | None
    stdout: bytes = b""
    stderr: bytes = b""
    truncated: bool = False
    seconds: float = 0.0
    task: str = ""
    branch: str = ""
    rescue: RescueResult | None = None
    taken: bool = False
    error: MoltfleetError | None = None


class Branches(Protocol):
    """A git repository of this machine that takes branches out of bundles of guests."""

    def check(self) -> None:
        """Raise InvalidInput unless it is one."""

    def take(self, bundles: Sequence[Path], branch: str) -> bool:
        """Take a branch under its own name out of the first bundle that has it; False when none has.

        The bundles were found sound. A branch of that name only moves forward, and never while it is checked out.
        Raises: ToolFailed.
        """


def check_branch(name: str) -> str:
    """Return ``name`` when branches can begin with it. Raises: InvalidInput."""
    is_fit = all(_PART.fullmatch(part) for part in name.split("/"))
    if len(name) > _LONGEST_BRANCH or not is_fit or ".." in name or ".lock" in name:
        raise InvalidInput(
            f"{printable(name, limit=60)!r} is no name that branches can begin with",
            hint="Letters, digits, - and _, with slashes between, such as fix-login.",
        )
    return name
