"""Makes what other programs wrote to a file system of this machine reach its disk; needs one readable file on it."""

from __future__ import annotations

import ctypes
import os
from types import TracebackType


class FlushedFileSystem:
    """A file system, told by one of its files, that is flushed when the ``with`` block ends without an exception.

    Raises: OSError, from the constructor when the file cannot be opened, from the block when the disk fails.
    """

    def __init__(self, path: str) -> None:
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                _flush(self._handle)
        finally:
            os.close(self._handle)


def _flush(handle: int) -> None:
    # Python has no function for syncfs(2).
    if ctypes.CDLL(None, use_errno=True).syncfs(handle) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
