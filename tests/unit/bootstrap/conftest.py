"""The guest's programs are run for real, on made-up trees and with stand-ins for what would touch this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

BOOTSTRAP = Path(__file__).parents[3] / "bootstrap"


@pytest.fixture
def bootstrap() -> Path:
    return BOOTSTRAP


@pytest.fixture
def stand_ins(tmp_path: Path) -> Callable[..., Path]:
    """Make programs that write how they were called to ``calls``; returns their directory."""
    directory = tmp_path / "bin"
    directory.mkdir()

    def make(**bodies: str) -> Path:
        for name, body in bodies.items():
            program = directory / name
            program.write_text(f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/calls\n{body}\n')
            program.chmod(0o755)
        return directory

    return make
