"""Rescued work in memory: what was received, and checks that come out as a test wants them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from moltfleet.model.errors import NoCapacity
from moltfleet.model.rescue import (
    Check,
    GitParts,
    Manifest,
    PartState,
    SavedRescue,
    StoredFile,
    Unpacked,
)
from moltfleet.model.size import Size


@dataclass
class FakeDraft:
    """The RescueDraft port."""

    store: FakeRescues
    clone: str
    label: str
    files: dict[str, bytes] = field(default_factory=dict)

    @contextmanager
    def receive(self, name: str) -> Iterator[Callable[[bytes], None]]:
        taken = bytearray()

        def write(piece: bytes) -> None:
            if sum(map(len, self.files.values())) + len(taken) + len(piece) >= self.store.limit:
                raise NoCapacity(f"Rescues of {self.clone!r} may not take more than {Size(self.store.limit)}")
            taken.extend(piece)

        yield write
        self.files[name] = bytes(taken)

    def write_text(self, name: str, content: bytes) -> None:
        with self.receive(name) as write:
            write(content)

    def size_of(self, name: str) -> int:
        return len(self.files[name])

    def discard(self, name: str) -> None:
        del self.files[name]

    def mark_bad(self, name: str) -> str:
        self.files[f"{name}.bad"] = self.files.pop(name)
        return f"{name}.bad"

    def check_repository(self, parts: GitParts) -> Mapping[str, Check]:
        names = [name for name in (parts.commits, parts.staged, parts.unstaged) if name]
        return {name: self.store.checks.get(name, Check(PartState.SOUND, "applies")) for name in names}

    def unpack(self, archive: str, folder: str) -> Unpacked | None:
        unpacked = self.store.unpacked
        if unpacked is not None and not unpacked.left_out:
            self.files[f"{folder}/file"] = self.files.pop(archive)
        return unpacked

    def finish(self, manifest: Manifest) -> SavedRescue:
        stored = tuple(StoredFile(name, len(content), "") for name, content in sorted(self.files.items()))
        manifest = replace(manifest, files=stored)
        size = Size(sum(file.size for file in stored))
        saved = SavedRescue(self.clone, self.label, self.store.place() / self.clone / self.label, size, manifest)
        self.store.all.append(saved)
        self.store.contents[saved.directory] = self.files
        return saved


@dataclass
class FakeRescues:
    """The Rescues port. ``checks`` and ``unpacked`` are what looking through shows; ``flaws`` what verifying does."""

    limit: int = 2**31
    checks: dict[str, Check] = field(default_factory=dict)
    unpacked: Unpacked | None = field(default_factory=lambda: Unpacked(1))
    flaws: tuple[str, ...] = ()
    refusal: NoCapacity | None = None
    all: list[SavedRescue] = field(default_factory=list)
    contents: dict[Path, dict[str, bytes]] = field(default_factory=dict)

    def place(self) -> Path:
        return Path("/rescued")

    @contextmanager
    def begin(self, clone: str, label: str) -> Iterator[FakeDraft]:
        if self.refusal is not None:
            raise self.refusal
        yield FakeDraft(self, clone, label)

    def saved(self) -> tuple[SavedRescue, ...]:
        return tuple(self.all)

    def verify(self, saved: SavedRescue) -> tuple[str, ...]:
        return self.flaws

    def delete(self, saved: SavedRescue) -> None:
        self.all.remove(saved)
