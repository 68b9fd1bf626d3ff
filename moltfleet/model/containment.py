"""Containment of a host: the division of its memory, the files for it, a run's plan, and what is kept to undo it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from moltfleet.model.errors import NoCapacity, WrongState
from moltfleet.model.size import Size

MANIFEST_SCHEMA = "moltfleet.contained/1"
_GUARD = Size.of_mib(256)


@dataclass(frozen=True, slots=True)
class Limits:
    """The division of ``memory`` (the kernel's MemTotal): a ``reserve`` for the host, and the rest for clones."""

    memory: Size
    reserve: Size

    def __post_init__(self) -> None:
        if self.reserve >= self.memory:
            raise NoCapacity(
                f"This host has {self.memory} of memory, and the reserve is {self.reserve}",
                hint="Set a smaller 'reserve' in moltfleet.toml.",
            )

    @property
    def machine_max(self) -> Size:
        """What all clones together may have: whole MiB."""
        return Size.of_mib((self.memory - self.reserve).mib)

    @property
    def term(self) -> Size:
        """Available memory at which earlyoom sends SIGTERM: a quarter of the reserve.

        So the limit of machine.slice acts first, unless the rest of the host has used three quarters of the reserve.
        """
        return Size(self.reserve.bytes // 4)

    @property
    def kill(self) -> Size:
        """Likewise for SIGKILL: an eighth."""
        return Size(self.reserve.bytes // 8)

    @property
    def guard(self) -> Size:
        """What system.slice is protected with: 256 MiB, and at most an eighth of the reserve."""
        return min(_GUARD, Size.of_mib(self.reserve.mib // 8))

    @property
    def sshd_min(self) -> Size:
        """sshd's own part of the guard."""
        return Size.of_mib(self.guard.mib // 4)

    @property
    def libvirtd_min(self) -> Size:
        """libvirt's part of the guard."""
        return Size.of_mib(self.guard.mib // 2)


@dataclass(frozen=True, slots=True)
class ContainedFile:
    """A file as it is to be. ``merged`` means that it is somebody's, with something of ours added."""

    path: str
    content: bytes
    mode: int = 0o644
    merged: bool = False


@dataclass(frozen=True, slots=True)
class FileAct:
    """What becomes of a file: ``act`` is "create", "update", "merge", "keep", "remove" or "restore"."""

    path: str
    act: str
    content: bytes = b""
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class HostPlan:
    """What a run will do, or has done, in its order: packages, files, commands. ``notes`` are for people."""

    acts: tuple[FileAct, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()
    packages: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """Say it, each file that is written with its whole content."""
        said = [f"run {' '.join(command)}" for command in self.packages]
        for act in self.acts:
            said.append(f"{act.act} {act.path}")
            if act.act in ("create", "update", "merge"):
                said += [f"    {line}".rstrip() for line in act.content.decode().splitlines()]
        return (*said, *(f"run {' '.join(command)}" for command in self.commands), *self.notes)


def digest_of(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


class Phase(StrEnum):
    """How far the last run came; anything but ``INSTALLED`` is for the next run to finish or undo."""

    INSTALLING = "installing"
    INSTALLED = "installed"
    REMOVING = "removing"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that was written, or was about to be.

    ``digests`` are those of every content it may have by our hand. ``original`` is what a merged file held before.
    """

    path: str
    digests: tuple[str, ...]
    original: bytes | None = None
    original_mode: int = 0o644
    merged: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """What containment put on this host, and what has to be put back: written before the first change.

    ``directories`` were made for the files, ``packages`` were installed; ``was_enabled`` and ``was_active`` say how
    earlyoom was found.
    """

    phase: Phase
    entries: tuple[Entry, ...] = ()
    directories: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    was_enabled: bool = False
    was_active: bool = False

    def find(self, path: str) -> Entry | None:
        """Look a file up."""
        return next((entry for entry in self.entries if entry.path == path), None)

    def to_json(self) -> bytes:
        """Write it as text that a person can read."""
        document = {
            "schema": MANIFEST_SCHEMA,
            "phase": self.phase,
            "files": [_entry_document(entry) for entry in self.entries],
            "directories": list(self.directories),
            "packages": list(self.packages),
            "earlyoom": {"was_enabled": self.was_enabled, "was_active": self.was_active},
        }
        return (json.dumps(document, indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Read it. Raises: WrongState."""
        try:
            document = json.loads(text)
            if document["schema"] != MANIFEST_SCHEMA:
                raise ValueError(f"its schema is {document['schema']!r}")
            return cls(
                phase=Phase(document["phase"]),
                entries=tuple(_entry(item) for item in document["files"]),
                directories=tuple(map(str, document["directories"])),
                packages=tuple(map(str, document["packages"])),
                was_enabled=bool(document["earlyoom"]["was_enabled"]),
                was_active=bool(document["earlyoom"]["was_active"]),
            )
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise WrongState("The manifest of the host's containment cannot be read", details=str(error)) from error


def _entry_document(entry: Entry) -> dict[str, Any]:
    original = None if entry.original is None else base64.b64encode(entry.original).decode()
    return {
        "path": entry.path,
        "sha256": list(entry.digests),
        "merged": entry.merged,
        "original": original,
        "original_mode": f"{entry.original_mode:o}",
    }


def _entry(item: Any) -> Entry:
    original = item["original"]
    return Entry(
        path=str(item["path"]),
        digests=tuple(map(str, item["sha256"])),
        original=None if original is None else base64.b64decode(original, validate=True),
        original_mode=int(item["original_mode"], 8),
        merged=bool(item["merged"]),
    )
