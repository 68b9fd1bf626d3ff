"""Rescues in a directory of this machine: private, bounded, finished or not there, and verified when they are read."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from contract.rescues import RescuesContract
from moltfleet.adapters.rescue.store import RescueFiles
from moltfleet.model.errors import GuestFailed, InvalidInput, NoCapacity, NoSpace, ToolFailed
from moltfleet.model.rescue import Manifest, Outcome, Part, PartState, SavedRescue, is_label, label_of
from moltfleet.model.size import Size
from unit.adapters.rescue.archives import END, a_file, header

LABEL = "20261121T031500Z"
MANIFEST = Manifest("crab-1", "base", 1, "agent", "2026-11-21T03:15:00Z", "a test", Outcome.RESCUED)


def a_store(root: Path, *, per_clone: int = 10_000, total: int = 20_000, free: int = 2**40) -> RescueFiles:
    return RescueFiles(
        root, per_clone=Size(per_clone), total=Size(total), is_root=False, measure_free=lambda _: Size(free)
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "rescued"


class TestRescueFiles(RescuesContract):
    """RescueFiles keeps the contract."""

    @pytest.fixture
    def rescues(self, root: Path) -> RescueFiles:
        return a_store(root)


def a_rescue(store: RescueFiles, *, clone: str = "crab-1", label: str = LABEL, size: int = 100) -> SavedRescue:
    with store.begin(clone, label) as draft:
        with draft.receive("repository-1/staged.patch") as write:
            write(b"x" * size)
        part = Part("staged", "repository-1/staged.patch", "/w", PartState.SOUND)
        return draft.finish(replace(MANIFEST, clone=clone, parts=(part,)))


def test_a_finished_rescue_is_read_back_as_it_was_written(root: Path) -> None:
    store = a_store(root)
    saved = a_rescue(store)
    assert saved.directory == root / "crab-1" / LABEL
    assert store.saved() == (saved,)
    assert saved.manifest is not None
    assert [(file.name, file.size) for file in saved.manifest.files] == [("repository-1/staged.patch", 100)]
    assert (saved.size, store.verify(saved)) == (Size(100), ())


def test_everything_is_for_its_user_alone(root: Path) -> None:
    root.mkdir(mode=0o755)
    a_rescue(a_store(root))
    modes = {path: path.stat().st_mode & 0o777 for path in (root, *root.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_what_is_not_finished_is_not_there(root: Path) -> None:
    store = a_store(root)
    with pytest.raises(KeyboardInterrupt), store.begin("crab-1", LABEL) as draft:
        draft.write_text("logs.txt", b"text")
        raise KeyboardInterrupt
    assert [path for path in root.rglob("*") if path.is_file()] == []
    assert store.saved() == ()


def test_a_file_that_broke_off_leaves_nothing_and_takes_no_room(root: Path) -> None:
    store = a_store(root, per_clone=1000)
    with store.begin("crab-1", LABEL) as draft:
        for _ in range(5):
            with pytest.raises(GuestFailed), draft.receive("x") as write:
                write(b"x" * 600)
                raise GuestFailed("lost")
        with draft.receive("x") as write:
            write(b"x" * 600)
        saved = draft.finish(MANIFEST)
    assert {path.name for path in saved.directory.iterdir()} == {"x", "manifest.json"}
    assert saved.size == Size(600)


def test_a_second_rescue_of_one_second_gets_another_name(root: Path) -> None:
    store = a_store(root)
    first, second = a_rescue(store), a_rescue(store)
    assert (first.label, second.label) == (LABEL, f"{LABEL}-2")
    assert is_label(second.label)
    assert [saved.label for saved in store.saved()] == [LABEL, f"{LABEL}-2"]


def test_what_one_clone_may_take_counts_over_all_its_rescues(root: Path) -> None:
    store = a_store(root, per_clone=2400)
    a_rescue(store, size=700)
    with pytest.raises(NoCapacity, match=r"Rescues of 'crab-1' may not take more than"):
        a_rescue(store, size=1700)
    a_rescue(store, clone="crab-2", size=1700)
    assert {saved.clone for saved in store.saved()} == {"crab-1", "crab-2"}


def test_what_all_may_take_is_a_limit_of_its_own(root: Path) -> None:
    store = a_store(root, total=5000)
    for number in range(1, 3):
        a_rescue(store, clone=f"crab-{number}", size=1500)
    with pytest.raises(NoCapacity, match="together") as caught:
        a_rescue(store, clone="crab-3", size=1500)
    assert caught.value.hint is not None and "moltfleet rescue prune" in caught.value.hint
    assert len(store.saved()) == 2


def test_two_rescues_at_once_share_a_clones_room(root: Path) -> None:
    store = a_store(root, per_clone=1000)
    with store.begin("crab-1", LABEL) as one, store.begin("crab-1", LABEL) as other:
        with one.receive("x") as write:
            write(b"x" * 600)
        with pytest.raises(NoCapacity), other.receive("x") as write:
            write(b"x" * 600)


def test_a_disk_that_is_nearly_full_is_left_alone(root: Path) -> None:
    with pytest.raises(NoSpace, match="at least 1 GiB"):
        a_rescue(a_store(root, free=2**30 - 1))
    assert a_store(root).saved() == ()


@pytest.mark.parametrize("name", ["../crab", "a/b", "", "Crab", ".", "x\n"])
def test_a_clones_name_is_checked_before_it_is_a_path(root: Path, name: str) -> None:
    with pytest.raises(InvalidInput), a_store(root).begin(name, LABEL):
        pass
    assert not root.exists()


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ""])
def test_a_part_cannot_be_named_outside_its_rescue(root: Path, name: str) -> None:
    with a_store(root).begin("crab-1", LABEL) as draft, pytest.raises(ValueError, match="not below"):
        draft.write_text(name, b"x")


def test_a_text_is_safe_for_a_terminal(root: Path) -> None:
    with a_store(root).begin("crab-1", LABEL) as draft:
        draft.write_text("screen-1.txt", b"one\x1b[2J\r\ntwo\x9b31m\xff\ttab\n\x00")
        saved = draft.finish(MANIFEST)
    text = (saved.directory / "screen-1.txt").read_text()
    assert text == "one?[2J\ntwo?31m?\ttab\n?".replace("?31m?", "\ufffd31m\ufffd")


def tampered(directory: Path, how: str) -> None:
    patch = directory / "repository-1/staged.patch"
    if how == "changed":
        patch.write_bytes(b"y" * 100)
    elif how == "gone":
        patch.unlink()
    elif how == "added":
        (directory / "more").write_text("x")
    elif how == "a link":
        patch.rename(directory.parent / "elsewhere")
        patch.symlink_to(directory.parent / "elsewhere")
    else:
        patch.unlink()
        os.mkfifo(patch)


@pytest.mark.parametrize(
    ("how", "flaw"),
    [
        ("changed", "repository-1/staged.patch has changed"),
        ("gone", "repository-1/staged.patch is gone"),
        ("added", "more is not in the manifest"),
        ("a link", "repository-1/staged.patch has changed"),
        ("a pipe", "repository-1/staged.patch has changed"),
    ],
)
def test_what_was_changed_afterwards_is_found(root: Path, how: str, flaw: str) -> None:
    store = a_store(root)
    saved = a_rescue(store)
    tampered(saved.directory, how)
    assert store.verify(saved) == (flaw,)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"schema": "other/1"}', b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_none_makes_an_unfinished_rescue(root: Path, content: bytes) -> None:
    store = a_store(root)
    saved = a_rescue(store)
    (saved.directory / "manifest.json").write_bytes(content)
    (found,) = store.saved()
    assert found.manifest is None
    assert store.verify(found) == ("it was interrupted, or its manifest cannot be read",)


def test_a_manifest_of_another_form_is_not_believed(root: Path) -> None:
    store = a_store(root)
    path = a_rescue(store).directory / "manifest.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"outcome": "splendid"}))
    assert store.saved()[0].manifest is None


def test_an_interrupted_rescue_shows_up_once_nobody_can_be_at_it(root: Path) -> None:
    store = a_store(root)
    left = root / f"crab-1/{LABEL}.unfinished"
    left.mkdir(parents=True)
    (left / "x").write_text("x")
    assert store.saved() == ()
    old = time.time() - 7 * 3600
    for path in (left, left / "x"):
        os.utime(path, (old, old))
    (found,) = store.saved()
    assert (found.label, found.manifest, found.size) == (LABEL, None, Size(1))
    store.delete(found)
    assert not (root / "crab-1").exists()


def test_what_is_not_ours_is_neither_listed_nor_deleted(root: Path, tmp_path: Path) -> None:
    store = a_store(root)
    saved = a_rescue(store)
    (root / "crab-1/notes").mkdir()
    (root / "crab-1/20261122T000000Z").symlink_to(tmp_path)
    (root / "file").write_text("x")
    assert store.saved() == (saved,)
    with pytest.raises(ValueError, match="not one of ours"):
        store.delete(replace(saved, directory=tmp_path))
    store.delete(saved)
    assert (root / "crab-1/notes").is_dir()


def test_a_directory_of_somebody_else_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root.mkdir()
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(ToolFailed, match="belongs to somebody else"), a_store(root).begin("crab-1", LABEL):
        pass


def test_an_archive_is_unpacked_and_gone_unless_something_was_left_out(root: Path) -> None:
    with a_store(root, per_clone=50_000, total=90_000).begin("crab-1", LABEL) as draft:
        for name, content in (("good", a_file(b"a") + END), ("odd", a_file(b"/a") + END), ("bad", b"no archive")):
            with draft.receive(f"{name}.tar") as write:
                write(content)
        assert draft.unpack("good.tar", "good") is not None
        assert draft.unpack("odd.tar", "odd") is not None
        with pytest.raises(GuestFailed, match="no archive"):
            draft.unpack("bad.tar", "bad")
        assert draft.mark_bad("bad.tar") == "bad.tar.bad"
        saved = draft.finish(MANIFEST)
    assert saved.manifest is not None
    assert {file.name for file in saved.manifest.files} == {"good/a", "odd.tar", "bad.tar.bad"}


def test_what_an_archive_holds_counts_while_it_is_unpacked(root: Path) -> None:
    with a_store(root, per_clone=20_000).begin("crab-1", LABEL) as draft:
        with draft.receive("x.tar") as write:
            write(a_file(b"a", bytes(12_000)) + END)
        with pytest.raises(NoCapacity):
            draft.unpack("x.tar", "x")


def test_root_unpacks_nothing(root: Path) -> None:
    store = RescueFiles(root, per_clone=Size(2**30), total=Size(2**30), is_root=True)
    with store.begin("crab-1", LABEL) as draft:
        with draft.receive("x.tar") as write:
            write(a_file(b"a") + header(b"d", 0, b"5") + END)
        assert draft.unpack("x.tar", "x") is None
        assert [file.name for file in draft.finish(MANIFEST).manifest.files] == ["x.tar"]  # type: ignore[union-attr]


def test_a_label_is_a_date() -> None:
    assert label_of("2026-11-21T03:15:00Z") == LABEL
    assert is_label(LABEL) and is_label(f"{LABEL}-12")
    wrong = ("", "x", f"{LABEL}-", f"{LABEL}-x", f"{LABEL}/..", "20261121T0315000", f"{LABEL}-²", "2026112²T031500Z")
    assert [text for text in wrong if is_label(text)] == []
