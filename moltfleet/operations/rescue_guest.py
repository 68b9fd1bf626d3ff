"""What is asked of one guest over an open login when its work is rescued: what there is, and each piece of it.

The guest is hostile: its answers end, in bytes and in time, and a word of them goes back to it as escapes only.
"""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from moltfleet.model.errors import GuestFailed
from moltfleet.model.names import printable
from moltfleet.model.ports import GuestSession
from moltfleet.model.rescue import without_password

SCRIPT = "rescue.sh"
MOST_REPOSITORIES, MOST_TREES, MOST_SCREENS, _MOST_TROUBLES = 100, 20, 30, 20
_LARGEST_LIST = 1 << 20
_LARGEST_STDERR = 64 * 1024
# Between a piece's own end in the guest and cutting the connection.
_GRACE_S = 15.0
# What timeout(1) ends with.
_LATE = (124, 137)
_OBJECT = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})?")
_PLAIN = re.compile(rb"[A-Za-z0-9/._-]")
_TOO_LARGE = "too large: "
_WIDTHS = {"repository": 10, "tree": 1, "screen": 3, "trouble": 2, "logs": 0, "end": 0}


@dataclass(frozen=True, slots=True)
class FoundRepository:
    """A repository as the guest tells of it; ``path`` is for the guest only."""

    path: bytes
    head: str
    branch: str
    commits: int
    stashes: int
    is_staged: bool
    is_unstaged: bool
    has_new: bool
    remote: str

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of its pieces that are nowhere else."""
        is_changed = self.is_staged or self.is_unstaged or self.has_new
        wanted = {
            "staged": self.is_staged,
            "unstaged": self.is_unstaged,
            "files": is_changed,
            "commits": self.commits or self.stashes,
        }
        return tuple(kind for kind, is_there in wanted.items() if is_there)


@dataclass(frozen=True, slots=True)
class Found:
    """What a guest says it has. ``screens`` are pairs of words for the guest, and what to call them."""

    repositories: tuple[FoundRepository, ...] = ()
    trees: tuple[bytes, ...] = ()
    screens: tuple[tuple[bytes, bytes, str], ...] = ()
    has_logs: bool = False
    troubles: tuple[str, ...] = ()


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
        with _cut_after(self.session, timeout_s + _GRACE_S):
            status = self.session.stream(
                command,
                on_stdout=write,
                on_stderr=lambda piece: said.extend(piece[: max(0, _LARGEST_STDERR - len(said))]),
            )
        if status in _LATE:
            raise GuestFailed(f"it took longer than {timeout_s:.0f} s")
        return status, said.decode("utf-8", "replace").splitlines()

    def _command(self, act: str, words: Sequence[bytes], timeout_s: float) -> str:
        call = " ".join(["rescue", act, *(shlex.quote(escaped(word)) for word in words)])
        return (
            f"RESCUE={shlex.quote(self.script)} RESCUE_LARGEST={self.largest}; export RESCUE RESCUE_LARGEST; "
            f'if command -v timeout >/dev/null; then exec nice timeout -k 5 {max(1, int(timeout_s))} sh -c "$RESCUE" '
            f'{call}; else exec sh -c "$RESCUE" {call}; fi'
        )


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


def read_list(answer: bytes, late: str = "") -> Found:
    """Read what ``rescue.sh look`` prints; what is beyond all bounds is a trouble. Raises: GuestFailed."""
    repositories, trees, screens, troubles = [], [], [], []
    has_logs, is_whole = False, False
    records = list(_records(answer))
    if not records:
        raise GuestFailed(f"Guest does not tell what work it has{late and ': '}{late}")
    for kind, fields in records:
        if kind == "repository":
            repositories.append(_repository(fields))
        elif kind == "tree":
            trees.append(fields[0])
        elif kind == "screen":
            screens.append((fields[0], fields[1], told(fields[2])))
        elif kind == "trouble":
            troubles.append(f"{told(fields[0])}: {told(fields[1])}")
        has_logs, is_whole = has_logs or kind == "logs", is_whole or kind == "end"
    if not is_whole:
        troubles.append(f"the guest did not finish its list{late and ': '}{late}")
    for names, most, what in (
        (repositories, MOST_REPOSITORIES, "repositories"),
        (trees, MOST_TREES, "directories"),
        (screens, MOST_SCREENS, "screens"),
    ):
        if len(names) > most:
            troubles.append(f"more than {most} {what}")
            del names[most:]
    return Found(tuple(repositories), tuple(trees), tuple(screens), has_logs, tuple(troubles[:_MOST_TROUBLES]))


def _records(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Split the list into records; an unfinished last one is left out. Raises: GuestFailed."""
    fields = answer.split(b"\0")[:-1]
    position = 0
    while position < len(fields):
        kind = fields[position].decode("ascii", "replace")
        if kind not in _WIDTHS:
            raise GuestFailed("Guest's list of its work cannot be read", details=printable(kind))
        record = fields[position + 1 : position + 1 + _WIDTHS[kind]]
        if len(record) < _WIDTHS[kind]:
            return
        yield kind, record
        position += 1 + _WIDTHS[kind]


def _repository(fields: list[bytes]) -> FoundRepository:
    head = told(fields[2])
    if not _OBJECT.fullmatch(head):
        raise GuestFailed("Guest's list of its work cannot be read", details=f"HEAD {head}")
    return FoundRepository(
        path=fields[0],
        head=head,
        branch=told(fields[3]).removeprefix("refs/heads/"),
        commits=_count(fields[4]),
        stashes=_count(fields[5]),
        is_staged=fields[6] == b"1",
        is_unstaged=fields[7] == b"1",
        has_new=fields[8] == b"1",
        remote=without_password(told(fields[9])),
    )


def _count(field: bytes) -> int:
    return int(field) if field.isdigit() and len(field) < 10 else 0


def told(text: bytes) -> str:
    """A guest's text as it may be shown."""
    return printable(text.decode("utf-8", "backslashreplace"), limit=300)


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
