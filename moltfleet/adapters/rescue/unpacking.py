"""Puts a guest's archive into a directory of this machine: files and nothing else, below it and nowhere else.

No link is ever made, no device, no file that git would take for a repository or its settings. A name that a terminal
or a script could stumble over gives way to one of ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from moltfleet.adapters.rescue.archive import Kind, Member, content, members
from moltfleet.adapters.ssh.landing import Landing, is_safe_name
from moltfleet.model.errors import NoSpace, ToolFailed
from moltfleet.model.names import printable
from moltfleet.model.rescue import Renamed, Unpacked

MOST_FILES = 20_000
_DEEPEST = 60
# Told one by one; of more only how many.
_MOST_TOLD = 50
_MOST_LINKS = 1000
_OURS = "moltfleet-renamed-"
# git runs what these say, of whoever comes by: of a repository's directory, and of a bare one, which needs a HEAD.
_OF_GIT = b".git"
_HEAD = b"head"

# Called with the bytes that are about to be written; raises when they are too many.
Charge = Callable[[int], None]


@dataclass(slots=True)
class _Unpacking:
    """One archive on its way into ``root``."""

    root: Path
    shown: str
    charge: Charge
    files: int = 0
    links: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    more_left: int = 0
    renamed: list[Renamed] = field(default_factory=list)
    ours: dict[tuple[bytes, ...], bytes] = field(default_factory=dict)

    def leave(self, name: bytes, why: str) -> None:
        """Note what is not taken."""
        if len(self.left) < _MOST_TOLD:
            self.left.append(f"{_told(name)}: {why}")
        else:
            self.more_left += 1

    def path_of(self, name: bytes) -> tuple[bytes, ...] | None:
        """Return the names, ours where its own will not do, that lead to a member; None when it is not taken."""
        parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
        if name.startswith(b"/") or b".." in parts or not parts:
            why = "not a path below the directory"
        elif len(parts) > _DEEPEST:
            why = f"deeper than {_DEEPEST} directories"
        elif any(part.lower() == _OF_GIT for part in parts):
            why = "of git itself"
        else:
            return tuple(self._fit(parts[: depth + 1]) for depth in range(len(parts)))
        self.leave(name, why)
        return None

    def _fit(self, parts: tuple[bytes, ...]) -> bytes:
        """Return the last of ``parts`` as it is called here."""
        if _is_plain(parts[-1]):
            return parts[-1]
        if parts not in self.ours:
            self.ours[parts] = f"{_OURS}{len(self.ours) + 1}".encode()
        return self.ours[parts]


def unpack(archive: Path, root: Path, *, shown: str, charge: Charge) -> Unpacked:
    """Put the files of ``archive`` below the new directory ``root``, which stands as ``shown`` in what is told.

    Raises: BadArchive, NoSpace, and what ``charge`` raises.
    """
    work = _Unpacking(root, shown, charge)
    root.mkdir(mode=0o700)
    with archive.open("rb") as source:
        for number, member in enumerate(members(source)):
            if work.files >= MOST_FILES or number >= 4 * MOST_FILES:
                work.leave(member.name, f"more than {MOST_FILES} files")
                break
            if member.kind is Kind.FILE:
                _take(work, source, member)
            elif member.kind is Kind.LINK:
                work.links.append(f"{_told(member.name)}: a link to {_told(member.target)}")
            elif member.kind is not Kind.DIRECTORY:
                work.leave(member.name, "not a file")
    more = (f"and {work.more_left} more",) if work.more_left else ()
    return Unpacked(work.files, _first(work.links), (*work.left, *more), tuple(work.renamed))


def _first(links: list[str]) -> tuple[str, ...]:
    more = len(links) - _MOST_LINKS
    return (*links[:_MOST_LINKS], *((f"and {more} more links",) if more > 0 else ()))


def _take(work: _Unpacking, source: BinaryIO, member: Member) -> None:
    path = work.path_of(member.name)
    if path is None:
        return
    try:
        _write(work, source, member, path)
    except ToolFailed:
        work.leave(member.name, "there already is a file, or a directory, of that name")
        return
    work.files += 1
    if path != _split(member.name):
        work.renamed.append(Renamed(f"{work.shown}/{os.fsdecode(b'/'.join(path))}", _told(member.name)))


def _write(work: _Unpacking, source: BinaryIO, member: Member, path: tuple[bytes, ...]) -> None:
    with (
        Landing.root(work.root) as top,
        _descended(top, path[:-1]) as landing,
        landing.file(path[-1], is_executable=member.is_executable) as target,
    ):
        for piece in content(source, member):
            work.charge(len(piece))
            target.write(piece)
        if target.tell() != member.size:
            raise NoSpace(f"{landing.shown} cannot be written: no space left")


@contextmanager
def _descended(top: Landing, path: tuple[bytes, ...]) -> Iterator[Landing]:
    """Walk down by descriptors, which follow no link; directories are made as they are needed."""
    with ExitStack() as stack:
        landing = top
        for name in path:
            landing = stack.enter_context(landing.directory(name))
        yield landing


def _split(name: bytes) -> tuple[bytes, ...]:
    return tuple(part for part in name.split(b"/") if part not in (b"", b"."))


def _is_plain(name: bytes) -> bool:
    """Whether a name may stand on this machine as it is."""
    if not is_safe_name(name) or name.lower() == _HEAD or name.startswith((b"-", b"~", _OURS.encode())):
        return False
    try:
        return name.decode().isprintable() and name == name.strip()
    except UnicodeDecodeError:
        return False


def _told(name: bytes) -> str:
    return printable(name.removeprefix(b"./").decode("utf-8", "backslashreplace"), limit=300)
