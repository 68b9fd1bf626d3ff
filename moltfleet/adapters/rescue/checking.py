"""What git finds when it looks through one repository's rescued parts: whole, applicable, or lying."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from moltfleet.adapters.rescue.bundles import BadBundle, BundleHead, read_head
from moltfleet.adapters.rescue.gitbox import GitBox, a_box
from moltfleet.adapters.run import RunResult, failure
from moltfleet.model.errors import DeadlinePassed, ToolFailed
from moltfleet.model.names import printable
from moltfleet.model.rescue import Check, GitParts, PartState

_PACK = "box.git/objects/pack/pack-rescued.pack"
_INDEX = "index"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def check_repository(place: Path, parts: GitParts, *, is_root: bool) -> Mapping[str, Check]:
    """Look through the parts of a repository, which are named by their paths below ``place``; checks by name."""
    names = [name for name in (parts.commits, parts.staged, parts.unstaged) if name]
    if not names:
        return {}
    try:
        with a_box(place, is_root=is_root) as box:
            return _Checking(box, place, parts).run()
    except (ToolFailed, DeadlinePassed, OSError) as error:
        # git is not installed, or the disk is full: nothing is known to be wrong.
        reason = getattr(error, "brief", None) or str(error)
        return {name: Check(PartState.KEPT, f"not looked through: {printable(reason)}") for name in names}


@dataclass(slots=True)
class _Checking:
    """One repository's checks; ``base`` is the commit that patches are tried on, once it is known to be whole."""

    box: GitBox
    place: Path
    parts: GitParts
    base: str | None = None
    is_unborn: bool = False
    checks: dict[str, Check] = field(default_factory=dict)

    def run(self) -> Mapping[str, Check]:
        """Check the bundle first: patches are tried on what it holds."""
        self.is_unborn = not self.parts.head
        if self.parts.commits:
            self.checks[self.parts.commits] = self._bundle(self.place / self.parts.commits)
        else:
            self.box.make()
        patches = [name for name in (self.parts.staged, self.parts.unstaged) if name]
        if patches and (self.base or self.is_unborn):
            tree = ("--empty",) if self.is_unborn else (self.base or "",)
            self.box.git("read-tree", *tree, index=_INDEX)
        for number, name in enumerate(patches):
            self.checks[name] = self._patch(self.place / name, f"{number}.patch")
        return self.checks

    def _bundle(self, path: Path) -> Check:
        try:
            head = read_head(path)
        except BadBundle as error:
            self.box.make()
            return Check(PartState.BAD, str(error))
        self.box.make(head.object_format)
        self.box.bring(path, _PACK, offset=head.offset)
        indexed = self.box.git("index-pack", "--fsck-objects", str(self.box.directory / _PACK), check=False)
        if indexed.exit_code < 0:
            # Over a limit of time: it may be sound, and only large.
            raise failure(indexed)
        if indexed.exit_code != 0:
            self.box.make(head.object_format)
            return Check(PartState.BAD, _said(indexed))
        try:
            return self._contents(head)
        except BadBundle as error:
            self.base = None
            return Check(PartState.BAD, str(error))

    def _contents(self, head: BundleHead) -> Check:
        """Prove that the refs are in the pack, and that nothing is missing but what the head says is needed."""
        listed = self.box.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)").text
        kinds = dict(line.split(" ", 1) for line in listed.splitlines())
        absent = [name for name, tip in head.refs if kinds.get(tip) not in ("commit", "tag")]
        if absent:
            raise BadBundle(f"{printable(absent[0], limit=70)} is not in it")
        commits = {name for name, kind in kinds.items() if kind == "commit"}
        if self._parents(commits) - commits - head.needed:
            raise BadBundle("commits are missing that it does not ask for")
        if not head.needed:
            self._prove_whole(head)
            if _COMMIT.fullmatch(self.parts.head) and self.parts.head in commits:
                self.base = self.parts.head
        needs = f"it stands on {len(head.needed)} commit(s) of the remote" if head.needed else "it stands alone"
        return Check(PartState.SOUND, f"{len(commits)} commit(s) in {len(head.refs)} ref(s); {needs}")

    def _parents(self, commits: set[str]) -> set[str]:
        if not commits:
            return set()
        given = "".join(f"{name}\n" for name in commits).encode()
        shown = self.box.git("log", "--no-walk=unsorted", "--stdin", "--format=%P", input=given)
        return set(shown.text.split())

    def _prove_whole(self, head: BundleHead) -> None:
        """Walk everything from the refs down; they get names of ours for it."""
        tips = "".join(f"create refs/rescued/{number} {tip}\n" for number, (_, tip) in enumerate(head.refs))
        self.box.git("update-ref", "--stdin", input=tips.encode())
        walked = self.box.git("rev-list", "--objects", "--quiet", "--all", check=False)
        if walked.exit_code != 0:
            raise BadBundle(f"it is not whole: {_said(walked)}")

    def _patch(self, path: Path, name: str) -> Check:
        """Read a patch, and apply it where its base is known: first what was staged, then the rest on top of that."""
        patch = self.box.bring(path, name)
        read = self.box.git("apply", "--numstat", "-z", str(patch), check=False)
        if read.exit_code != 0:
            return Check(PartState.BAD, _said(read))
        touched = [entry for entry in read.stdout.split(b"\0") if entry]
        if any(_leads_out(entry.split(b"\t", 2)[-1]) for entry in touched):
            return Check(PartState.BAD, "it names files outside its repository, or of git itself")
        if not (self.base or self.is_unborn):
            return Check(PartState.SOUND, f"{len(touched)} file(s); reads as a patch, and needs files of the remote")
        applied = self.box.git("apply", "--cached", str(patch), index=_INDEX, check=False)
        if applied.exit_code != 0:
            return Check(PartState.BAD, _said(applied))
        return Check(PartState.SOUND, f"{len(touched)} file(s); applies")


def _leads_out(path: bytes) -> bool:
    parts = path.split(b"/")
    return path.startswith(b"/") or b".." in parts or any(part.lower() == b".git" for part in parts)


def _said(result: RunResult) -> str:
    lines = result.stderr.decode("utf-8", "replace").strip().splitlines()
    return printable(lines[-1] if lines else f"git ended with {result.exit_code}", limit=200)
