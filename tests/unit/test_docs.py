"""The generated pages of docs/ are as fresh as the code."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def generator() -> ModuleType:
    loader = SourceFileLoader("gen_docs", str(ROOT / "scripts/gen-docs"))
    spec = spec_from_loader("gen_docs", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cli.md", "config.md"])
def test_a_page_is_what_the_code_says_now(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == generator().PAGES[name](), "run scripts/gen-docs"


def test_every_exit_code_is_explained() -> None:
    from moltfleet.model.errors import ExitCode

    assert set(generator().EXIT_MEANINGS) == set(ExitCode)
