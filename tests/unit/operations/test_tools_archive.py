"""The archive of the guest tools: the same bytes and the same version for the same files, whatever they lie on."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import World
from moltfleet import __version__
from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.model.errors import NotFound
from moltfleet.model.guesttools import ToolsArchive
from moltfleet.operations.tools_archive import pack


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def bootstrap(tmp_path: Path) -> Path:
    files = {"install.py": "print()\n", "bin/claude": "#!/bin/sh\n", "lib/a.py": "A = 1\n"}
    write(tmp_path / "bootstrap/guest", files)
    return tmp_path / "bootstrap"


def packed(world: World, bootstrap: Path) -> ToolsArchive:
    return pack(replace(world.fleet, bootstrap=BootstrapFiles(bootstrap)))


def entries(content: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {entry.name: entry for entry in tar}


def test_times_owners_modes_and_caches_do_not_matter(world: World, bootstrap: Path) -> None:
    first = packed(world, bootstrap)
    os.utime(bootstrap / "guest/install.py", (1, 1))
    (bootstrap / "guest/install.py").chmod(0o600)
    write(bootstrap / "guest", {"lib/__pycache__/a.pyc": "x"})
    assert packed(world, bootstrap) == first


def test_another_byte_is_another_version(world: World, bootstrap: Path) -> None:
    first = packed(world, bootstrap)
    write(bootstrap / "guest", {"lib/a.py": "A = 2\n"})
    second = packed(world, bootstrap)
    assert first.version != second.version
    assert second.version == f"{__version__}-{second.sha256[:12]}"


def test_links_are_sent_as_what_they_lead_to(world: World, bootstrap: Path) -> None:
    write(bootstrap.parent, {"model/shared.py": "SHARED = 1\n"})
    (bootstrap / "guest/lib/shared.py").symlink_to("../../../model/shared.py")
    entry = entries(packed(world, bootstrap).content)["lib/shared.py"]
    assert (entry.isreg(), entry.size) == (True, len("SHARED = 1\n"))


def test_programs_can_be_executed_and_everything_belongs_to_root(world: World, bootstrap: Path) -> None:
    found = entries(packed(world, bootstrap).content)
    assert {name: entry.mode for name, entry in found.items()} == {
        "bin/claude": 0o755,
        "install.py": 0o644,
        "lib/a.py": 0o644,
    }
    assert {(e.uid, e.gid, e.uname, e.mtime) for e in found.values()} == {(0, 0, "root", 0)}


def test_a_link_that_leads_nowhere_is_named(world: World, bootstrap: Path) -> None:
    (bootstrap / "guest/gone.py").symlink_to("nowhere.py")
    with pytest.raises(NotFound, match=r"'guest/gone.py'"):
        packed(world, bootstrap)


def test_tools_without_an_installer_are_none(world: World, bootstrap: Path) -> None:
    (bootstrap / "guest/install.py").unlink()
    with pytest.raises(NotFound, match="Guest tools of moltfleet are not installed"):
        packed(world, bootstrap)


@pytest.mark.allow("subprocess")
def test_the_archive_of_the_real_tools_holds_programs_that_start(world: World, tmp_path: Path) -> None:
    content = packed(world, Path(__file__).parents[3] / "bootstrap").content
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        tar.extractall(tmp_path)
    assert (tmp_path / "moltguest/forecast.py").is_file() and not (tmp_path / "moltguest/forecast.py").is_symlink()
    argv = [sys.executable, "-IS", str(tmp_path / "bin/moltfleet-limits"), "--total-mib", "8192"]
    assert "an agent's scope" in subprocess.run(argv, capture_output=True, text=True, check=True).stdout
