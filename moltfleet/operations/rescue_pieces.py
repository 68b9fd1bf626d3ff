"""The pieces of one guest's work: listed smallest first, fetched until something ends it, then looked through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from moltfleet.model.errors import DeadlinePassed, GuestFailed, GuestUnreachable, MoltfleetError, NoCapacity
from moltfleet.model.names import printable
from moltfleet.model.rescue import Check, GitParts, Part, PartState, Renamed, Repository, RescueDraft, Unpacked
from moltfleet.model.size import Size
from moltfleet.operations.rescue_guest import Asking, too_large
from moltfleet.operations.rescue_list import Found, told

if TYPE_CHECKING:
    from moltfleet.operations.deadlines import Deadline

# One piece may not use up the time of all.
_LONGEST_PIECE_S = 300.0
_LARGEST_TEXT = 16 << 20
_LARGEST_PATCH = 512 << 20
# What rescue.sh ends with when there is nothing of that kind any more.
_NOTHING = 3
_ARCHIVES = ("files", "tree")
_TEXTS = ("screen", "logs")
# Of a repository, the smallest first.
_GIT = {"staged": "staged.patch", "unstaged": "unstaged.patch", "files": "files", "commits": "commits.bundle"}
_MOST_TOLD = 20
_AS_ROOT = "left packed: moltfleet is run by root, who unpacks nothing of a guest's"


@dataclass(frozen=True, slots=True)
class Piece:
    """Something to fetch: ``words`` are for the guest, ``name`` and ``origin`` as in :class:`Part`."""

    kind: str
    name: str
    origin: str
    words: tuple[bytes, ...]


def pieces(found: Found) -> Iterator[Piece]:
    """List what is to be fetched, in the order in which it had better be lost last."""
    for kind, name in _GIT.items():
        for number, repository in enumerate(found.repositories, 1):
            if kind in repository.kinds:
                yield Piece(kind, f"repository-{number}/{name}", told(repository.path), (repository.path,))
    for number, (socket, pane, session) in enumerate(found.screens, 1):
        yield Piece("screen", f"screen-{number}.txt", f"tmux session {session}", (socket, pane))
    if found.has_logs:
        yield Piece("logs", "logs.txt", "kills and crashes", ())
    for number, path in enumerate(found.trees, 1):
        yield Piece("tree", f"artifacts-{number}", told(path), (path,))


def described(found: Found) -> tuple[Repository, ...]:
    """Return the repositories with work in them as the manifest has them."""
    return tuple(
        Repository(f"repository-{n}", told(r.path), r.head, r.branch, r.remote, r.commits, r.stashes)
        for n, r in enumerate(found.repositories, 1)
        if r.kinds
    )


@dataclass(slots=True)
class Pieces:
    """Fetches into ``draft``, which is made when the first piece comes; remembers what became of each."""

    asking: Asking
    open_draft: Callable[[], RescueDraft]
    deadline: Deadline
    longest_s: float
    show: Callable[[str], None]
    draft: RescueDraft | None = None
    parts: list[Part] = field(default_factory=list)
    renamed: list[Renamed] = field(default_factory=list)
    details: list[str] = field(default_factory=list)

    def fetch_all(self, found: Found) -> None:
        """Fetch everything; when the guest breaks off, the rest is noted as left there."""
        lost: MoltfleetError | None = None
        for piece in pieces(found):
            if lost is None and self.deadline.has_passed:
                lost = DeadlinePassed("there was no time left")
            if lost is not None:
                self._leave(piece, lost)
                continue
            self.show(f"{piece.origin}: {piece.kind}")
            if self.draft is None:
                self.draft = self.open_draft()
            try:
                self._fetch(self.draft, piece)
            except (GuestUnreachable, DeadlinePassed) as error:
                self._leave(piece, error)
                lost = error
            except (GuestFailed, NoCapacity) as error:
                self._leave(piece, error)

    def _leave(self, piece: Piece, error: MoltfleetError) -> None:
        self.parts.append(Part(piece.kind, "", piece.origin, PartState.LEFT, printable(error.brief)))

    def _fetch(self, draft: RescueDraft, piece: Piece) -> None:
        """Fetch one piece. Raises: GuestUnreachable, DeadlinePassed, GuestFailed, NoCapacity, ToolFailed."""
        timeout_s = max(1.0, min(self.longest_s, self.deadline.left_s))
        if piece.kind in _TEXTS:
            self._fetch_text(draft, piece, timeout_s)
            return
        name = f"{piece.name}.tar" if piece.kind in _ARCHIVES else piece.name
        limit = _LARGEST_PATCH if piece.kind in ("staged", "unstaged") else None
        with draft.receive(name) as write:
            status, said = self.asking.fetch(
                piece.kind, *piece.words, write=_limited(write, limit), timeout_s=timeout_s
            )
            if status not in (0, _NOTHING):
                raise GuestFailed(f"it ended with {status}{': ' if said else ''}{printable(said[-1]) if said else ''}")
        for large in too_large(said)[:_MOST_TOLD]:
            part = Part(piece.kind, "", f"{piece.origin}: {large}", PartState.LEFT, f"over {Size(self.asking.largest)}")
            self.parts.append(part)
        if status == _NOTHING or draft.size_of(name) == 0:
            draft.discard(name)
        else:
            self.parts.append(Part(piece.kind, name, piece.origin, PartState.KEPT))

    def _fetch_text(self, draft: RescueDraft, piece: Piece, timeout_s: float) -> None:
        text = bytearray()
        self.asking.fetch(piece.kind, *piece.words, write=_limited(text.extend, _LARGEST_TEXT), timeout_s=timeout_s)
        if text.strip():
            draft.write_text(piece.name, bytes(text))
            self.parts.append(Part(piece.kind, piece.name, piece.origin, PartState.KEPT))

    def look_through(self, repositories: tuple[Repository, ...]) -> None:
        """Check and unpack what was fetched; the guest is not needed for that any more."""
        if self.draft is None:
            return
        checks: dict[str, Check] = {}
        for repository in repositories:
            parts = self._git_parts(repository)
            if self.deadline.has_passed:
                late = Check(PartState.KEPT, "not looked through: there was no time left")
                checks |= dict.fromkeys((parts.commits, parts.staged, parts.unstaged), late)
                continue
            self.show(f"looking through {repository.path}")
            checks |= self.draft.check_repository(parts)
        self.parts = [self._looked_through(self.draft, part, checks) for part in self.parts]

    def _git_parts(self, repository: Repository) -> GitParts:
        mine = {part.kind: part.name for part in self.parts if part.name.startswith(f"{repository.folder}/")}
        return GitParts(repository.head, mine.get("commits", ""), mine.get("staged", ""), mine.get("unstaged", ""))

    def _looked_through(self, draft: RescueDraft, part: Part, checks: dict[str, Check]) -> Part:
        if not part.name or part.kind in _TEXTS:
            return part
        if part.kind in _ARCHIVES:
            return self._unpacked(draft, part)
        check = checks.get(part.name)
        if check is None:
            return part
        name = draft.mark_bad(part.name) if check.state is PartState.BAD else part.name
        return replace(part, name=name, state=check.state, detail=check.detail)

    def _unpacked(self, draft: RescueDraft, part: Part) -> Part:
        folder = part.name.removesuffix(".tar")
        try:
            unpacked = draft.unpack(part.name, folder)
        except (GuestFailed, NoCapacity) as error:
            return replace(part, name=draft.mark_bad(part.name), state=PartState.BAD, detail=printable(error.brief))
        if unpacked is None:
            return replace(part, detail=_AS_ROOT)
        return self._put(part, folder, unpacked)

    def _put(self, part: Part, folder: str, unpacked: Unpacked) -> Part:
        self.renamed += unpacked.renamed
        self.details += [f"{folder}: {line}" for line in (*unpacked.links, *unpacked.left_out)]
        if unpacked.left_out:
            # The archive is still there beside the directory.
            return replace(part, state=PartState.BAD, detail=f"{unpacked.files} file(s); some are no files to unpack")
        return replace(part, name=folder, state=PartState.SOUND, detail=f"{unpacked.files} file(s)")


def _limited(write: Callable[[bytes], object], limit: int | None) -> Callable[[bytes], None]:
    """Pass pieces on up to ``limit`` bytes. The writing then raises GuestFailed."""
    taken = 0

    def take(piece: bytes) -> None:
        nonlocal taken
        taken += len(piece)
        if limit is not None and taken > limit:
            raise GuestFailed(f"it is larger than {Size(limit)}")
        write(piece)

    return take
