"""`scripts/userland` says what it cannot do before it does anything; the tests that run on it show what it can."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "scripts/userland"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no command given, such as -- scripts/test tests/system"),
        (["--release", "trixie", "--"], "no command given"),
        (["--release", "woody", "--", "true"], "argument --release: invalid choice: 'woody'"),
    ],
)
def test_a_useless_command_line_is_refused(arguments: list[str], said: str) -> None:
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
