"""What is asked of one guest over an open login when its work is rescued: what there is, and each piece of it.

The guest is hostile: its answers end, in bytes and in time, and a word of them goes back to it as escapes only.
"""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moltfleet.model.errors import GuestFailed
from moltfleet.model.names import printable
from moltfleet.operations.rescue_list import Found, read_list

if TYPE_CHECKING:
    from moltfleet.model.ports import GuestSession

SCRIPT = "rescue.sh"
_LARGEST_LIST = 1 << 20
_LARGEST_STDERR = 64 * 1024
# Between a piece's own end in the guest and cutting the connection.
_GRACE_S = 15.0
# What timeout(1) ends with.
_LATE = (124, 137)
_PLAIN = re.compile(rb"[A-Za-z0-9/._-]")
_TOO_LARGE = "too large: "
# Where an answer begins, and how much may stand before that.
MARK = b":moltfleet-rescue:"
_LARGEST_NOISE = 64 * 1024


@dataclass(slots=True)
class _Answer:
    """Passes on what comes behind the mark: a shell's start-up files may have something to say before it.

    Where there is no mark, everything counts.
    """

    write: Callable[[bytes], None]
    held: bytearray | None = field(default_factory=bytearray)

    def take(self, piece: bytes) -> None:
        """Take what the guest wrote."""
        if self.held is None:
            self.write(piece)
            return
        self.held += piece
        _, mark, rest = self.held.partition(MARK)
        if mark or len(self.held) > _LARGEST_NOISE:
            self._open(bytes(rest if mark else self.held))

    def end(self) -> None:
        """Pass on what was held back."""
        if self.held is not None:
            self._open(bytes(self.held))

    def _open(self, content: bytes) -> None:
        self.held = None
        if content:
            self.write(content)


@dataclass(frozen=True, slots=True)
class Asking:
    """How a guest is asked: the program's text, and the largest file in bytes that is wanted."""

    session: GuestSession
    script: str
    largest: int

    def fetch(self, act: str, *words: bytes, write: Callable[[bytes], None], timeout_s: float) -> tuple[int, list[str]]:
        """Let the guest write one piece, which ``write`` takes or refuses by raising; returns status and complaints.

        Raises: GuestUnreachable, DeadlinePassed, GuestFailed when it takes too long, and what ``write`` raises.
        """
        said = bytearray()
        command = self._command(act, words, timeout_s)
        answer = _Answer(write)
        with _cut_after(self.session, timeout_s + _GRACE_S):
            status = self.session.stream(
                command,
                on_stdout=answer.take,
                on_stderr=lambda piece: said.extend(piece[: max(0, _LARGEST_STDERR - len(said))]),
            )
        answer.end()
        if status in _LATE:
            raise GuestFailed(f"it took longer than {timeout_s:.0f} s")
        return status, said.decode("utf-8", "replace").splitlines()

    def _command(self, act: str, words: Sequence[bytes], timeout_s: float) -> str:
        call = " ".join(["rescue", act, *(shlex.quote(escaped(word)) for word in words)])
        script = shlex.quote(condensed(self.script))
        return (
            f"RESCUE={script} RESCUE_LARGEST={self.largest}; export RESCUE RESCUE_LARGEST; "
            f"printf '{MARK.decode()}'; "
            f"if command -v timeout >/dev/null; then exec $(command -v nice) timeout -k 5 {max(1, int(timeout_s))} "
            f'sh -c "$RESCUE" {call}; else exec sh -c "$RESCUE" {call}; fi'
        )


def condensed(script: str) -> str:
    """A shell script without comments and indentation: dropbear hangs up on a command of more than 9,000 bytes."""
    lines = (line.strip() for line in script.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def look(asking: Asking, roots: Sequence[str], paths: Sequence[str], *, timeout_s: float) -> Found:
    """Ask what there is. Raises: GuestFailed when the answer is none, and as :meth:`Asking.fetch`."""
    answer = bytearray()

    def take(piece: bytes) -> None:
        answer.extend(piece)
        if len(answer) > _LARGEST_LIST:
            raise GuestFailed(f"Guest lists more than {_LARGEST_LIST >> 10} KiB of work")

    words = [b"r:" + root.encode() for root in (*roots, *paths)] + [b"t:" + path.encode() for path in paths]
    late = ""
    try:
        asking.fetch("look", *words, write=take, timeout_s=timeout_s)
    except GuestFailed as error:
        if len(answer) > _LARGEST_LIST:
            raise
        late = error.brief
    return read_list(bytes(answer), late)


def too_large(said: Sequence[str]) -> list[str]:
    """Names of files that the guest did not send because of their size."""
    return [printable(line.removeprefix(_TOO_LARGE)) for line in said if line.startswith(_TOO_LARGE)]


def escaped(word: bytes) -> str:
    """A word in the escapes of printf(1)'s ``%b``: nothing in it means anything to a shell; "~/" and "r:" stay."""
    prefix = re.match(rb"(?:[rt]:)?~?", word)
    start = prefix.end() if prefix else 0
    return word[:start].decode() + "".join(
        chr(byte) if _PLAIN.fullmatch(bytes([byte])) else f"\\0{byte:03o}" for byte in word[start:]
    )


@contextmanager
def _cut_after(session: GuestSession, seconds: float) -> Iterator[None]:
    """Close the session when the body takes longer: a guest that says nothing more would be waited for for ever."""
    timer = threading.Timer(seconds, session.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
