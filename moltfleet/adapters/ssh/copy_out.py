"""Copies files and directories out of a guest; what the guest says about them is not believed (DESIGN D9)."""

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moltfleet.adapters.ssh.landing import Landing, is_safe_link, is_safe_name
from moltfleet.adapters.ssh.sftp import MOST_ENTRIES, Entry, Sftp, remote_path
from moltfleet.adapters.ssh.tally import Tally
from moltfleet.model.errors import GuestFailed, InvalidInput, NotFound
from moltfleet.model.names import printable
from moltfleet.model.size import Size

if TYPE_CHECKING:
    from moltfleet.model.ports import OnBytes, OnSkip

# Deeper than any work tree; a guest can claim endless ones.
_DEEPEST = 100


def get(
    sftp: Sftp, remote: str, local: Path, *, on_bytes: OnBytes | None, on_skip: OnSkip | None, limit: int | None
) -> None:
    """Make ``local`` what ``remote`` is; a directory is merged into one that is there, a file goes into a directory.

    Symlinks stay symlinks when they cannot lead out of ``local``; all else that is not a file or directory is skipped.
    Raises: NotFound, GuestFailed (over ``limit``, unreadable), ToolFailed (cannot be written here), NoSpace.
    """
    source = remote_path(remote)
    found = sftp.find(source)
    if found is None:
        raise NotFound(f"Guest {sftp.guest!r} has no {printable(remote)!r}")
    copy = _Copy(sftp, Tally(on_bytes, on_skip), limit)
    if stat.S_ISDIR(found.kind):
        with Landing.root(local) as landing:
            copy.directory(source, landing)
    elif stat.S_ISREG(found.kind):
        _get_file(copy, source, found, local)
    else:
        raise InvalidInput(f"{printable(remote)!r} in guest {sftp.guest!r} is neither a file nor a directory")


def _get_file(copy: _Copy, source: bytes, found: Entry, local: Path) -> None:
    # The name is from what was asked for, not from what the guest calls it.
    is_into = local.is_dir()
    name = posixpath.basename(source.rstrip(b"/")) if is_into else os.fsencode(local.name)
    if not is_safe_name(name):
        raise InvalidInput(f"{printable(str(local))!r} does not name a file")
    with Landing.root(local if is_into else local.parent) as landing:
        copy.file(source, name, found.mode, landing)


@dataclass(slots=True)
class _Copy:
    """One copy under way, with what it may still take."""

    sftp: Sftp
    tally: Tally
    limit: int | None
    entries: int = 0

    def directory(self, source: bytes, landing: Landing) -> None:
        """Copy what is in ``source``."""
        if landing.depth > _DEEPEST:
            raise GuestFailed(f"Guest {self.sftp.guest!r} claims directories nested deeper than {_DEEPEST}")
        for entry in self.sftp.listing(source):
            self.entries += 1
            if self.entries > MOST_ENTRIES:
                raise GuestFailed(f"Guest {self.sftp.guest!r} claims more than {MOST_ENTRIES} files")
            self._entry(source + b"/" + entry.name, entry, landing)

    def _entry(self, path: bytes, entry: Entry, landing: Landing) -> None:
        if not is_safe_name(entry.name):
            self.tally.skip(entry.name, "not a file name")
        elif stat.S_ISDIR(entry.kind):
            with landing.directory(entry.name) as inner:
                self.directory(path, inner)
        elif stat.S_ISREG(entry.kind):
            self.file(path, entry.name, entry.mode, landing)
        elif stat.S_ISLNK(entry.kind):
            self._link(path, entry.name, landing)
        else:
            self.tally.skip(path, "not a file, directory or symlink")

    def file(self, path: bytes, name: bytes, mode: int, landing: Landing) -> None:
        """Copy one file's content."""
        with landing.file(name, is_executable=bool(mode & 0o100)) as target:
            for chunk in self.sftp.chunks(path):
                self._check(len(chunk))
                target.write(chunk)
                self.tally.add(len(chunk))

    def _check(self, count: int) -> None:
        if self.limit is not None and self.tally.moved + count > self.limit:
            raise GuestFailed(
                f"Copy from guest {self.sftp.guest!r} is larger than {Size(self.limit)}",
                hint="What was complete by then has been kept.",
            )

    def _link(self, path: bytes, name: bytes, landing: Landing) -> None:
        target = self.sftp.readlink(path)
        if is_safe_link(target, depth=landing.depth):
            landing.link(name, target)
        else:
            self.tally.skip(path, "symlink that leads out of the copied directory")
