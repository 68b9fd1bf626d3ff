"""What a place for rescued work does with it, wherever that is. A limit of 10,000 bytes for a clone is expected."""

from __future__ import annotations

import pytest

from moltfleet.model.errors import GuestFailed, NoCapacity
from moltfleet.model.rescue import GitParts, Manifest, Outcome, RescueDraft, Rescues

LABEL = "20261121T031500Z"
MANIFEST = Manifest("crab-1", "base", 1, "agent", "2026-11-21T03:15:00Z", "a test", Outcome.RESCUED)


def put(draft: RescueDraft, name: str, content: bytes) -> None:
    with draft.receive(name) as write:
        for start in range(0, len(content), 100):
            write(content[start : start + 100])


class RescuesContract:
    """Runs on the fake and on the files."""

    def test_what_is_finished_is_there_with_its_files(self, rescues: Rescues) -> None:
        with rescues.begin("crab-1", LABEL) as draft:
            put(draft, "repository-1/staged.patch", b"x" * 250)
            draft.write_text("logs.txt", b"text\n")
            assert draft.size_of("repository-1/staged.patch") == 250
            saved = draft.finish(MANIFEST)
        assert rescues.saved() == (saved,)
        assert (saved.clone, saved.label, saved.size.bytes) == ("crab-1", LABEL, 255)
        assert saved.directory == rescues.place() / "crab-1" / LABEL
        assert saved.manifest is not None
        assert [(file.name, file.size) for file in saved.manifest.files] == [
            ("logs.txt", 5), ("repository-1/staged.patch", 250)
        ]  # fmt: skip
        assert rescues.verify(saved) == ()

    def test_what_is_not_finished_is_nowhere(self, rescues: Rescues) -> None:
        with rescues.begin("crab-1", LABEL) as draft:
            put(draft, "x", b"x")
        assert rescues.saved() == ()

    def test_of_a_file_that_broke_off_nothing_is_left(self, rescues: Rescues) -> None:
        with rescues.begin("crab-1", LABEL) as draft:
            for _ in range(3):
                with pytest.raises(GuestFailed), draft.receive("x") as write:
                    write(b"x" * 4000)
                    raise GuestFailed("lost")
            put(draft, "y", b"y")
            draft.discard("y")
            put(draft, "z", b"z")
            saved = draft.finish(MANIFEST)
        assert saved.manifest is not None
        assert [file.name for file in saved.manifest.files] == ["z"]

    def test_more_than_a_clone_may_take_is_refused(self, rescues: Rescues) -> None:
        with rescues.begin("crab-1", LABEL) as draft:
            with pytest.raises(NoCapacity):
                put(draft, "x", b"x" * 11_000)
            put(draft, "y", b"y" * 5000)
            assert draft.finish(MANIFEST).size.bytes == 5000

    def test_a_bad_part_gets_a_name_that_says_so(self, rescues: Rescues) -> None:
        with rescues.begin("crab-1", LABEL) as draft:
            put(draft, "a/x.patch", b"x")
            assert draft.mark_bad("a/x.patch") == "a/x.patch.bad"
            saved = draft.finish(MANIFEST)
        assert saved.manifest is not None
        assert [file.name for file in saved.manifest.files] == ["a/x.patch.bad"]

    def test_a_repository_without_parts_needs_no_check(self, rescues: Rescues) -> None:
        with rescues.begin("crab-1", LABEL) as draft:
            assert dict(draft.check_repository(GitParts(""))) == {}

    def test_what_is_deleted_is_gone_and_the_others_stay(self, rescues: Rescues) -> None:
        for label in (LABEL, "20261122T031500Z"):
            with rescues.begin("crab-1", label) as draft:
                put(draft, "x", b"x")
                draft.finish(MANIFEST)
        first, second = rescues.saved()
        rescues.delete(first)
        assert rescues.saved() == (second,)
