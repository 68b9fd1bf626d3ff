"""One rescue while it is written: files of ours as their content comes, looked through, then sealed with a manifest."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from moltfleet.adapters.flush import FlushedFileSystem
from moltfleet.adapters.rescue import manifests
from moltfleet.adapters.rescue.archive import BadArchive
from moltfleet.adapters.rescue.checking import check_repository
from moltfleet.adapters.rescue.unpacking import unpack
from moltfleet.model.errors import GuestFailed, NoSpace, ToolFailed
from moltfleet.model.names import printable, printable_lines
from moltfleet.model.rescue import Check, GitParts, Manifest, SavedRescue, StoredFile, Unpacked
from moltfleet.model.size import Size

if TYPE_CHECKING:
    from moltfleet.adapters.rescue.ledger import Ledger

# What a guest's text may take; its end says most.
_LARGEST_TEXT = 8 << 20


class Draft:
    """The port ``RescueDraft``: everything below ``directory``, which takes its final name when it is finished."""

    def __init__(self, directory: Path, clone: str, ledger: Ledger, *, is_root: bool) -> None:
        self._directory = directory
        self._clone = clone
        self._ledger = ledger
        self._is_root = is_root

    @contextlib.contextmanager
    def receive(self, name: str) -> Iterator[Callable[[bytes], None]]:
        """See the port."""
        path = self._path(name)
        written = 0
        with faults(path):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:

                    def write(piece: bytes) -> None:
                        nonlocal written
                        self._ledger.charge(self._directory, len(piece))
                        written += len(piece)
                        file.write(piece)

                    yield write
            except BaseException:
                path.unlink()
                self._ledger.release(self._directory, written)
                raise

    def write_text(self, name: str, content: bytes) -> None:
        """See the port."""
        safe = printable_lines(content.decode("utf-8", "replace"), limit=_LARGEST_TEXT)
        with self.receive(name) as write:
            write(safe.encode())

    def size_of(self, name: str) -> int:
        """See the port."""
        return self._path(name).lstat().st_size

    def discard(self, name: str) -> None:
        """See the port."""
        self._ledger.release(self._directory, self.size_of(name))
        self._path(name).unlink()

    def mark_bad(self, name: str) -> str:
        """See the port."""
        self._path(name).rename(self._path(f"{name}.bad"))
        return f"{name}.bad"

    def check_repository(self, parts: GitParts) -> Mapping[str, Check]:
        """See the port."""
        return check_repository(self._directory, parts, is_root=self._is_root)

    def unpack(self, archive: str, folder: str) -> Unpacked | None:
        """See the port."""
        if self._is_root:
            return None
        try:
            unpacked = unpack(self._path(archive), self._path(folder), shown=folder, charge=self._charge)
        except BadArchive as error:
            raise GuestFailed(f"it is no archive that can be unpacked: {printable(str(error))}") from error
        if not unpacked.left_out:
            self.discard(archive)
        return unpacked

    def _charge(self, count: int) -> None:
        self._ledger.charge(self._directory, count)

    def finish(self, manifest: Manifest) -> SavedRescue:
        """See the port."""
        final = self._directory.with_name(self._directory.name.partition(".")[0])
        with faults(self._directory):
            files = tuple(sorted(_stored(self._directory), key=lambda file: file.name))
            manifest = replace(manifest, files=files)
            with FlushedFileSystem(str(self._directory.parent)):
                manifests.write(self._directory, manifest)
            self._directory.rename(final)
            with FlushedFileSystem(str(final.parent)):
                pass
        return SavedRescue(self._clone, final.name, final, Size(sum(file.size for file in files)), manifest)

    def _path(self, name: str) -> Path:
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or parts[0] == "/":
            raise ValueError(f"not below the rescue: {name}")
        return self._directory.joinpath(*parts)


def _stored(directory: Path) -> Iterator[StoredFile]:
    for parent, _, names in os.walk(directory):
        for name in names:
            path = Path(parent) / name
            size, checksum = reread(path)
            yield StoredFile(str(path.relative_to(directory)), size, checksum)


def reread(path: Path) -> tuple[int, str]:
    """Return a file's size and checksum; a link's are nobody's."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
            return file.tell(), checksum
    except OSError:
        return -1, ""


@contextlib.contextmanager
def faults(path: Path) -> Iterator[None]:
    """Say a failure to write on this machine in our words. Raises: NoSpace, ToolFailed."""
    try:
        yield
    except OSError as error:
        shown = printable(str(path))
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"{shown} cannot be written: no space left") from error
        raise ToolFailed(f"{shown} cannot be written: {error.strerror}") from error
