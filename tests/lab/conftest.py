"""Run scripts/lab as a person would, in a lab of its own that is always taken down."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
ROOT = Path("/var/lib/moltfleet-lab")


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab by its name, driven through the command line."""

    name: str

    @property
    def base(self) -> Path:
        return ROOT / self.name

    def run(self, command: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of the lab's commands."""
        argv = [str(SCRIPTS / "lab"), command, "--name", self.name, *arguments]
        result = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert not check or result.returncode == 0, result.stderr
        return result

    def exec(self, *argv: str, user: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside the lab."""
        options = ["--user", user] if user else []
        return self.run("exec", *options, "--", *argv, check=check)

    def output(self, *argv: str) -> str:
        """Return what a command inside the lab prints."""
        return self.exec(*argv).stdout.strip()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Give a lab that is up."""
    lab = Lab(f"pytest-{os.getpid()}")
    lab.run("up")
    yield lab
    lab.run("down")


@pytest.fixture
def new_lab() -> Iterator[Callable[[], Lab]]:
    """Give a maker of further labs, each taken down afterwards."""
    made: list[Lab] = []

    def make() -> Lab:
        lab = Lab(f"pytest-{os.getpid()}-{len(made)}")
        made.append(lab)
        lab.run("up")
        return lab

    yield make
    for lab in made:
        lab.run("down")
