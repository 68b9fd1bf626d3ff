from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from moltfleet.adapters.openssh import (
    SshClient,
    host_alias,
    known_hosts_path,
    known_hosts_text,
    remote_command,
    write_known_hosts,
)
from moltfleet.model.domain import Endpoint
from moltfleet.model.errors import ToolFailed

CRAB = Endpoint("crab-1", "192.0.2.7", 22, "agent", ("ssh-ed25519 AAAAC3Nz", "ssh-rsa AAAAB3=="))
CLIENT = SshClient(Path("/home/me/data/id_ed25519"), Path("/home/me/state/known_hosts.1"))


def test_a_shell_is_asked_for_without_words():
    argv = CLIENT.argv(CRAB)
    assert argv[:3] == ["ssh", "-F", "none"]
    assert argv[-6:] == ["-p", "22", "-l", "agent", "--", "192.0.2.7"]


def test_a_command_follows_the_host_as_one_word():
    assert CLIENT.argv(CRAB, ["ls", "a b"])[-2:] == ["192.0.2.7", "ls 'a b'"]


@pytest.mark.parametrize(("terminal", "flag"), [(True, "-t"), (False, "-T")])
def test_a_terminal_is_asked_for_or_refused(terminal, flag):
    assert CLIENT.argv(CRAB, terminal=terminal)[3] == flag
    assert CLIENT.argv(CRAB, terminal=None)[3] == "-o"


@pytest.mark.parametrize(
    "option",
    [
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "ForwardAgent=no",
        "ForwardX11=no",
        "PermitLocalCommand=no",
        "StrictHostKeyChecking=yes",
        "GlobalKnownHostsFile=none",
        "HostKeyAlias=moltfleet-crab-1",
        "UpdateHostKeys=no",
        "CheckHostIP=no",
        "ControlPath=none",
        "PasswordAuthentication=no",
        "KbdInteractiveAuthentication=no",
        'IdentityFile="/home/me/data/id_ed25519"',
        'UserKnownHostsFile="/home/me/state/known_hosts.1"',
        "ConnectTimeout=15",
    ],
)
def test_every_call_carries_the_protections(option):
    argv = CLIENT.argv(CRAB, ["true"])
    assert argv[argv.index(option) - 1] == "-o" and argv.index(option) < argv.index("--")


@pytest.mark.parametrize("words", [["ls", "a b"], ["printf", "%s\n", "it's", "$HOME", "*", ""], ["-rf", "--", ";"]])
def test_several_words_arrive_as_they_are(words):
    (line,) = remote_command(words)
    assert shlex.split(line) == words


def test_one_word_is_a_command_line_for_the_shell():
    assert remote_command(["make && make test"]) == ["make && make test"]
    assert remote_command([]) == []


def test_the_cache_has_a_line_for_each_key_under_a_name_of_its_own():
    other = Endpoint("crab-2", "192.0.2.8", 22, "agent", ("ssh-ed25519 BBBB",))
    assert known_hosts_text([other, CRAB]) == (
        "moltfleet-crab-1 ssh-ed25519 AAAAC3Nz\nmoltfleet-crab-1 ssh-rsa AAAAB3==\nmoltfleet-crab-2 ssh-ed25519 BBBB\n"
    )


@pytest.mark.parametrize(
    "key", ["", "ssh-ed25519", "ssh-ed25519 AAAA\n* ssh-ed25519 EVIL", "@cert-authority *", "ssh-ed25519 AAAA comment"]
)
def test_a_malformed_key_never_reaches_the_cache(key):
    assert known_hosts_text([Endpoint("crab-1", "192.0.2.7", 22, "agent", (key,))]) == ""


def test_the_cache_is_rewritten_whole_and_private(tmp_path):
    path = tmp_path / "state/known_hosts"
    write_known_hosts(path, [CRAB])
    write_known_hosts(path, [CRAB])
    assert path.read_text() == known_hosts_text([CRAB])
    assert path.stat().st_mode & 0o777 == 0o600
    write_known_hosts(path, [])
    assert path.read_text() == ""


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ToolFailed) as caught:
        write_known_hosts(tmp_path / "file/known_hosts", [CRAB])
    assert caught.value.brief.startswith(f"{tmp_path}/file/known_hosts cannot be written: ")


def test_each_libvirt_has_a_cache_of_its_own(tmp_path):
    assert known_hosts_path("qemu:///system", tmp_path) != known_hosts_path("qemu:///session", tmp_path)
    assert known_hosts_path("qemu:///system", tmp_path).parent == tmp_path


def test_the_alias_is_no_host_s_name():
    assert host_alias("github") == "moltfleet-github"
