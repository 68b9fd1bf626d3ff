"""`moltfleet host`: exit codes and output."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes.machine import FakeMachine
from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.config import Config
from moltfleet.model.ports import Progress
from moltfleet.operations.host import Host

from .conftest import Outcome, Run


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path / "machine")


@pytest.fixture
def do(run: Run, machine: FakeMachine) -> Callable[..., Outcome]:
    def build(config: Config, progress: Progress) -> Host:
        return Host(config, machine, BootstrapFiles(), progress)

    def invoke(*arguments: str, **options: Any) -> Outcome:
        return run("host", *arguments, build_host=build, **options)

    return invoke


def test_check_shows_every_row_and_exits_with_0_despite_warnings(do: Callable[..., Outcome]) -> None:
    outcome = do("check")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.splitlines()[0].split() == ["CHECK", "STATE", "FINDING"]
    assert "machine.slice    warning  no limit\n" in outcome.stdout


def test_check_strictly_exits_with_4_unless_all_is_well(do: Callable[..., Outcome], machine: FakeMachine) -> None:
    assert do("check", "--strict").exit_code == 4
    do("contain", "--yes")
    words = machine.text("/etc/systemd/system/earlyoom.service.d/50-moltfleet.conf").split("--avoid '")[1].split("'")[0]
    avoid = words.replace("$$", "$")
    machine.add_process(7, "earlyoom", cgroup="/system.slice", words=("earlyoom", "-M", "1", "--avoid", avoid))
    assert do("check", "--strict").exit_code == 0
    machine.reporting = None
    assert do("check", "--strict").exit_code == 4


def test_check_as_a_document_counts_what_it_has(do: Callable[..., Outcome]) -> None:
    document = json.loads(do("check", "--json").stdout)
    states = [check["state"] for check in document["checks"]]
    assert (document["warnings"], document["unknown"]) == (states.count("warning"), states.count("unknown"))
    assert document["warnings"] > 3


def test_contain_shows_what_it_would_write_and_changes_nothing(
    do: Callable[..., Outcome], machine: FakeMachine
) -> None:
    before = machine.tree()
    machine.root_user = False
    outcome = do("contain", "--dry-run")
    assert outcome.exit_code == 0
    assert "create /etc/systemd/system/machine.slice.d/50-moltfleet.conf\n" in outcome.stdout
    assert "    MemoryMax=55296M\n" in outcome.stdout
    assert "run systemctl daemon-reload\n" in outcome.stdout
    assert machine.tree() == before


def test_contain_asks_with_the_whole_plan_and_takes_no_for_an_answer(
    do: Callable[..., Outcome], machine: FakeMachine
) -> None:
    before = machine.tree()
    outcome = do("contain", interactive=True, input="n\n")
    assert outcome.exit_code == 1
    assert "    MemoryMax=55296M\n" in outcome.stderr
    assert machine.tree() == before
    assert do("contain").exit_code == 2
    assert machine.tree() == before


def test_contain_lists_its_files_and_what_is_still_open(do: Callable[..., Outcome], machine: FakeMachine) -> None:
    machine.add_process(9, "qemu-system-x86", cgroup="/user.slice/a")
    outcome = do("contain", "--yes")
    assert outcome.exit_code == 0
    assert "/etc/moltfleet/egress.nft" in outcome.stdout
    assert "1 of 1 outside of machine.slice" in outcome.stdout
    assert "no limit" not in outcome.stdout


def test_contain_warns_that_nothing_guards_the_reserve(do: Callable[..., Outcome], machine: FakeMachine) -> None:
    (machine.root / "usr/bin/earlyoom").unlink()
    assert "Warning: earlyoom is not installed" in do("contain", "--yes").stderr


def test_remove_undoes_it_and_says_so_when_there_is_nothing(do: Callable[..., Outcome], machine: FakeMachine) -> None:
    before = machine.tree()
    do("contain", "--yes", "--docker", "4G")
    outcome = do("contain", "--remove", "--yes", "--json")
    assert outcome.exit_code == 0
    assert {"path": "/etc/docker/daemon.json", "act": "remove"} in json.loads(outcome.stdout)["files"]
    assert machine.tree() == before
    again = do("contain", "--remove", "--yes")
    assert (again.exit_code, again.stdout) == (0, "")
    assert "Nothing of moltfleet's containment is on this host." in again.stderr


def test_an_ordinary_user_is_told_about_sudo(do: Callable[..., Outcome], machine: FakeMachine) -> None:
    machine.root_user = False
    outcome = do("contain", "--yes")
    assert outcome.exit_code == 7
    assert outcome.stderr.startswith("Error: Only root can change this host\nHint: Run it with sudo;")


@pytest.mark.parametrize("command", [("check",), ("contain", "--yes")])
def test_another_machine_is_not_this_one(run: Run, command: tuple[str, ...]) -> None:
    outcome = run("-c", "qemu+ssh://far/system", "host", *command)
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("Error: libvirt at qemu+ssh://far/system is on another machine")


def test_a_size_of_containers_that_is_none_is_refused(run: Run) -> None:
    assert run("host", "contain", "--docker", "much").exit_code == 2
