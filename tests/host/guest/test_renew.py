"""bootstrap/renew.py with the real apt and dpkg, on a root of its own: a newer package arrives, what was set stays."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.allow("subprocess")

RENEW = Path(__file__).parents[3] / "bootstrap/renew.py"


class Distribution:
    """An apt repository, and a root whose apt knows nothing else."""

    def __init__(self, folder: Path) -> None:
        self.repository, self.root = folder / "repository", folder / "root"
        self.repository.mkdir()
        for name in ("lib/dpkg/info", "lib/apt/lists/partial", "cache/apt/archives/partial", "log/apt"):
            (self.root / "var" / name).mkdir(parents=True)
        (self.root / "etc/apt/preferences.d").mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        (self.root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{self.repository} ./\n")
        self.logs = folder / "logs"
        self.configuration = folder / "apt.conf"
        settings = {
            "Dir": self.root,
            "Dir::State::status": self.root / "var/lib/dpkg/status",
            "Dir::Etc::Parts": "/dev/null",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        # Its own log, too: dpkg's configuration names the one of this machine.
        options = (f"--root={self.root}", f"--log={folder}/dpkg.log")
        lines = [f'{key} "{value}";\n' for key, value in settings.items()]
        self.configuration.write_text("".join([*lines, *(f'DPkg::Options:: "{option}";\n' for option in options)]))

    def publish(self, version: str, setting: str) -> None:
        """Build the package with a file of settings, and index the repository."""
        tree = self.root.parent / f"tree-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "etc").mkdir()
        (tree / "DEBIAN/control").write_text(
            f"Package: river\nVersion: {version}\nArchitecture: all\nMaintainer: A test <test@example.org>\n"
            "Description: made-up package\n"
        )
        (tree / "DEBIAN/conffiles").write_text("/etc/river.conf\n")
        (tree / "etc/river.conf").write_text(setting)
        self.call("dpkg-deb", "--root-owner-group", "--build", str(tree), str(self.repository / f"river_{version}.deb"))
        packages = self.call("apt-ftparchive", "packages", ".", cwd=self.repository)
        (self.repository / "Packages").write_text(packages)
        (self.repository / "Packages.gz").write_bytes(gzip.compress(packages.encode()))

    def call(self, *argv: str, cwd: Path | None = None) -> str:
        """Run a program with this root's apt; it must succeed."""
        done = subprocess.run(argv, capture_output=True, text=True, cwd=cwd, env=self.environment())
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def environment(self) -> dict[str, str]:
        return {**os.environ, "APT_CONFIG": str(self.configuration), "MOLTFLEET_LOG_DIR": str(self.logs), "LC_ALL": "C"}

    def renew(self, *arguments: str) -> int:
        argv = ["/usr/bin/python3", "-I", str(RENEW), "--root", str(self.root), *arguments]
        return subprocess.run(argv, capture_output=True, env=self.environment()).returncode

    def installed(self) -> str:
        query = ("dpkg-query", f"--admindir={self.root}/var/lib/dpkg", "--show", "--showformat=${Version}", "river")
        return self.call(*query)

    def steps(self) -> dict[str, int]:
        lines = (self.logs / "steps.log").read_text().splitlines()
        return {step["step"]: step["exit"] for step in map(json.loads, lines)}


@pytest.fixture
def distribution(tmp_path: Path) -> Distribution:
    """One whose root has version 1.0, with a setting of its owner's."""
    made = Distribution(tmp_path)
    made.publish("1.0", "depth = 1\n")
    made.call("apt-get", "update")
    made.call("apt-get", "--assume-yes", "install", "river")
    (made.root / "etc/river.conf").write_text("depth = 7\n")
    return made


def test_a_newer_package_arrives_and_the_owners_settings_stay(distribution: Distribution) -> None:
    distribution.publish("1.1", "depth = 2\n")
    assert distribution.renew("--packages") == 0
    assert distribution.installed() == "1.1"
    assert (distribution.root / "etc/river.conf").read_text() == "depth = 7\n"
    assert distribution.steps() == {"apt-update": 0, "upgrade": 0}


def test_with_nothing_newer_nothing_changes(distribution: Distribution) -> None:
    assert distribution.renew("--packages") == 0
    assert distribution.installed() == "1.0"


def test_a_repository_that_is_gone_is_a_named_step(distribution: Distribution) -> None:
    (distribution.root / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/nonexistent ./\n")
    assert distribution.renew("--packages") == 1
    assert distribution.steps() == {"apt-update": 100}
    assert distribution.installed() == "1.0"
