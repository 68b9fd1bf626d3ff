"""Every shell program of bootstrap/ passes shellcheck, and parses in the two shells that guests have."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.allow("subprocess")

BOOTSTRAP = Path(__file__).parents[3] / "bootstrap"
PROGRAMS = sorted(path for path in BOOTSTRAP.iterdir() if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh"))


def test_the_programs_are_found() -> None:
    assert {"after-molt.sh", "before-save.sh", "provision.sh", "seal.sh", "step"} <= {path.name for path in PROGRAMS}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
@pytest.mark.parametrize("checker", [["shellcheck", "-s", "sh"], ["dash", "-n"], ["busybox", "sh", "-n"]], ids=" ".join)
def test_a_program_passes(checker: list[str], program: Path) -> None:
    done = subprocess.run([*checker, str(program)], capture_output=True, text=True)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")
