"""bootstrap/provision.sh: the tools go into a guest, and a package that is not there is a named step."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.allow("subprocess")


@pytest.fixture
def provision(bootstrap: Path, tmp_path: Path, stand_ins: Callable[..., Path]) -> Callable[..., int]:
    """Run a copy of the script, whose programs are stand-ins, with its tools in a made-up library."""
    programs = stand_ins(
        **{"apt-get": "case $* in *nosuch*) echo 'E: Unable to locate package nosuch'; exit 100 ;; esac"}
    )
    copy = tmp_path / "copied"
    shutil.copytree(bootstrap, copy, ignore=shutil.ignore_patterns("__pycache__"))
    script = copy / "provision.sh"
    script.write_text(script.read_text().replace("PATH=/usr/local/sbin:", f"PATH={programs}:/usr/local/sbin:"))

    def run(*arguments: str) -> int:
        environment = {
            "PATH": "/usr/bin:/bin",
            "MOLTFLEET_LIB": str(tmp_path / "library"),
            "MOLTFLEET_LOG_DIR": str(tmp_path / "logs"),
        }
        return subprocess.run(["dash", str(script), *arguments], capture_output=True, env=environment).returncode

    return run


def steps(tmp_path: Path) -> dict[str, int]:
    lines = (tmp_path / "logs/steps.log").read_text().splitlines()
    return {step["step"]: step["exit"] for step in map(json.loads, lines)}


def test_the_tools_are_installed_with_their_version(provision: Callable[..., int], tmp_path: Path) -> None:
    assert provision("1.2.3") == 0

    library = tmp_path / "library"
    assert (library / "version").read_text() == "1.2.3\n"
    installed = {path.name for path in library.iterdir()}
    assert {"after-molt.sh", "before-save.sh", "seal.sh", "step", "verify.py"} <= installed
    assert (library / "seal.sh").stat().st_mode & 0o777 == 0o755
    assert steps(tmp_path) == {"tools": 0}


def test_a_second_run_completes_the_first(provision: Callable[..., int], tmp_path: Path) -> None:
    provision("1.2.3")
    (tmp_path / "library/step").unlink()

    assert provision("1.2.4") == 0
    assert (tmp_path / "library/step").exists()
    assert (tmp_path / "library/version").read_text() == "1.2.4\n"


def test_extra_packages_are_installed_in_one_go(provision: Callable[..., int], tmp_path: Path) -> None:
    assert provision("1.2.3", "golang", "zig") == 0

    (update, install) = (tmp_path / "calls").read_text().splitlines()
    assert update.endswith(" update")
    assert install.endswith(" install -- golang zig")


def test_a_package_that_is_not_there_is_a_named_failure(provision: Callable[..., int], tmp_path: Path) -> None:
    assert provision("1.2.3", "nosuch") == 1

    assert steps(tmp_path) == {"tools": 0, "apt-update": 0, "extra-packages": 1}
    assert "Unable to locate package nosuch" in (tmp_path / "logs/steps.log").read_text()


def test_a_call_without_a_version_is_refused(provision: Callable[..., int], tmp_path: Path) -> None:
    assert provision() == 2
    assert not (tmp_path / "library").exists()
