"""Where ``cloud-init/`` and ``bootstrap/`` lie: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from moltfleet.model.errors import NotFound


def find_directory(name: str) -> Path:
    """Return the directory ``name``; the wheel's own copy (``moltfleet/data``, put there by the build) goes first.

    Raises: NotFound when the installation is incomplete.
    """
    package = Path(str(files("moltfleet")))
    for directory in (package / "data" / name, package.parent / name):
        if directory.is_dir():
            return directory
    raise NotFound(f"Directory {name!r} of moltfleet is not installed", hint="Install moltfleet from its wheel again.")


class BootstrapFiles:
    """The port ``Bootstrap`` over a directory."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory

    def names(self) -> tuple[str, ...]:
        """Return the names of all files of ``bootstrap/``, sorted."""
        directory = self._directory or find_directory("bootstrap")
        return tuple(sorted(path.name for path in directory.iterdir() if path.is_file()))

    def tree(self, folder: str) -> Mapping[str, bytes]:
        """Return the content of every file below a folder of ``bootstrap/``, by its path there.

        Links are followed; what Python caches is left out. Raises: NotFound when one cannot be read.
        """
        root = (self._directory or find_directory("bootstrap")) / folder
        found: dict[str, bytes] = {}
        for directory, folders, names in os.walk(root, followlinks=True):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            inside = Path(directory).relative_to(root)
            for name in sorted(names):
                found[str(inside / name)] = self.read(f"{folder}/{inside / name}")
        return found

    def read(self, name: str) -> bytes:
        """Return the content of a file below ``bootstrap/``. Raises: NotFound."""
        directory = self._directory or find_directory("bootstrap")
        try:
            return (directory / name).read_bytes()
        except OSError as error:
            raise NotFound(f"File {name!r} of bootstrap/ cannot be read", details=str(error)) from error
