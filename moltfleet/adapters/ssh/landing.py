"""Where a guest's files land on this machine: nothing is ever written outside one directory (DESIGN D9).

Directories are walked by descriptor without following symlinks, so that neither a name from the guest nor a symlink
that an earlier file planted leads out of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from moltfleet.model.errors import MoltfleetError, NoSpace, ToolFailed
from moltfleet.model.names import printable

_LONGEST_NAME = 255


def is_safe_name(name: bytes) -> bool:
    """Whether ``name`` is one component that names something inside a directory."""
    return 0 < len(name) <= _LONGEST_NAME and name not in (b".", b"..") and b"/" not in name and b"\0" not in name


def is_safe_link(target: bytes, *, depth: int) -> bool:
    """Whether a symlink ``depth`` directories below the landing's root stays inside, whatever other links are there.

    ".." is accepted only at the front: behind a name it would climb from wherever a symlink of that name leads.
    """
    if not target or target.startswith(b"/") or b"\0" in target:
        return False
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    climbs = next((index for index, part in enumerate(parts) if part != b".."), len(parts))
    return climbs <= depth and b".." not in parts[climbs:]


class Landing:
    """An open directory. ``shown`` is its path for messages; ``depth`` counts from the root of the copy."""

    def __init__(self, descriptor: int, shown: Path, depth: int = 0) -> None:
        self._descriptor = descriptor
        self.shown = shown
        self.depth = depth

    @classmethod
    @contextlib.contextmanager
    def root(cls, path: Path) -> Iterator[Landing]:
        """Open the directory that the user named, made when it is missing; the user's own symlinks are followed."""
        with _said(path):
            path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with _closing(descriptor):
            yield cls(descriptor, path)

    @contextlib.contextmanager
    def directory(self, name: bytes) -> Iterator[Landing]:
        """Open a directory in this one, made when it is missing. Raises: ToolFailed when it is a symlink or a file."""
        shown = self.shown / os.fsdecode(name)
        with _said(shown):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=self._descriptor)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=self._descriptor)
        with _closing(descriptor):
            yield Landing(descriptor, shown, self.depth + 1)

    @contextlib.contextmanager
    def file(self, name: bytes, *, is_executable: bool) -> Iterator[BinaryIO]:
        """Write a file under a temporary name; it takes ``name`` when the body ends well, else nothing is left.

        Of the guest's mode only "executable" is kept. Not synced to the disk: the guest still has the original.
        """
        shown = self.shown / os.fsdecode(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._replacing(name, shown) as temporary:
            mode = 0o777 if is_executable else 0o666
            with open(os.open(temporary, flags, mode, dir_fd=self._descriptor), "wb", buffering=0) as target:  # noqa: PTH123
                yield target

    def link(self, name: bytes, target: bytes) -> None:
        """Make a symlink in the place of what is there. The caller has asked :func:`is_safe_link`."""
        with self._replacing(name, self.shown / os.fsdecode(name)) as temporary:
            os.symlink(target, temporary, dir_fd=self._descriptor)

    @contextlib.contextmanager
    def _replacing(self, name: bytes, shown: Path) -> Iterator[bytes]:
        temporary = f".moltfleet-{secrets.token_hex(6)}".encode("ascii")
        with _said(shown):
            try:
                yield temporary
                os.rename(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=self._descriptor)
                raise


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _fault(path, error) from error


def _fault(path: Path, error: OSError) -> MoltfleetError:
    shown = printable(str(path))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"{shown} cannot be written: no space left", hint="Free some space, or copy elsewhere.")
    # What open(2) says of a symlink too, when asked for a directory without following.
    if error.errno == errno.ENOTDIR:
        return ToolFailed(f"{shown} is a file or a symlink, not a directory", hint="Copy to an empty directory.")
    return ToolFailed(f"{shown} cannot be written: {error.strerror}")
