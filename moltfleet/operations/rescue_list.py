"""What a guest says about the work that it has: a list of bounded records, checked before a word of it is used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from moltfleet.model.errors import GuestFailed
from moltfleet.model.names import printable
from moltfleet.model.rescue import without_password

MOST_REPOSITORIES, MOST_TREES, MOST_SCREENS, _MOST_TROUBLES = 100, 20, 30, 20
_OBJECT = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})?")
# How many fields each record has.
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
