"""What is put into guests: Python 3.10, its standard library, and nothing of moltfleet."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

GUEST = Path(__file__).parents[3] / "bootstrap/guest"
FILES = sorted([*GUEST.rglob("*.py"), *(GUEST / "bin").iterdir()])
# Came with 3.11 or later.
TOO_NEW = {"tomllib", "wsgiref.types", "enum.StrEnum", "datetime.UTC", "typing.Self", "typing.Never"}


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(GUEST)))
def test_a_file_is_of_python_3_10_and_needs_nothing_else(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 10))
    found = set(imported(tree))

    assert found & TOO_NEW == set()
    assert {name.split(".")[0] for name in found} <= sys.stdlib_module_names | {"moltguest", "__future__"}
    assert ast.get_docstring(tree)


@pytest.mark.parametrize("program", sorted((GUEST / "bin").iterdir()), ids=lambda path: path.name)
def test_a_program_can_be_run_and_reads_no_other_python(program: Path) -> None:
    assert program.stat().st_mode & 0o111
    first = program.read_text().splitlines()[0]
    assert first.startswith("#!/bin/sh") or first in ("#!/usr/bin/python3 -IS", "#!/usr/bin/python3 -I")
