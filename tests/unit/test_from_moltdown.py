"""docs/from-moltdown.md names commands and options that exist, and every script and option of that repository."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from moltfleet.cli.app import app

PAGE = Path(__file__).parents[2] / "docs/from-moltdown.md"
# Of williamzujkowski/moltdown at f4b0a97 (1.2.0), without -h and --help.
SCRIPTS = {
    "agent.sh": "--list --attach --stop --kill --gui --health MOLTDOWN_GOLDEN MOLTDOWN_USER",
    "clone_manager.sh": "create list delete cleanup start stop status --linked --vcpus --memory --dry-run --force",
    "snapshot_manager.sh": "create revert delete list info pre-run post-run golden vms --offline --no-start",
    "setup.sh": "--skip-iso-download --vm-name",
    "setup_cloud.sh": "--vm-name --memory --vcpus --skip-download",
    "virt_install_agent_vm.sh": "--name --vcpus --memory --disk-size --disk-path --iso --seed-iso --network --graphics",
    "generate_cloud_seed.sh": "--username --password --hostname --ssh-key --no-desktop",
    "generate_nocloud_iso.sh": "--customize --ssh-key --username --password --hostname",
    "run_bootstrap_on_vm.sh": "--copy-ssh-key --dry-run",
    "guest/bootstrap_agent_vm.sh": "",
    "examples/bootstrap_local.sh": "",
    "sync-ai-auth.sh": "--dry-run",
    "update-golden.sh": "--quick --auth-only --packages --no-snapshot",
    "code-connect.sh": "--path",
    "setup-hooks.sh": "--dry-run --force --remove",
}


def named() -> list[str]:
    """Every moltfleet command line on the page, in a line of text or in a block."""
    text = PAGE.read_text()
    blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [line for line in (*lines, *spans) if line.startswith("moltfleet ")]


def test_there_are_commands_on_the_page() -> None:
    assert len(named()) > 50


@pytest.mark.parametrize("line", sorted(set(named())))
def test_a_command_on_the_page_exists_with_its_options(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    words = words[: words.index("--")] if "--" in words else words
    words = words[: words.index("|")] if "|" in words else words
    command: click.Command = app
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"no command {words[0]!r}"
        command, words = found, words[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.split("=")[0] for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_and_its_options_are_on_the_page(script: str) -> None:
    code = " ".join(re.findall(r"`([^`\n]+)`", PAGE.read_text())) + " ".join(
        re.findall(r"^### .*$", PAGE.read_text(), re.M)
    )
    for word in (script, *SCRIPTS[script].split()):
        assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", code), f"{word} of {script}"
