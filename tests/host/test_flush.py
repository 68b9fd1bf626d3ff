"""Flushing a file system: really done, by anybody who may read one file, and not after something went wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moltfleet.adapters import flush
from moltfleet.adapters.flush import FlushedFileSystem


def open_files() -> set[str]:
    return {str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()}


def test_a_file_system_is_flushed_by_any_file_of_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 1_000_000)
    with FlushedFileSystem(str(file)):
        file.write_bytes(b"y" * 1_000_000)
    assert str(file) not in open_files()


def test_a_file_that_cannot_be_opened_is_told_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FlushedFileSystem(str(tmp_path / "none"))


def test_a_disk_that_fails_is_told(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(write_end)
    os.close(read_end)
    with pytest.raises(OSError, match="Bad file descriptor"):
        flush._flush(read_end)


def test_nothing_is_flushed_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushes: list[int] = []
    monkeypatch.setattr(flush, "_flush", flushes.append)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ValueError), FlushedFileSystem(str(file)):
        raise ValueError
    assert flushes == []
    assert str(file) not in open_files()
