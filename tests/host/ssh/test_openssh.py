"""OpenSSH's own client reads the arguments that are built for it, and logs in with them."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from moltfleet.adapters.openssh import SshClient, write_known_hosts


@pytest.fixture
def client(server, tmp_path: Path) -> SshClient:
    known_hosts = tmp_path / "with space 100%" / "known_hosts"
    write_known_hosts(known_hosts, [server.endpoint])
    key = tmp_path / "with space 100%" / "key"
    key.write_bytes((server.home / "fleet_key").read_bytes())
    key.chmod(0o600)
    return SshClient(key, known_hosts)


def ssh(argv: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **options)


def test_ssh_understands_every_option(client, server):
    argv = client.argv(server.endpoint)
    told = ssh([argv[0], "-G", *argv[1:]], check=True).stdout.splitlines()
    settings = dict(line.partition(" ")[::2] for line in told)
    assert settings["hostkeyalias"] == "moltfleet-crab-1"
    assert settings["stricthostkeychecking"] in ("true", "yes")
    assert settings["identitiesonly"] == "yes" and settings["identityagent"] == "none"
    assert settings["forwardagent"] == settings["forwardx11"] == settings["permitlocalcommand"] == "no"
    assert settings["passwordauthentication"] == settings["kbdinteractiveauthentication"] == "no"
    assert settings["updatehostkeys"] in ("false", "no") and settings["checkhostip"] == "no"
    assert settings["globalknownhostsfile"] == "none" and settings["port"] == str(server.endpoint.port)
    assert "controlpath" not in settings or settings["controlpath"] == "none"
    assert settings["user"] == server.endpoint.user and settings["connecttimeout"] == "15"


def test_the_user_s_own_configuration_weakens_nothing(client, server, tmp_path):
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text(
        "Host *\n  ForwardAgent yes\n  StrictHostKeyChecking no\n  ProxyCommand false\n"
    )
    result = ssh(client.argv(server.endpoint, ["echo", "hello"]), env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    assert (result.returncode, result.stdout) == (0, "hello\n"), result.stderr


def test_words_arrive_in_the_guest_as_they_were_given(client, server):
    words = ["printf", "[%s]", "a b", "it's", "$HOME", "*", "", "-n"]
    assert ssh(client.argv(server.endpoint, words)).stdout == "[a b][it's][$HOME][*][][-n]"


def test_one_word_is_a_command_line_in_the_guest(client, server):
    assert ssh(client.argv(server.endpoint, ["echo a && echo b"])).stdout == "a\nb\n"


def test_words_that_look_like_options_are_not_taken_by_ssh(client, server, tmp_path):
    result = ssh(client.argv(server.endpoint, [f"-oProxyCommand=touch {tmp_path}/owned"]))
    assert result.returncode not in (0, 255) and not (tmp_path / "owned").exists()


def test_the_exit_status_passes_through(client, server):
    assert ssh(client.argv(server.endpoint, ["sh", "-c", "exit 42"])).returncode == 42


def test_another_host_key_is_refused(client, server, impostor):
    write_known_hosts(client.known_hosts, [impostor])
    result = ssh(client.argv(server.endpoint, ["true"]))
    assert result.returncode == 255 and "REMOTE HOST IDENTIFICATION HAS CHANGED" in result.stderr


def test_a_clone_without_an_entry_is_refused_and_not_learned(client, server):
    before = client.known_hosts.read_text()
    result = ssh(client.argv(replace(server.endpoint, name="crab-2"), ["true"]))
    assert result.returncode == 255 and "Host key verification failed" in result.stderr
    assert client.known_hosts.read_text() == before
