"""The wheel carries cloud-init/ and bootstrap/, and an installation of it finds them without a checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import moltfleet
from moltfleet.adapters.profiles import ProfileFiles
from moltfleet.adapters.resources import BootstrapFiles, find_directory
print(moltfleet.__file__)
print(find_directory("cloud-init"))
print(*ProfileFiles().names())
print(len(ProfileFiles().get("agent").fragments))
print(BootstrapFiles().read("step").splitlines()[0].decode())
"""
TOOLS = """
from types import SimpleNamespace
from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.operations.tools_archive import pack
print(pack(SimpleNamespace(bootstrap=BootstrapFiles())).version)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True)
    (built,) = directory.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_both_directories(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    listed = subprocess.run(
        ["git", "ls-files", "cloud-init", "bootstrap"], cwd=ROOT, check=True, capture_output=True, text=True
    )

    assert {f"moltfleet/data/{name}" for name in listed.stdout.split()} <= held


def test_the_wheel_brings_completion_where_each_shell_looks(wheel: Path) -> None:
    places = {"bash-completion/completions/moltfleet", "zsh/site-functions/_moltfleet"}
    places |= {"fish/vendor_completions.d/moltfleet.fish"}
    held = {name.partition(".data/data/share/")[2] for name in zipfile.ZipFile(wheel).namelist()}
    assert places <= held


def test_an_installed_wheel_finds_its_own_files(wheel: Path, tmp_path: Path) -> None:
    # Unpacked as pip would; -S -I and a path of our own keep an editable installation out of it.
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    libraries = sysconfig.get_path("purelib")
    start = f"import sys; sys.path[:0] = [{str(tmp_path / 'site')!r}, {libraries!r}]\n"

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    package, profiles, names, fragments, first_line = done.stdout.splitlines()
    assert package.startswith(str(tmp_path / "site"))
    assert profiles == str(tmp_path / "site/moltfleet/data/cloud-init")
    assert {"agent", "desktop", "minimal"} <= set(names.split())
    assert int(fragments) > 10
    assert first_line == "#!/bin/sh"


def test_the_guest_tools_of_a_wheel_are_the_version_of_those_of_the_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")

    versions = {tools_version(tmp_path / "site"), tools_version(ROOT)}

    assert len(versions) == 1, versions


def tools_version(site: Path) -> str:
    """The version of the guest tools as a program would install them that is imported from ``site``."""
    start = f"import sys; sys.path[:0] = [{str(site)!r}, {sysconfig.get_path('purelib')!r}]\n"
    argv = [sys.executable, "-I", "-S", "-c", start + TOOLS]
    return subprocess.run(argv, cwd=site, capture_output=True, text=True, check=True).stdout.strip()
