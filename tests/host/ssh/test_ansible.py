"""Ansible itself reads the inventory through ``-i``, and logs in with it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from moltfleet.adapters.ansible import inventory_document, pin
from moltfleet.adapters.openssh import SshClient
from moltfleet.model.domain import DomainState
from moltfleet.model.inventory import InventoryHost
from moltfleet.model.size import Size


@pytest.fixture
def inventory(server, tmp_path: Path) -> Path:
    """A program for ``-i`` that prints what `moltfleet inventory --list` does for crab-1, whose guest is the server."""
    client = SshClient(server.home / "fleet_key", tmp_path / "with space/known_hosts")
    host = InventoryHost(server.endpoint, "my-base", 1, DomainState.RUNNING, Size.of_gib(2), 2)
    pin(client, [host])
    document = inventory_document(client, [host], uri="qemu:///system")
    path = tmp_path / "hosts"
    path.write_text(f'#!/bin/sh\n[ "$1" = --list ] && echo {shlex.quote(json.dumps(document))}\n')
    path.chmod(0o755)
    return path


def ansible(program: str, *words: object, home: Path) -> subprocess.CompletedProcess[str]:
    # Without its shared connections, which outlive it by a minute.
    environment = {"ANSIBLE_SSH_ARGS": "-C", "HOME": str(home), "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
    argv = [Path(sys.executable).with_name(program), *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, env=environment, stdin=subprocess.DEVNULL)


def test_ansible_inventory_reads_groups_and_variables_without_a_warning(inventory, server, tmp_path):
    told = ansible("ansible-inventory", "-i", inventory, "--list", home=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    document = json.loads(told.stdout)
    assert document["_meta"]["hostvars"]["crab-1"]["ansible_port"] == server.endpoint.port
    assert {"golden_my_base", "moltfleet", "state_running"} <= set(document["all"]["children"])
    assert document["golden_my_base"]["hosts"] == document["state_running"]["hosts"] == ["crab-1"]


def test_ansible_logs_in(inventory, tmp_path):
    words = ("-i", inventory, "state_running", "-m", "raw", "-a", "echo $((6 * 7))")
    told = ansible("ansible", *words, home=tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "crab-1 | CHANGED" in told.stdout and "42" in told.stdout.split()


def test_ansible_refuses_another_host_key(inventory, impostor, tmp_path):
    (tmp_path / "with space/known_hosts").write_text(f"moltfleet-crab-1 {impostor.host_keys[0]}\n")
    told = ansible("ansible", "-i", inventory, "all", "-m", "raw", "-a", "true", home=tmp_path)
    assert told.returncode != 0
    assert "UNREACHABLE" in told.stdout and "REMOTE HOST IDENTIFICATION HAS CHANGED" in told.stdout


def test_the_program_that_is_written_is_one_that_ansible_runs(tmp_path):
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    program = Path(sys.executable).with_name("moltfleet")
    argv = [program, "-c", "test:///default", "inventory", "--script", tmp_path / "hosts"]
    subprocess.run(argv, check=True, timeout=60, env=environment, capture_output=True)
    told = ansible("ansible-inventory", "-i", tmp_path / "hosts", "--list", home=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    assert json.loads(told.stdout)["all"]["children"] == ["ungrouped", "moltfleet"]
