"""cloud-init/ and bootstrap/ are found in a checkout; the installed wheel has its own test in tests/host."""

from __future__ import annotations

from pathlib import Path

import pytest

from moltfleet.adapters.resources import BootstrapFiles, find_directory
from moltfleet.model.errors import NotFound


@pytest.mark.parametrize("name", ["bootstrap", "cloud-init"])
def test_a_checkout_has_its_directories_beside_the_package(name: str) -> None:
    assert find_directory(name).name == name


def test_a_directory_that_was_not_shipped_is_not_found() -> None:
    with pytest.raises(NotFound, match="'no-such' of moltfleet is not installed"):
        find_directory("no-such")


def test_a_bootstrap_file_is_read_as_it_is() -> None:
    assert BootstrapFiles().read("after-molt.sh").startswith(b"#!/bin/sh\n")


def test_the_files_of_bootstrap_are_listed(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("")
    (tmp_path / "a").write_text("")
    (tmp_path / "directory").mkdir()

    assert BootstrapFiles(tmp_path).names() == ("a", "b")


def test_a_bootstrap_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"File 'gone\.sh' of bootstrap/ cannot be read"):
        BootstrapFiles(tmp_path).read("gone.sh")
