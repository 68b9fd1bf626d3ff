"""bootstrap/renew.py: what it asks apt and npm for, and the CLIs that no longer renew themselves."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.allow("subprocess")

MODULES = "usr/local/lib/node_modules"
CLAUDE, CODEX, GEMINI = "@anthropic-ai/claude-code", "@openai/codex", "@google/gemini-cli"
SETTINGS = {
    "claude": "etc/claude-code/managed-settings.json",
    "codex": "etc/codex/config.toml",
    "gemini": "etc/gemini-cli/settings.json",
}


def write(root: Path, name: str, text: str, mode: int = 0o644) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def install(root: Path, *packages: str) -> None:
    for package in packages:
        write(root, f"{MODULES}/{package}/package.json", "{}")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def renew(bootstrap: Path, tmp_path: Path, root: Path, stand_ins: Callable[..., Path]) -> Callable[..., int]:
    """Run it on a tree, with stand-ins for apt-get and npm; ``fails`` is what their arguments must not contain."""
    root.mkdir()

    def run(*arguments: str, fails: str = "nothing-at-all") -> int:
        body = f'case "$*" in *"{fails}"*) echo "E: no {fails}"; exit 100 ;; esac'
        programs = stand_ins(**{"apt-get": body, "npm": body, "claude": body, "codex": body, "gemini": body})
        environment = {"PATH": f"{programs}:{os.environ['PATH']}", "MOLTFLEET_LOG_DIR": str(tmp_path / "logs")}
        argv = ["/usr/bin/python3", "-I", str(bootstrap / "renew.py"), "--root", str(root), *arguments]
        return subprocess.run(argv, capture_output=True, env=environment).returncode

    return run


def calls(tmp_path: Path) -> list[str]:
    file = tmp_path / "calls"
    return file.read_text().splitlines() if file.exists() else []


def steps(tmp_path: Path) -> dict[str, int]:
    lines = (tmp_path / "logs/steps.log").read_text().splitlines()
    return {step["step"]: step["exit"] for step in map(json.loads, lines)}


def test_packages_are_upgraded_after_the_lists_and_no_configuration_is_replaced(
    renew: Callable[..., int], tmp_path: Path
) -> None:
    assert renew("--packages") == 0
    update, upgrade = calls(tmp_path)
    assert update.endswith(" update")
    assert upgrade.endswith("--no-install-recommends --option Dpkg::Options::=--force-confold dist-upgrade")
    assert steps(tmp_path) == {"apt-update": 0, "upgrade": 0}


def test_without_lists_nothing_is_upgraded_and_the_step_is_named(renew: Callable[..., int], tmp_path: Path) -> None:
    assert renew("--packages", fails=" update") == 1
    assert steps(tmp_path) == {"apt-update": 100}


def test_only_the_clis_that_are_there_are_renewed_and_nothing_else_of_npms(
    renew: Callable[..., int], root: Path, tmp_path: Path
) -> None:
    install(root, CLAUDE, CODEX, "npm", "left-pad")
    assert renew("--clis") == 0
    done = [(call.split()[0], call.split()[-1]) for call in calls(tmp_path)]
    assert done == [
        ("npm", f"{CLAUDE}@latest"),
        ("claude", "--version"),
        ("npm", f"{CODEX}@latest"),
        ("codex", "--version"),
    ]
    assert steps(tmp_path) == {"renew-claude": 0, "renew-codex": 0}


def test_one_cli_that_fails_does_not_keep_the_others_old(renew: Callable[..., int], root: Path, tmp_path: Path) -> None:
    install(root, CLAUDE, CODEX, GEMINI)
    assert renew("--clis", fails="@openai") == 1
    assert steps(tmp_path) == {"renew-claude": 0, "renew-codex": 100, "renew-gemini": 0}


def test_a_cli_that_does_not_start_is_a_named_step(renew: Callable[..., int], root: Path, tmp_path: Path) -> None:
    install(root, CLAUDE)
    assert renew("--clis", fails="--version") == 1
    assert steps(tmp_path) == {"renew-claude": 100}


def test_the_profiles_own_installer_is_used_where_it_is(renew: Callable[..., int], root: Path, tmp_path: Path) -> None:
    install(root, GEMINI)
    write(root, "usr/local/lib/moltfleet/agent-cli", f'#!/bin/sh\necho "own $*" >>{tmp_path}/calls\n', 0o755)
    assert renew("--clis") == 0
    assert calls(tmp_path) == [f"own {GEMINI}@latest gemini"]


def test_self_updates_are_switched_off_whatever_is_renewed(renew: Callable[..., int], root: Path) -> None:
    install(root, CLAUDE, CODEX, GEMINI)
    assert renew() == 0
    assert json.loads((root / SETTINGS["claude"]).read_text())["env"] == {"DISABLE_AUTOUPDATER": "1"}
    assert tomllib.loads((root / SETTINGS["codex"]).read_text()) == {"check_for_update_on_startup": False}
    general = json.loads((root / SETTINGS["gemini"]).read_text())["general"]
    assert general == {"enableAutoUpdate": False, "enableAutoUpdateNotification": False}
    assert {(root / name).stat().st_mode & 0o777 for name in SETTINGS.values()} == {0o644}


def test_what_else_stands_in_the_settings_stays_and_so_does_what_somebody_decided(
    renew: Callable[..., int], root: Path
) -> None:
    install(root, CLAUDE, CODEX, GEMINI)
    write(root, SETTINGS["claude"], '{"model": "opus", "env": {"DISABLE_AUTOUPDATER": "0"}}')
    write(root, SETTINGS["codex"], "[tools]\nweb_search = true\n")
    write(root, SETTINGS["gemini"], '{"theme": "dark"}')
    assert renew() == 0
    assert (root / SETTINGS["claude"]).read_text() == '{"model": "opus", "env": {"DISABLE_AUTOUPDATER": "0"}}'
    codex = tomllib.loads((root / SETTINGS["codex"]).read_text())
    assert codex == {"check_for_update_on_startup": False, "tools": {"web_search": True}}
    assert json.loads((root / SETTINGS["gemini"]).read_text())["theme"] == "dark"


@pytest.mark.parametrize("text", ["{nonsense", "[]", '{"env": 3}'])
def test_settings_that_cannot_be_read_fail_it_and_stay(renew: Callable[..., int], root: Path, text: str) -> None:
    install(root, CLAUDE, GEMINI)
    write(root, SETTINGS["claude"], text)
    assert renew() == 1
    assert (root / SETTINGS["claude"]).read_text() == text
    assert (root / SETTINGS["gemini"]).exists()


def test_a_guest_without_clis_is_left_as_it_is(renew: Callable[..., int], root: Path, tmp_path: Path) -> None:
    assert renew("--clis") == 0
    assert (calls(tmp_path), list(root.iterdir())) == ([], [])


def test_a_command_line_that_makes_no_sense_is_refused(renew: Callable[..., int], tmp_path: Path) -> None:
    assert renew("--everything") == 2
    assert calls(tmp_path) == []
