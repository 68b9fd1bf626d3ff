"""Rescues on this machine: a dated directory for each, below one for its clone, all of them nobody else's to read."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from moltfleet.adapters.hostinfo import free_space
from moltfleet.adapters.rescue import manifests
from moltfleet.adapters.rescue.draft import Draft, faults, reread
from moltfleet.adapters.rescue.ledger import Ledger, Limits, size_below
from moltfleet.model.errors import ToolFailed
from moltfleet.model.names import LONGEST_ADOPTED_NAME, check_name, printable
from moltfleet.model.rescue import RescueDraft, SavedRescue, is_label
from moltfleet.model.size import Size

_UNFINISHED = ".unfinished"
# What is not finished by then was interrupted.
_UNFINISHED_FOR_S = 6 * 3600.0
# So that a rescue never fills the disk that the host itself lives on.
LEAST_FREE = Size.of_gib(1)


class RescueFiles:
    """The port ``Rescues`` over a directory."""

    def __init__(
        self,
        root: Path,
        *,
        per_clone: Size,
        total: Size,
        is_root: bool | None = None,
        measure_free: Callable[[str], Size | None] = free_space,
    ) -> None:
        self._root = root
        self._is_root = os.geteuid() == 0 if is_root is None else is_root
        self._ledger = Ledger(root, Limits(per_clone, total, LEAST_FREE), measure_free)

    def place(self) -> Path:
        """See the port."""
        return self._root

    @contextlib.contextmanager
    def begin(self, clone: str, label: str) -> Iterator[RescueDraft]:
        """See the port."""
        check_name(clone, what="clone", longest=LONGEST_ADOPTED_NAME)
        if not is_label(label):
            raise ValueError(f"no label: {label}")
        with faults(self._root):
            for directory in (self._root, self._root / clone):
                _make_private(directory)
            directory = self._new(self._root / clone, label)
        try:
            self._ledger.open(clone, directory)
            yield Draft(directory, clone, self._ledger, is_root=self._is_root)
        finally:
            self._ledger.close(directory)
            # A finished one has another name by now.
            shutil.rmtree(directory, ignore_errors=True)

    def _new(self, parent: Path, label: str) -> Path:
        for number in range(1, 1000):
            name = label if number == 1 else f"{label}-{number}"
            directory = parent / f"{name}{_UNFINISHED}"
            if not (parent / name).exists() and not directory.exists():
                directory.mkdir(mode=0o700)
                return directory
        raise ToolFailed(f"{parent} has a thousand rescues of one second")

    def saved(self) -> tuple[SavedRescue, ...]:
        """See the port."""
        found = []
        for clone in _folders(self._root):
            for directory in _folders(clone):
                label = directory.name.removesuffix(_UNFINISHED)
                if is_label(label) and not (directory.name != label and _is_under_way(directory)):
                    found.append(_saved(clone.name, label, directory))
        return tuple(sorted(found, key=lambda saved: (saved.label[:16], saved.clone, len(saved.label), saved.label)))

    def verify(self, saved: SavedRescue) -> tuple[str, ...]:
        """See the port."""
        if saved.manifest is None:
            return ("it was interrupted, or its manifest cannot be read",)
        known = {file.name: file for file in saved.manifest.files}
        flaws, seen = [], set()
        for name, path in _files(saved.directory):
            if name == manifests.NAME:
                continue
            seen.add(name)
            expected = known.get(name)
            if expected is None:
                flaws.append(f"{printable(name)} is not in the manifest")
            elif reread(path) != (expected.size, expected.sha256):
                flaws.append(f"{printable(name)} has changed")
        return (*flaws, *(f"{printable(name)} is gone" for name in sorted(set(known) - seen)))

    def delete(self, saved: SavedRescue) -> None:
        """See the port."""
        if saved.directory.parent.parent != self._root or saved.directory.is_symlink():
            raise ValueError(f"not one of ours: {saved.directory}")
        with faults(saved.directory):
            shutil.rmtree(saved.directory)
        with contextlib.suppress(OSError):
            saved.directory.parent.rmdir()


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    seen = directory.lstat()
    if seen.st_uid != os.geteuid():
        raise ToolFailed(f"{directory} belongs to somebody else", hint="Name another place: rescue.directory.")
    if seen.st_mode & 0o077:
        directory.chmod(0o700)


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(parent) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _is_under_way(directory: Path) -> bool:
    try:
        newest = max((path.lstat().st_mtime for path in (directory, *directory.iterdir())), default=0.0)
    except OSError:
        return True
    return time.time() - newest < _UNFINISHED_FOR_S


def _saved(clone: str, label: str, directory: Path) -> SavedRescue:
    manifest = None if directory.name.endswith(_UNFINISHED) else manifests.read(directory)
    size = sum(file.size for file in manifest.files) if manifest else size_below(directory)
    return SavedRescue(clone, label, directory, Size(size), manifest)


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    for parent, _, names in os.walk(directory):
        for name in names:
            path = Path(parent) / name
            yield str(path.relative_to(directory)), path
