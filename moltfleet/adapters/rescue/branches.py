"""Takes a branch of a guest's into a repository of this machine, out of a bundle that was looked through before.

No name of the guest's is used, nothing of it is checked out, no hook runs, and no branch is ever moved back.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from moltfleet.adapters.rescue.bundles import BadBundle, read_head
from moltfleet.adapters.rescue.gitbox import LIMITS
from moltfleet.adapters.run import run
from moltfleet.model.errors import InvalidInput, ToolFailed
from moltfleet.model.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moltfleet.adapters.run import RunResult

_TIMEOUT_S = 120.0
_SETTINGS = (
    # A bundle is a file, and what it stands on has to be here already.
    "protocol.allow=never",
    "protocol.file.allow=always",
    "transfer.fsckObjects=true",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
)
_QUIETLY = (
    "--quiet",
    "--no-tags",
    "--no-prune",
    "--no-recurse-submodules",
    "--no-auto-maintenance",
    "--no-write-fetch-head",
)
_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_PROTOCOL_FROM_USER": "0"}


class LocalBranches:
    """The port ``Branches`` over the repository at ``path``; one branch at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def check(self) -> None:
        """See the port."""
        asked = self._git("rev-parse", "--git-dir")
        if asked.exit_code != 0:
            raise InvalidInput(
                f"'{printable(str(self._path))}' is no git repository", hint=_last(asked) or "git init makes one."
            )

    def take(self, bundles: Sequence[Path], branch: str) -> bool:
        """See the port."""
        ref = f"refs/heads/{branch}"
        bundle = next((path for path in bundles if ref in _refs(path)), None)
        if bundle is None:
            return False
        with self._lock:
            fetched = self._git("fetch", *_QUIETLY, str(bundle), f"{ref}:{ref}")
        if fetched.exit_code != 0:
            raise ToolFailed(
                f"Branch {branch!r} was not taken into '{printable(str(self._path))}': {_last(fetched)}",
                details=printable(fetched.stderr.decode("utf-8", "replace"), limit=4000),
                hint=f"It may stand on commits that are not there yet: git fetch. It is kept in {bundle}",
            )
        return True

    def _git(self, *words: str) -> RunResult:
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        argv = (*LIMITS, "git", "-C", str(self._path), *settings, *words)
        return run(argv, timeout_s=_TIMEOUT_S, env=_ENVIRONMENT, check=False)


def _refs(bundle: Path) -> frozenset[str]:
    try:
        return frozenset(name for name, _ in read_head(bundle).refs)
    except (BadBundle, OSError):
        return frozenset()


def _last(result: RunResult) -> str:
    lines = result.stderr.decode("utf-8", "replace").strip().splitlines()
    return printable(lines[-1].strip(), limit=200) if lines else ""
