"""`moltfleet inventory`: what it prints, writes and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes import World, a_world

Do = Callable[..., Any]


@pytest.fixture
def world() -> World:
    return a_world(clones=("crab-1", "crab-2"))


@pytest.fixture
def call(run: Do, world: World) -> Do:
    def invoke(*words: str, **options: Any) -> Any:
        return run(*words, build_fleet=lambda *_: world.fleet, **options)

    return invoke


def test_the_list_is_that_of_no_option_and_of_json(call: Do, world: World) -> None:
    world.hypervisor.destroy("crab-2")
    outcome = call("inventory", "--list")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    document = json.loads(outcome.stdout)
    assert {name: group["hosts"] for name, group in document.items() if name != "_meta"} == {
        "golden_base": ["crab-1", "crab-2"],
        "moltfleet": ["crab-1", "crab-2"],
        "state_running": ["crab-1"],
        "state_shut_off": ["crab-2"],
    }
    assert call("inventory").stdout == call("inventory", "--json").stdout == outcome.stdout


def test_what_ansibles_ssh_checks_against_is_there(call: Do, tmp_path: Path) -> None:
    variables = json.loads(call("inventory", "--host", "crab-1").stdout)
    (known_hosts,) = (tmp_path / "moltfleet").glob("known_hosts.*")
    assert f'UserKnownHostsFile="{known_hosts}"' in variables["ansible_ssh_common_args"]
    assert "moltfleet-crab-1 ssh-ed25519 " in known_hosts.read_text()


def test_one_host_has_the_variables_of_the_list(call: Do) -> None:
    listed = json.loads(call("inventory").stdout)["_meta"]["hostvars"]
    assert json.loads(call("inventory", "--host", "crab-2").stdout) == listed["crab-2"]


def test_an_unknown_host_is_not_found(call: Do) -> None:
    outcome = call("inventory", "--host", "crab-9")
    assert (outcome.exit_code, outcome.stdout) == (3, "")
    assert outcome.stderr.splitlines()[0] == "Error: No clone with an address is named 'crab-9'"


def test_the_program_starts_this_one_with_the_same_libvirt(run: Do, tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    assert run("-c", "qemu:///session", "inventory", "--script", str(path), "--dry-run").stdout == f"write {path}\n"
    assert not path.exists()
    outcome = run("-c", "qemu:///session", "inventory", "--script", str(path), "--json")
    assert json.loads(outcome.stdout) == {"schema": "moltfleet.inventory-script/1", "file": str(path)}
    assert path.read_text().splitlines()[-1].endswith('moltfleet --connect qemu:///session --quiet inventory "$@"')


def test_options_that_exclude_each_other_are_a_usage_error(run: Do) -> None:
    outcome = run("inventory", "--list", "--host", "crab-1")
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("Error: --list, --host and --script exclude each other")


def test_a_file_that_is_not_ours_is_refused(run: Do, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("[web]\n")
    outcome = run("inventory", "--script", str(tmp_path / "hosts"))
    assert outcome.exit_code == 4
    assert (tmp_path / "hosts").read_text() == "[web]\n"
