"""Logins of this machine's user that clones may get: what belongs to one, and which of two versions is the newer.

Only names ever go into records, results and logs; contents go between this machine and a guest, and nowhere else.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

# No login is longer; what a hostile guest sends beyond it is not read.
LARGEST_FILE = 256 * 1024
# A guest may claim any moment; what lies further ahead than this claims nothing.
_FURTHEST_AHEAD_S = 400 * 86_400.0
# Larger numbers are milliseconds since the epoch, as JavaScript counts.
_MILLISECONDS_FROM = 1e11


@dataclass(frozen=True, slots=True)
class LoginEntry:
    """A login by its name. ``files`` are paths below the home, the same on both sides.

    ``rotates`` says that a guest renews it, so that it has to come back. ``newest_by`` is the dotted key of a moment in
    its JSON that grows with every renewal; without one the time of the last change counts. ``made`` ones are no copies:
    this machine makes their files from git's settings and the configuration.
    """

    name: str
    files: tuple[str, ...]
    rotates: bool = False
    newest_by: str = ""
    made: bool = False


@dataclass(frozen=True, slots=True)
class LoginFile:
    """One file of a login as one side has it; ``changed_at`` is in seconds since the epoch."""

    path: str
    content: bytes
    changed_at: float

    def __repr__(self) -> str:
        """Without the content, wherever it may be printed."""
        return f"LoginFile({self.path!r}, {len(self.content)} bytes)"


GIT_IDENTITY = ".config/moltfleet/git-identity"
GIT_SIGNING = ".config/moltfleet/git-signing"
SIGNING_KEY = ".ssh/moltfleet_signing"
# What git of the guest is told to include.
GIT_FILES = (GIT_IDENTITY, GIT_SIGNING)

KNOWN: Mapping[str, LoginEntry] = {
    entry.name: entry
    for entry in (
        LoginEntry("claude", (".claude/.credentials.json",), rotates=True, newest_by="claudeAiOauth.expiresAt"),
        LoginEntry("codex", (".codex/auth.json",), rotates=True, newest_by="last_refresh"),
        LoginEntry(
            "gemini",
            (".gemini/oauth_creds.json", ".gemini/google_accounts.json"),
            rotates=True,
            newest_by="expiry_date",
        ),
        LoginEntry("gh", (".config/gh/hosts.yml",)),
        LoginEntry("git", (GIT_IDENTITY,), made=True),
        LoginEntry("signing", (SIGNING_KEY, GIT_SIGNING), made=True),
    )
}


class Winner(StrEnum):
    """Which side has the version that counts."""

    SAME = "same"
    HOST = "host"
    GUEST = "guest"


def newer(host: LoginFile | None, guest: LoginFile, *, newest_by: str, now: float) -> Winner:
    """Decide between two versions of a file; what is not whole never wins against what is.

    A moment in the file counts more than a version without one, and both more than the time of the last change.
    """
    if host is not None and host.content == guest.content:
        return Winner.SAME
    if not is_whole(guest):
        return Winner.HOST
    if host is None or not is_whole(host):
        return Winner.GUEST
    host_says, guest_says = (moment_in(one.content, newest_by, now=now) for one in (host, guest))
    if host_says == guest_says:
        # A guest's clock is not to be believed either.
        return Winner.GUEST if min(guest.changed_at, now) > host.changed_at else Winner.HOST
    return Winner.GUEST if (guest_says or 0.0) > (host_says or 0.0) else Winner.HOST


def is_whole(file: LoginFile) -> bool:
    """Whether it can be a login: not empty, and JSON where its name says so, as it may be read while it is written."""
    if file.path.endswith(".json"):
        return _object_in(file.content) is not None
    return bool(file.content.strip())


def renews_itself(entry: LoginEntry, files: Sequence[LoginFile], *, now: float) -> bool:
    """Whether these files hold what a guest renews; a key without an end in the place of a token is not renewed."""
    if not entry.rotates:
        return False
    if entry.newest_by:
        return any(moment_in(file.content, entry.newest_by, now=now) is not None for file in files)
    return any(is_whole(file) for file in files)


def moment_in(content: bytes, key: str, *, now: float) -> float | None:
    """The moment under a dotted key, in seconds since the epoch; None without one that can be true."""
    value: Any = _object_in(content) if key else None
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    moment = _moment(value)
    return moment if moment is not None and 0 < moment < now + _FURTHEST_AHEAD_S else None


def _object_in(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _moment(value: object) -> float | None:
    try:
        if isinstance(value, str):
            return datetime.datetime.fromisoformat(value).timestamp()
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) / 1000 if value > _MILLISECONDS_FROM else float(value)
    except (ValueError, OverflowError, OSError):
        return None


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of a guest's file: who won, and where the loser is kept (None when there was none)."""

    winner: Winner
    kept: Path | None = None


class HostLogins(Protocol):
    """The logins of this machine's user."""

    def owner(self) -> str:
        """Whose they are, as user@host."""

    def read(self, entry: LoginEntry) -> tuple[LoginFile, ...]:
        """What this machine has of a login now; empty when it has none. Raises: InvalidInput, ToolFailed."""

    def merge(self, entry: LoginEntry, guest: LoginFile, *, clone: str) -> Merged:
        """Let the newer version win; this machine's file is replaced whole, and the loser is kept for its owner.

        When this returns, the guest's version is on this machine's disk. Raises: ToolFailed, NoSpace.
        """


@dataclass(frozen=True, slots=True)
class LoginsResult:
    """What a command did about a clone's logins, by name; ``notes`` say what did not happen, and why."""

    pulled: tuple[str, ...] = ()
    pushed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """``only`` are names, none for all that are allowed; ``act`` is "push" (which pulls first), "pull" or "forget"."""

    only: tuple[str, ...] = ()
    act: str = "push"
