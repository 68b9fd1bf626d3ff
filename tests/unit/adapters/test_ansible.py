"""Ansible's inventory: groups, variables, and who is in it."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from moltfleet.adapters.ansible import host_variables, inventory_document, script_text, write_script
from moltfleet.adapters.openssh import SshClient
from moltfleet.model.domain import DomainState, Endpoint
from moltfleet.model.errors import AlreadyExists, ToolFailed
from moltfleet.model.inventory import InventoryHost
from moltfleet.model.size import Size

CLIENT = SshClient(Path("/home/me/da ta/key"), Path("/home/me/state/known_hosts.1"))
WEB = InventoryHost(
    Endpoint("web-1", "192.0.2.7", 22, "agent", ("ssh-ed25519 AAAA",)), "web-base", 2, DomainState.RUNNING,
    Size.of_gib(8), 4,
)  # fmt: skip
OFF = replace(WEB, login=replace(WEB.login, name="lean-1", host="192.0.2.8"), golden="lean", state=DomainState.SHUT_OFF)


def test_clones_are_grouped_by_golden_and_state() -> None:
    document = inventory_document(CLIENT, [WEB, OFF], uri="qemu:///system")
    variables = document.pop("_meta")["hostvars"]
    assert document == {
        "golden_lean": {"hosts": ["lean-1"]},
        "golden_web_base": {"hosts": ["web-1"]},
        "moltfleet": {"hosts": ["lean-1", "web-1"]},
        "state_running": {"hosts": ["web-1"]},
        "state_shut_off": {"hosts": ["lean-1"]},
    }
    assert list(variables) == ["lean-1", "web-1"]
    arguments = variables["web-1"].pop("ansible_ssh_common_args")
    assert variables["web-1"] == {
        "ansible_host": "192.0.2.7",
        "ansible_port": 22,
        "ansible_user": "agent",
        "moltfleet_golden": "web-base",
        "moltfleet_generation": 2,
        "moltfleet_state": "running",
        "moltfleet_memory_mib": 8192,
        "moltfleet_vcpus": 4,
    }
    words = shlex.split(arguments)
    assert set(words[::2]) == {"-o"}
    assert {
        "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes",
        "ForwardAgent=no",
        "HostKeyAlias=moltfleet-web-1",
        'IdentityFile="/home/me/da ta/key"',
        "ProxyCommand=none",
    } <= set(words[1::2])
    assert not [word for word in words if word.startswith(("ControlMaster", "ControlPath"))]


def test_no_clones_are_an_inventory_too() -> None:
    assert inventory_document(CLIENT, [], uri="qemu:///system") == {
        "_meta": {"hostvars": {}},
        "moltfleet": {"hosts": []},
    }


def test_a_remote_host_is_jumped_through() -> None:
    arguments = host_variables(CLIENT, WEB, uri="qemu+ssh://big/system")["ansible_ssh_common_args"]
    assert "ProxyJump=big" in shlex.split(arguments)


@pytest.mark.parametrize(
    "strange",
    [
        replace(WEB, login=replace(WEB.login, host="")),
        replace(WEB, login=replace(WEB.login, host="{{ lookup('pipe', 'id') }}")),
        replace(WEB, login=replace(WEB.login, user="{{ 1 }}")),
        replace(WEB, login=replace(WEB.login, name="all:children")),
        replace(WEB, golden="{{ lookup('pipe', 'id') }}"),
    ],
)
def test_what_does_not_look_like_a_clone_of_ours_is_left_out(strange: InventoryHost) -> None:
    assert inventory_document(CLIENT, [strange], uri="qemu:///system")["moltfleet"] == {"hosts": []}


def test_the_program_is_executable_and_one_of_ours_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    write_script(path, ("/bin/old",))
    write_script(path, ("/opt/my tools/moltfleet", "--connect", "qemu:///system"))
    assert path.read_text() == script_text(("/opt/my tools/moltfleet", "--connect", "qemu:///system"))
    assert path.read_text().splitlines()[-1] == (
        "exec '/opt/my tools/moltfleet' --connect qemu:///system --quiet inventory \"$@\""
    )
    assert path.stat().st_mode & 0o777 == 0o755


def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("[web]\n")
    with pytest.raises(AlreadyExists):
        write_script(path, ("moltfleet",))
    assert path.read_text() == "[web]\n"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ToolFailed, match="cannot be written"):
        write_script(tmp_path / "file/hosts", ("moltfleet",))
