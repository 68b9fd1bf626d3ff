"""Every fragment is what cloud-init itself takes for valid, and each profile as a whole is, too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from moltfleet.adapters.profiles import ProfileFiles
from moltfleet.adapters.userdata import golden_user_data
from moltfleet.model.recipe import CloudConfig, GuestIdentity, HostKeyPair

ROOT = Path(__file__).parents[2]
CLOUD_INIT = ROOT / "cloud-init"
FRAGMENTS = sorted(CLOUD_INIT.glob("fragments/*.yaml"))
OPTIONAL = sorted(CLOUD_INIT.glob("optional/*.yaml"))
SCHEMA = ROOT / "scripts/cloud-init-schema"
# cloud-init 22.4's schema lets unknown keys pass, so a misspelt one would do nothing, quietly.
KEYS = {"package_update", "packages", "runcmd", "ssh_pwauth", "write_files"}
STEP = "/usr/local/lib/moltfleet/step"


def load(path: Path) -> dict[str, list[object]]:
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict)
    return content


def steps(path: Path) -> list[list[str]]:
    return [command for command in load(path).get("runcmd", []) if isinstance(command, list)]


def check(*paths: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCHEMA, *paths], capture_output=True, text=True)


def test_cloud_init_finds_every_fragment_valid() -> None:
    done = check(*FRAGMENTS, *OPTIONAL)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Valid cloud-config") == len(FRAGMENTS) + len(OPTIONAL)


def test_cloud_init_finds_a_wrong_fragment_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("#cloud-config\npackages: 3\n")

    done = check(wrong)

    assert done.returncode == 1
    assert "packages" in done.stdout + done.stderr


def test_every_fragment_belongs_to_a_profile() -> None:
    used = {
        name for path in CLOUD_INIT.glob("profiles/*.yaml") for name in yaml.safe_load(path.read_text())["fragments"]
    }

    assert used == {path.stem for path in FRAGMENTS}


@pytest.mark.parametrize("path", [*FRAGMENTS, *OPTIONAL], ids=lambda path: path.name)
def test_a_fragment_says_what_it_is_for_and_uses_known_keys(path: Path) -> None:
    first, second = path.read_text().splitlines()[:2]

    assert first == "#cloud-config"
    assert second.startswith("# ")
    assert set(load(path)) <= KEYS


@pytest.mark.parametrize("path", [*FRAGMENTS, *OPTIONAL], ids=lambda path: path.name)
def test_every_command_is_a_named_step_and_no_failure_is_swallowed(path: Path) -> None:
    assert len(steps(path)) == len(load(path).get("runcmd", []))
    assert [command for command in steps(path) if command[0] != STEP] == []
    assert "|| true" not in path.read_text()
    assert "|| :" not in path.read_text()


def test_no_two_steps_have_one_name() -> None:
    names = [command[1] for path in [*FRAGMENTS, *OPTIONAL] for command in steps(path)]

    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("path", [*FRAGMENTS, *OPTIONAL], ids=lambda path: path.name)
def test_no_fragment_names_a_user_or_a_home(path: Path) -> None:
    assert "/home/" not in path.read_text()


@pytest.mark.parametrize("path", [*FRAGMENTS, *OPTIONAL], ids=lambda path: path.name)
def test_programs_in_a_fragment_parse_as_shell(path: Path) -> None:
    for entry in load(path).get("write_files", []):
        assert isinstance(entry, dict)
        if entry["content"].startswith("#!/bin/sh"):
            done = subprocess.run(
                ["shellcheck", "-s", "sh", "-e", "SC1091,SC2046", "-"], input=entry["content"].encode()
            )
            assert done.returncode == 0, entry["path"]


@pytest.mark.parametrize("name", ProfileFiles().names())
def test_a_profile_merges_with_the_base_document(name: str) -> None:
    identity = GuestIdentity("crab-1", "agent", ("ssh-ed25519 AAAA key",), HostKeyPair("private", "ssh-ed25519 BBBB"))

    composed = golden_user_data(identity, ProfileFiles().get(name).fragments)

    assert b"crab-1" in composed


def test_a_fragment_by_itself_is_refused_by_nothing_of_ours() -> None:
    identity = GuestIdentity("crab-1", "agent", ("ssh-ed25519 AAAA key",), HostKeyPair("private", "ssh-ed25519 BBBB"))
    optional = [CloudConfig(path.name, path.read_text()) for path in OPTIONAL]

    assert golden_user_data(identity, (*ProfileFiles().get("agent").fragments, *optional))
