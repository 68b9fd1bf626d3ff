"""What operations need from guests over SSH, as Protocols; the other ports are in :mod:`moltfleet.model.ports`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from moltfleet.model.domain import CommandResult, Endpoint

# Called with the bytes moved so far.
OnBytes = Callable[[int], None]
# Called with one printable line that says what a copy left out, and why.
OnSkip = Callable[[str], None]


class GuestSession(Protocol):
    """An open SSH login."""

    def run(self, command: str, *, input: bytes = b"", timeout_s: float = 60.0, limit: int = 1 << 20) -> CommandResult:
        """Run a shell command, output cut at ``limit`` bytes each. Raises: DeadlinePassed, GuestUnreachable."""

    def stream(
        self,
        command: str,
        *,
        on_stdout: Callable[[bytes], None],
        on_stderr: Callable[[bytes], None],
        timeout_s: float | None = None,
    ) -> int:
        """Run a shell command, handing output on as it comes; returns the exit status (128+n for a signal).

        Raises: GuestUnreachable; DeadlinePassed after ``timeout_s``, None being as long as it takes.
        """

    def put(self, local: Path, remote: str, *, on_bytes: OnBytes | None = None, on_skip: OnSkip | None = None) -> None:
        """Make ``remote`` what the file or directory ``local`` is (SFTP); directories are merged.

        Into the directory ``remote`` when that is empty, ends with a slash, or is one and ``local`` is a file.
        """

    def get(
        self,
        remote: str,
        local: Path,
        *,
        on_bytes: OnBytes | None = None,
        on_skip: OnSkip | None = None,
        limit: int | None = None,
    ) -> None:
        """Make ``local`` what the file or directory ``remote`` is (SFTP); never writes outside ``local`` (D9).

        Raises: NotFound, GuestFailed (more than ``limit`` bytes, unreadable), ToolFailed or NoSpace (unwritable here).
        """

    def write(self, remote: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write one small file."""

    def close(self) -> None:
        """Close the connection."""


class Guests(Protocol):
    """SSH into guests."""

    def banner(self, endpoint: Endpoint, *, timeout_s: float) -> str | None:
        """The SSH identification line, read without logging in; None when nothing answers in time."""

    def login(self, endpoint: Endpoint, *, timeout_s: float) -> AbstractContextManager[GuestSession]:
        """Log in with the one fleet key, strictly checking the pinned host keys.

        Raises: LoginRefused, HostKeyChanged, GuestUnreachable, DeadlinePassed.
        """
