"""`moltfleet ssh-config`, and that every command that changes clones keeps its file current."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import World, a_world
from moltfleet.model.errors import ToolFailed
from moltfleet.operations.fleet import Fleet
from moltfleet.operations.logins import logins

Do = Callable[..., Any]


@pytest.fixture
def world() -> Iterator[World]:
    made = a_world(clones=("crab-1", "crab-2"))
    yield made
    assert made.hypervisor.violations == []


@pytest.fixture
def call(run: Do, world: World) -> Do:
    def invoke(*words: str, **options: Any) -> Any:
        build = lambda config, uri, progress: replace(world.fleet, progress=progress)  # noqa: E731
        return run(*words, build_fleet=build, **options)

    return invoke


def hosts(file: Path) -> list[str]:
    return [line.split()[1] for line in file.read_text().splitlines() if line.startswith("Host ")]


def generated(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "moltfleet").glob("ssh_config.*")
    return found


def test_the_file_is_written_and_the_way_to_it_told(call: Do, tmp_path: Path) -> None:
    outcome = call("ssh-config")
    assert outcome.exit_code == 0
    assert outcome.stdout == f"{generated(tmp_path)}\n"
    assert outcome.stderr == (
        "To use it: moltfleet ssh-config --install, or this line on top of ~/.ssh/config: "
        f'Include "{tmp_path}/moltfleet/ssh_config.*"\n'
    )
    assert hosts(generated(tmp_path)) == ["crab-1", "crab-2"]
    assert not (tmp_path / ".ssh").exists()


def test_installed_and_removed_leaves_nothing(call: Do, tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text("Host web\n")
    outcome = call("ssh-config", "--install", "--json")
    assert outcome.exit_code == 0
    assert json.loads(outcome.stdout) == {
        "schema": "moltfleet.ssh-config/1",
        "file": str(generated(tmp_path)),
        "include": f'Include "{tmp_path}/moltfleet/ssh_config.*"',
        "included": True,
        "clones": ["crab-1", "crab-2"],
        "left_out": [],
    }
    outcome = call("ssh-config", "--remove", "--json")
    assert outcome.exit_code == 0
    assert (json.loads(outcome.stdout)["included"], outcome.stderr) == (False, "")
    assert (tmp_path / ".ssh/config").read_text() == "Host web\n"
    assert list((tmp_path / "moltfleet").glob("ssh_config*")) == []
    outcome = call("ssh-config", "--remove")
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, "", "There is nothing to take away.\n")


def test_a_dry_run_writes_nothing(call: Do, tmp_path: Path) -> None:
    lines = call("ssh-config", "--install", "--dry-run").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["write", "add"]
    assert call("ssh-config", "--dry-run").stdout.splitlines() == lines[:1]
    assert list(tmp_path.rglob("*config*")) == []
    call("ssh-config", "--install")
    lines = call("ssh-config", "--remove", "--dry-run").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["take", "delete"]
    assert generated(tmp_path).is_file()
    assert "Include" in (tmp_path / ".ssh/config").read_text()


def test_both_at_once_is_a_usage_error(run: Do) -> None:
    outcome = run("ssh-config", "--install", "--remove")
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("Error: --install and --remove exclude each other")


def test_whoever_changes_clones_keeps_it_current(call: Do, tmp_path: Path) -> None:
    call("ssh-config")
    assert call("create", "base", "crab-3").exit_code == 0
    assert hosts(generated(tmp_path)) == ["crab-1", "crab-2", "crab-3"]
    (known_hosts,) = (tmp_path / "moltfleet").glob("known_hosts.*")
    assert [line.split()[0] for line in known_hosts.read_text().splitlines()] == [
        "moltfleet-crab-1",
        "moltfleet-crab-2",
        "moltfleet-crab-3",
    ]
    outcome = call("delete", "crab-1", "--yes", "--json")
    assert outcome.exit_code == 0
    assert hosts(generated(tmp_path)) == ["crab-2", "crab-3"]


def test_it_is_kept_current_where_the_command_failed(call: Do, world: World, tmp_path: Path) -> None:
    call("ssh-config")
    world.locks.hold_by_other("crab-1")
    outcome = call("delete", "crab-1", "crab-2", "--yes")
    assert outcome.exit_code != 0
    assert hosts(generated(tmp_path)) == ["crab-1"]


def test_a_stopped_clone_keeps_its_place_and_nothing_is_written(call: Do, tmp_path: Path) -> None:
    call("ssh-config")
    before = generated(tmp_path).stat()
    assert call("stop", "crab-1").exit_code == 0
    assert generated(tmp_path).stat().st_mtime_ns == before.st_mtime_ns
    assert generated(tmp_path).stat().st_ino == before.st_ino


@pytest.mark.parametrize("words", [("create", "base", "crab-3"), ("list",), ("stop", "crab-1", "--dry-run")])
def test_who_never_asked_for_it_gets_none(call: Do, tmp_path: Path, words: tuple[str, ...]) -> None:
    assert call(*words).exit_code == 0
    assert list(tmp_path.rglob("ssh_config*")) == []


@pytest.mark.parametrize("words", [("list",), ("delete", "crab-2", "--dry-run")])
def test_who_changes_nothing_does_not_write_it(call: Do, world: World, tmp_path: Path, words: tuple[str, ...]) -> None:
    call("ssh-config")
    world.add_clone("crab-3")
    assert call(*words).exit_code == 0
    assert hosts(generated(tmp_path)) == ["crab-1", "crab-2"]


def test_a_file_that_cannot_be_kept_fails_no_command(call: Do, tmp_path: Path) -> None:
    call("ssh-config")
    (known_hosts,) = (tmp_path / "moltfleet").glob("known_hosts.*")
    known_hosts.unlink()
    known_hosts.mkdir()
    outcome = call("create", "base", "crab-3", "--json")
    assert outcome.exit_code == 0
    assert json.loads(outcome.stdout)["results"][0]["outcome"] == "created"
    assert f"What plain ssh knows of clones is as before: {known_hosts} cannot be written" in outcome.stderr


def foreign(world: World) -> Fleet:
    world.add_clone("crab-3", network="default")
    return world.fleet


def test_a_clone_on_a_foreign_network_is_asked_for_its_address_while_it_runs() -> None:
    world = a_world(clones=("crab-1",))
    fleet = foreign(world)
    asked = {login.name: login.host for login in logins(fleet)}
    assert asked == {"crab-1": "192.168.150.2", "crab-3": next(iter(world.hypervisor.addresses("crab-3")))}
    world.hypervisor.destroy("crab-3")
    assert [login.host for login in logins(fleet)] == ["192.168.150.2", ""]


def test_a_foreign_network_that_fails_costs_only_its_own_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_world(clones=("crab-1",))
    fleet = foreign(world)

    def fail(_: object, name: str) -> tuple[str, ...]:
        raise ToolFailed(f"libvirt does not tell the address of {name}")

    monkeypatch.setattr(type(world.hypervisor), "addresses", fail)
    assert [login.host for login in logins(fleet)] == ["192.168.150.2", ""]
