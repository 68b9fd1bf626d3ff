"""A file is read once, and again only after it changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from moltfleet.adapters.digests import DigestCache
from moltfleet.adapters.localfile import write_atomically


@pytest.fixture
def cache(tmp_path: Path) -> DigestCache:
    return DigestCache(tmp_path / "digests")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(b"a" * 3_000_000)
    return path


def test_a_computed_digest_is_known_afterwards(cache: DigestCache, file: Path) -> None:
    assert cache.known(file, "sha256", known_as=file) is None
    digest = cache.compute(file, "sha256", known_as=file)
    assert digest == hashlib.sha256(b"a" * 3_000_000).hexdigest()
    assert cache.known(file, "sha256", known_as=file) == digest
    assert cache.known(file, "sha512", known_as=file) is None


def test_a_changed_file_is_not_known(cache: DigestCache, file: Path) -> None:
    cache.compute(file, "sha256", known_as=file)
    os.utime(file, ns=(1, 1))
    assert cache.known(file, "sha256", known_as=file) is None


def test_a_digest_stays_known_through_a_renaming_that_was_told(cache: DigestCache, file: Path, tmp_path: Path) -> None:
    final = tmp_path / "final"
    digest = cache.compute(file, "sha256", known_as=final)
    file.rename(final)
    assert cache.known(final, "sha256", known_as=final) == digest


def test_the_bytes_are_told_as_they_are_read(cache: DigestCache, file: Path) -> None:
    told: list[int] = []
    cache.compute(file, "sha256", known_as=file, on_bytes=told.append)
    assert told == [1 << 20, 2 << 20, 3_000_000]


def test_a_file_that_changes_while_it_is_read_is_not_remembered(cache: DigestCache, file: Path) -> None:
    cache.compute(file, "sha256", known_as=file, on_bytes=lambda _: os.utime(file, ns=(1, 1)))
    assert cache.known(file, "sha256", known_as=file) is None


def test_a_failed_write_leaves_neither_the_new_file_nor_a_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "taken", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
