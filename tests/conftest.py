"""Golden files: expected output, word for word, under tests/golden/; and which tests belong together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

# Assertions of modules that only hold tests for others to inherit read as those of tests.
pytest.register_assert_rewrite("contract", "fakes.soundness")
GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write golden files anew instead of comparing them")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what shares a lab in one process (``--dist loadgroup``); full guests take longest, and begin."""
    for item in items:
        shares_golden = "full_lab" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("full_lab" if shares_golden else item.path.stem))
    items.sort(key=lambda item: item.get_closest_marker("full_guest") is None)


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
