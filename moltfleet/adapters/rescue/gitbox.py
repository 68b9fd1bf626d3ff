"""git, looking through a guest's bundles and patches in a bare repository of our own, and never through its `.git`.

Nothing of the guest's, the user's or the host's settings counts; no protocol, no hook, no filter, no replaced object.
Each call has limits on memory, time and files, and is not root's.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moltfleet.adapters.run import RunResult, run

# For all calls on one repository together, so that a guest's work cannot keep a night from ending.
_TIMEOUT_S = 300.0
LIMITS = ("prlimit", "--as=4294967296", "--cpu=240", "--fsize=8589934592", "--core=0", "--nofile=512")
# nobody and nogroup, for a moltfleet that is run by root.
NOBODY = 65534
_NOT_ROOT = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs",
             "--inh-caps=-all", "--bounding-set=-all")  # fmt: skip
_NEUTRAL = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    # Empty: none is allowed.
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
}
_SETTINGS = (
    "protocol.allow=never",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "gc.auto=0",
    "pack.threads=1",
    "index.threads=1",
    "safe.directory=*",
)


class GitBox:
    """A bare repository at ``directory``/box.git that is thrown away."""

    def __init__(self, directory: Path, *, is_root: bool) -> None:
        self.directory = directory
        self._is_root = is_root
        self._ends_at = time.monotonic() + _TIMEOUT_S

    def git(self, *arguments: str, input: bytes = b"", index: str = "", check: bool = True) -> RunResult:
        """Run git on it. Raises: ToolFailed, DeadlinePassed."""
        environment = {**_NEUTRAL, "HOME": str(self.directory), "XDG_CONFIG_HOME": str(self.directory)}
        environment["GIT_DIR"] = str(self.directory / "box.git")
        if index:
            environment["GIT_INDEX_FILE"] = str(self.directory / index)
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        limits = (*LIMITS, *(_NOT_ROOT if self._is_root else ()))
        argv = (*limits, "git", "-C", str(self.directory), *settings, *arguments)
        timeout_s = max(0.1, self._ends_at - time.monotonic())
        return run(argv, timeout_s=timeout_s, input=input, env=environment, check=check)

    def make(self, object_format: str = "sha1") -> None:
        """Make the repository anew, without templates."""
        shutil.rmtree(self.directory / "box.git", ignore_errors=True)
        self.git("init", "--quiet", "--bare", "--template=", f"--object-format={object_format}")

    def bring(self, source: Path, name: str, *, offset: int = 0) -> Path:
        """Copy ``source`` from ``offset`` on to a file of ours that git may read, and return that."""
        target = self.directory / name
        with source.open("rb") as given, target.open("wb") as taken:
            given.seek(offset)
            shutil.copyfileobj(given, taken, 1 << 20)
        self._give_away(target)
        return target

    def _give_away(self, path: Path) -> None:
        if self._is_root:
            os.chown(path, NOBODY, NOBODY)


@contextmanager
def a_box(place: Path, *, is_root: bool) -> Iterator[GitBox]:
    """Make a box below ``place``, or where everybody may go when it must not be root's; it goes with the context."""
    with tempfile.TemporaryDirectory(prefix=".checking-", dir="/var/tmp" if is_root else place) as name:
        directory = Path(name)
        if is_root:
            os.chown(directory, NOBODY, NOBODY)
        yield GitBox(directory, is_root=is_root)
