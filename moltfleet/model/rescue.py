"""What was taken out of a guest before a molt, what became of each part of it, and the ports that keep and check it.

Texts that come from a guest are printable by the time they stand here; names of files are moltfleet's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from moltfleet.model.errors import MoltfleetError
from moltfleet.model.size import Size

MANIFEST_SCHEMA = "moltfleet.rescue-manifest/1"
GIT_KINDS = ("commits", "staged", "unstaged")


class Outcome(StrEnum):
    """How a rescue ended. After ``rescued`` and ``nothing`` the guest holds nothing that is not elsewhere."""

    RESCUED = "rescued"
    NOTHING = "nothing"
    PARTLY = "partly"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"


class PartState(StrEnum):
    """``sound``: looked through and found to be what it should. ``kept``: stored as it came. ``bad``: stored, but not
    what it should be. ``left``: still in the guest, and nowhere else."""

    SOUND = "sound"
    KEPT = "kept"
    BAD = "bad"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of work. ``kind`` is "commits", "staged", "unstaged", "files", "tree", "screen" or "logs".

    ``name`` is its file or directory below that of the rescue, ``origin`` where it is from in the guest.
    """

    kind: str
    name: str
    origin: str
    state: PartState
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository of a guest. ``head`` is a commit, "" before the first; ``remote`` has no password in it."""

    folder: str
    path: str
    head: str
    branch: str
    remote: str
    commits: int
    stashes: int


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a rescue, in bytes, by its path below the rescue's directory."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Renamed:
    """A file whose name in the guest is not fit for this machine, and what it is called here."""

    name: str
    origin: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a rescue holds. ``taken_at`` is ISO 8601 in UTC; ``details`` are sentences for people."""

    clone: str
    golden: str
    generation: int
    user: str
    taken_at: str
    reason: str
    outcome: Outcome
    details: tuple[str, ...] = ()
    repositories: tuple[Repository, ...] = ()
    parts: tuple[Part, ...] = ()
    renamed: tuple[Renamed, ...] = ()
    files: tuple[StoredFile, ...] = ()


@dataclass(frozen=True, slots=True)
class RescueResult:
    """What became of one clone's rescue. ``directory`` is None when nothing was stored; ``error`` unless all is well.

    ``kept`` is the label of the layer that a molt keeps because of it.
    """

    clone: str
    outcome: Outcome
    directory: Path | None = None
    size: Size = field(default_factory=lambda: Size(0))
    repositories: int = 0
    parts: tuple[Part, ...] = ()
    details: tuple[str, ...] = ()
    seconds: float = 0.0
    error: MoltfleetError | None = None
    kept: str | None = None

    @property
    def is_safe(self) -> bool:
        """Whether the guest's state may be thrown away without a loss."""
        return self.outcome in (Outcome.RESCUED, Outcome.NOTHING)


@dataclass(frozen=True, slots=True)
class SavedRescue:
    """A rescue on this machine. ``label`` is its date as its directory has it; ``manifest`` None when unfinished."""

    clone: str
    label: str
    directory: Path
    size: Size
    manifest: Manifest | None


@dataclass(frozen=True, slots=True)
class Check:
    """What looking through a part showed."""

    state: PartState
    detail: str


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What came out of an archive. ``links`` are only told; ``left_out`` says what else did not come, and why."""

    files: int
    links: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    renamed: tuple[Renamed, ...] = ()


@dataclass(frozen=True, slots=True)
class GitParts:
    """Names of a repository's stored parts, "" for one that there is not; ``head`` is the guest's word."""

    head: str
    commits: str = ""
    staged: str = ""
    unstaged: str = ""


class RescueDraft(Protocol):
    """A rescue being written; nothing of it counts before :meth:`finish`. Names are paths below its directory."""

    def receive(self, name: str) -> AbstractContextManager[Callable[[bytes], None]]:
        """Write a file as its content comes; when the body fails nothing is left of it.

        Raises, from the writing: NoCapacity over a limit, NoSpace, ToolFailed.
        """

    def write_text(self, name: str, content: bytes) -> None:
        """Write a guest's text, made safe for a terminal. Raises: as :meth:`receive`."""

    def size_of(self, name: str) -> int:
        """Bytes of a file that was received."""

    def discard(self, name: str) -> None:
        """Delete a file that was received."""

    def mark_bad(self, name: str) -> str:
        """Rename a file so that nobody takes it for a sound one; returns its new name."""

    def check_repository(self, parts: GitParts) -> Mapping[str, Check]:
        """Let git look through what is there of a repository, in one of our own; checks by name."""

    def unpack(self, archive: str, folder: str) -> Unpacked | None:
        """Put an archive's files below ``folder``; None when it is better left packed here.

        It is deleted unless something had to be left out. Raises: GuestFailed when it is no archive, or cut off.
        """

    def finish(self, manifest: Manifest) -> SavedRescue:
        """Make it durable, with every file's checksum, under its final name. Raises: NoSpace, ToolFailed."""


class Rescues(Protocol):
    """What was rescued, on this machine."""

    def place(self) -> Path:
        """The directory of all rescues, whether it is there or not."""

    def begin(self, clone: str, label: str) -> AbstractContextManager[RescueDraft]:
        """Open a new one; unless it is finished, nothing is left of it. Raises: NoCapacity, NoSpace, ToolFailed."""

    def saved(self) -> tuple[SavedRescue, ...]:
        """All of them, the oldest first, without reading their files."""

    def verify(self, saved: SavedRescue) -> tuple[str, ...]:
        """Read all files of one again and say, in sentences, what is not as its manifest has it."""

    def delete(self, saved: SavedRescue) -> None:
        """Delete one for good. Raises: ToolFailed."""


def is_label(text: str) -> bool:
    """Whether ``text`` is a date as directories of rescues have it, such as 20261121T031500Z or …Z-2."""
    date, _, number = text.partition("-")
    digits = date[:8] + date[9:15]
    is_date = len(date) == 16 and date[8] == "T" and date[15] == "Z" and digits.isascii() and digits.isdecimal()
    return is_date and (number.isascii() and number.isdecimal() if number else "-" not in text)


def label_of(moment: str) -> str:
    """A moment in ISO 8601 as such a date."""
    return moment.replace("-", "").replace(":", "")


def without_password(address: str) -> str:
    """A remote's address as it may be shown: what stands before the host in a URL can be a password."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        user, _, place = address.rpartition("@")
        return place if ":" in user else address
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def is_missing(part: Part) -> bool:
    """Whether a part is not what may replace the guest's: also one of git's that git could not look through."""
    return part.state in (PartState.BAD, PartState.LEFT) or (part.state is PartState.KEPT and part.kind in GIT_KINDS)


def worst(parts: Sequence[Part]) -> Outcome:
    """What the parts amount to."""
    if any(is_missing(part) for part in parts):
        return Outcome.PARTLY
    return Outcome.RESCUED if parts else Outcome.NOTHING
