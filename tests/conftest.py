"""Golden files: expected output, word for word, under tests/golden/; and which tests belong together."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Assertions of modules that only hold tests for others to inherit read as those of tests.
pytest.register_assert_rewrite("contract", "fakes.soundness")
GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write golden files anew instead of comparing them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let full guests begin, as they take longest."""
    items.sort(key=lambda item: item.get_closest_marker("full_guest") is None)


class SharedLabs(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Keep a file in one process (``--dist loadfile``), and all files that use the golden of full guests."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "full guests" if shares_golden(Path(self.config.rootpath, file)) else file


@cache
def shares_golden(file: Path) -> bool:
    """Whether tests of a file ask for the lab of full guests, or for something in it."""
    return re.search(r"\b(full_lab|owner|river)\b", file.read_text()) is not None


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedLabs | None:
    """Hand out tests of labs by what they share."""
    return SharedLabs(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare text with the golden file of that name, such as ``help/molt.txt``."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--regenerate"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.is_file(), f"no {path.relative_to(GOLDEN.parent)}: run pytest --regenerate and look at the diff"
        assert text == path.read_text()

    return compare
