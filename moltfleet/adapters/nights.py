"""Journals and reports of nights: two files each in this user's state directory; damaged ones are passed over."""

from __future__ import annotations

import contextlib
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from moltfleet.adapters.localfile import read_small, write_atomically
from moltfleet.model.errors import ToolFailed
from moltfleet.model.nightly import Night

if TYPE_CHECKING:
    from pydantic import TypeAdapter

# A night of a thousand clones is some hundred kilobytes.
_LARGEST = 32 << 20
# "20261120t033000z": a name that sorts by time, made of the night's start.
_NAME = re.compile(r"\d{8}t\d{6}z")


def nights_path(uri: str, directory: Path | None = None) -> Path:
    """Return the directory for the nights of one libvirt."""
    state = directory or platformdirs.user_state_path("moltfleet")
    return state / "nights" / hashlib.sha256(uri.encode()).hexdigest()[:12]


class NightFiles:
    """The port ``Nights``. ``keep`` is how many nights are kept."""

    def __init__(self, directory: Path, *, keep: int) -> None:
        self._directory = directory
        self._keep = keep

    def write(self, night: Night) -> None:
        """See the port."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self._journal(night), _form().dump_json(night, indent=1), mode=0o600)
        except OSError as error:
            raise _unwritable(self._directory, error) from error

    def latest(self) -> Night | None:
        """See the port. A journal that cannot be read hides no older one: it was the last night all the same."""
        names = self._names()
        return self._read(names[-1]) if names else None

    def file_report(self, night: Night, markdown: str) -> str:
        """See the port."""
        path = self._journal(night).with_suffix(".md")
        try:
            write_atomically(path, markdown.encode(), mode=0o600)
            self._drop_old()
        except OSError as error:
            raise _unwritable(self._directory, error) from error
        return str(path)

    def report_path(self, night: Night) -> str | None:
        """See the port."""
        path = self._journal(night).with_suffix(".md")
        return str(path) if path.is_file() else None

    def mark_missed(self, night: Night) -> bool:
        """See the port: of several processes one makes the mark."""
        try:
            self._journal(night).with_suffix(".missed").touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            return False
        except OSError as error:
            raise _unwritable(self._directory, error) from error
        return True

    def _journal(self, night: Night) -> Path:
        name = re.sub(r"[^0-9a-z]", "", night.started_at.lower())
        if not _NAME.fullmatch(name):
            raise ToolFailed(f"A night cannot begin at {night.started_at!r}")
        return self._directory / f"{name}.json"

    def _names(self) -> list[str]:
        try:
            files = [path for path in self._directory.iterdir() if path.suffix == ".json"]
        except OSError:
            return []
        return sorted(path.stem for path in files if _NAME.fullmatch(path.stem))

    def _read(self, name: str) -> Night | None:
        from pydantic import ValidationError

        try:
            return _form().validate_json(read_small(self._directory / f"{name}.json", limit=_LARGEST) or b"")
        except (OSError, ValidationError):
            return None

    def _drop_old(self) -> None:
        for name in self._names()[: -self._keep]:
            for suffix in (".md", ".missed", ".json"):
                with contextlib.suppress(FileNotFoundError):
                    (self._directory / f"{name}{suffix}").unlink()


@cache
def _form() -> TypeAdapter[Night]:
    from pydantic import TypeAdapter

    return TypeAdapter(Night)


def _unwritable(directory: Path, error: OSError) -> ToolFailed:
    return ToolFailed(
        f"Nights in {directory} cannot be written: {error.strerror}", hint="Without a journal no night begins."
    )
