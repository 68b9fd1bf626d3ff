"""A guest of 4 GiB as files, and a watchdog over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.guesttree import GuestTree, Scene


@pytest.fixture
def tree(tmp_path: Path) -> GuestTree:
    return GuestTree(tmp_path)


@pytest.fixture
def scene(tree: GuestTree) -> Scene:
    return Scene(tree)
