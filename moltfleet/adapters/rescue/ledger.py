"""How much rescues take on this machine: of one clone, of all, and what must stay free beside them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moltfleet.model.errors import NoCapacity, NoSpace

if TYPE_CHECKING:
    from moltfleet.model.size import Size

_MAKE_ROOM = "Make room: moltfleet rescue prune. Or raise the limits under [rescue] in the config."
# The file system is asked again after so many bytes.
_ASK_EVERY = 16 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What all rescues of one clone may take together, what those of all clones, and what must stay free."""

    per_clone: Size
    total: Size
    least_free: Size


@dataclass(slots=True)
class Account:
    """What one rescue under way has written; ``before`` is of its clone, ``beside`` of everybody, when last asked."""

    clone: str
    before: int
    beside: int = 0
    written: int = 0
    asked_at: int = -_ASK_EVERY


class Ledger:
    """The books of this process; what others write meanwhile is seen when the next rescue begins."""

    def __init__(self, root: Path, limits: Limits, measure_free: Callable[[str], Size | None]) -> None:
        self._root = root
        self._limits = limits
        self._measure_free = measure_free
        self._lock = threading.Lock()
        self._open: dict[Path, Account] = {}

    def open(self, clone: str, directory: Path) -> None:
        """Begin to count for ``directory``, which is new. Raises: NoCapacity when nothing would fit."""
        with self._lock:
            self._open[directory] = Account(clone, size_below(self._root / clone, skip=self._open))
        try:
            self.charge(directory, 0)
        except BaseException:
            self.close(directory)
            raise

    def close(self, directory: Path) -> None:
        """Stop counting."""
        with self._lock:
            self._open.pop(directory, None)

    def charge(self, directory: Path, count: int) -> None:
        """Count bytes that are about to be written. Raises: NoCapacity, NoSpace."""
        with self._lock:
            account = self._open[directory]
            if account.asked_at + _ASK_EVERY <= account.written + count:
                self._ask(account)
            mine = sum(other.written for other in self._open.values() if other.clone == account.clone)
            if account.before + mine + count >= self._limits.per_clone.bytes:
                raise NoCapacity(
                    f"Rescues of {account.clone!r} may not take more than {self._limits.per_clone}", hint=_MAKE_ROOM
                )
            if account.beside + account.written + count >= self._limits.total.bytes:
                raise NoCapacity(f"Rescues may not take more than {self._limits.total} together", hint=_MAKE_ROOM)
            account.written += count

    def _ask(self, account: Account) -> None:
        account.asked_at = account.written
        account.beside = size_below(self._root) - account.written
        free = self._measure_free(str(self._root))
        if free is not None and free.bytes < self._limits.least_free.bytes:
            raise NoSpace(f"Rescues leave at least {self._limits.least_free} of '{self._root}' free", hint=_MAKE_ROOM)

    def release(self, directory: Path, count: int) -> None:
        """Count bytes that were deleted again."""
        with self._lock:
            self._open[directory].written -= count
            self._open[directory].asked_at = min(self._open[directory].asked_at, self._open[directory].written)


def size_below(directory: Path, *, skip: Iterable[Path] = ()) -> int:
    """Bytes of all files below a directory; links are not followed, what vanishes meanwhile counts as nothing."""
    skipped = {str(path) for path in skip}
    total = 0
    for parent, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if os.path.join(parent, name) not in skipped]  # noqa: PTH118
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118
            except OSError:
                continue
    return total
