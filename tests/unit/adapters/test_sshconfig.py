"""The file for plain ssh, and the one line of ~/.ssh/config that includes it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from moltfleet.adapters import sshconfig
from moltfleet.adapters.openssh import SshClient
from moltfleet.adapters.sshconfig import SshConfig, config_text, jump_option
from moltfleet.model.domain import Endpoint
from moltfleet.model.errors import InvalidInput, ToolFailed

CRAB = Endpoint("crab-1", "192.0.2.7", 22, "agent", ("ssh-ed25519 AAAAC3Nz",))
FORWARDED = Endpoint("crab-2", "127.0.0.1", 40022, "agent", ("ssh-ed25519 BBBB",))
CLIENT = SshClient(Path("/home/me/data/id_ed25519"), Path("/home/me/state/known_hosts.1"))
USERS = b"Host *\r\n  ForwardAgent yes\nHost web\n  Port 2222"


@pytest.fixture
def ssh_config(tmp_path: Path) -> SshConfig:
    client = SshClient(tmp_path / "id_ed25519", tmp_path / "state/known_hosts.1")
    return SshConfig("qemu:///system", client, tmp_path / "state", tmp_path / "home")


@pytest.fixture
def users(ssh_config: SshConfig) -> Path:
    """The user's own file, with lines that must never change."""
    path = ssh_config.home / ".ssh/config"
    path.parent.mkdir(parents=True)
    path.write_bytes(USERS)
    path.chmod(0o640)
    return path


def test_each_clone_has_a_block_by_name() -> None:
    text = config_text(CLIENT, [FORWARDED, CRAB], uri="qemu:///session")
    first, second = text.split("\nHost ")[1:]
    assert first.splitlines()[:5] == ["crab-1", "  HostName 192.0.2.7", "  Port 22", "  User agent",
                                      '  IdentityFile "/home/me/data/id_ed25519"']  # fmt: skip
    assert second.splitlines()[:3] == ["crab-2", "  HostName 127.0.0.1", "  Port 40022"]
    for block in (first, second):
        assert "  IdentitiesOnly yes\n" in block
        assert "  StrictHostKeyChecking yes\n" in block
        assert "  ForwardAgent no\n" in block
        assert "  KnownHostsCommand none\n" in block
        assert "  ProxyCommand none\n" in block


@pytest.mark.parametrize(
    "strange",
    [
        replace(CRAB, host=""),
        replace(CRAB, host="evil.example.org"),
        replace(CRAB, host="192.0.2.7\n  ProxyCommand id"),
        replace(CRAB, name="*"),
        replace(CRAB, name="crab-1 github.com"),
        replace(CRAB, name="github.com"),
        replace(CRAB, name="localhost"),
        replace(CRAB, name="crab-1\n  ProxyCommand id"),
        replace(CRAB, user="agent\n  ProxyCommand id"),
        replace(CRAB, user="-oProxyCommand=id"),
        replace(CRAB, port=0),
    ],
)
def test_what_does_not_look_like_a_clone_of_ours_is_not_told_to_ssh(ssh_config: SshConfig, strange: Endpoint) -> None:
    assert "\nHost" not in config_text(CLIENT, [strange], uri="qemu:///system")
    assert ssh_config.names([strange, FORWARDED]) == ("crab-2",)


@pytest.mark.parametrize(
    ("uri", "option"),
    [
        ("qemu:///system", "ProxyCommand=none"),
        ("qemu+unix:///system?socket=/run/x", "ProxyCommand=none"),
        ("qemu+ssh:///system", "ProxyCommand=none"),
        ("qemu+ssh://big-host/system", "ProxyJump=big-host"),
        ("qemu+ssh://Me@Lab:2222/system?no_tty=1", "ProxyJump=Me@Lab:2222"),
        ("qemu+libssh2://[2001:db8::1]:22/system", "ProxyJump=[2001:db8::1]:22"),
        ("qemu+ssh://h/system?keyfile=/k", "ProxyCommand=ssh -o 'IdentityFile=\"/k\"' -W [%h]:%p ssh://h"),
        ("qemu+ssh://h/system?keyfile=/k%20%25y", "ProxyCommand=ssh -o 'IdentityFile=\"/k %%%%y\"' -W [%h]:%p ssh://h"),
        ("qemu+tls://big-host/system", None),
    ],
)
def test_the_way_to_the_host_is_that_of_libvirt(uri: str, option: str | None) -> None:
    assert jump_option(uri) == option
    assert (f"  {option.replace('=', ' ', 1)}\n" if option else "\n") in config_text(CLIENT, [CRAB], uri=uri)


@pytest.mark.parametrize(
    "uri",
    [
        "qemu+ssh://-oProxyCommand=id/system",
        "qemu+ssh://a b/system",
        "qemu+ssh://$(id)/system",
        "qemu+ssh://h/system?keyfile=a%0aHost%20*",
    ],
)
def test_a_host_that_is_none_is_not_jumped_to(uri: str) -> None:
    with pytest.raises(InvalidInput):
        jump_option(uri)


def test_the_file_is_private_and_only_replaced_when_it_differs(ssh_config: SshConfig) -> None:
    assert not ssh_config.is_kept()
    assert ssh_config.write(lambda: [CRAB]) is True
    before = ssh_config.file.stat()
    assert before.st_mode & 0o777 == 0o600
    assert ssh_config.is_kept()
    assert ssh_config.write(lambda: [CRAB]) is False
    assert ssh_config.file.stat().st_ino == before.st_ino
    assert ssh_config.write(lambda: [CRAB, FORWARDED]) is True
    assert "Host crab-2" in ssh_config.file.read_text()
    assert "moltfleet-crab-2 ssh-ed25519 BBBB" in ssh_config.client.known_hosts.read_text()


def test_a_file_that_others_could_write_is_made_private_again(ssh_config: SshConfig) -> None:
    ssh_config.write(lambda: [CRAB])
    ssh_config.file.chmod(0o666)
    assert ssh_config.write(lambda: [CRAB]) is True
    assert ssh_config.file.stat().st_mode & 0o777 == 0o600


def test_another_process_that_never_ends_is_not_waited_for(ssh_config, monkeypatch) -> None:
    monkeypatch.setattr(sshconfig, "_LOCK_S", 0.01)

    def meanwhile() -> list[Endpoint]:
        with pytest.raises(ToolFailed, match="is being written by another command"):
            ssh_config.write(lambda: [])
        return [CRAB]

    assert ssh_config.write(meanwhile) is True
    assert ssh_config.write(lambda: []) is True


def test_each_libvirt_has_a_file_and_one_line_includes_all(ssh_config: SshConfig) -> None:
    other = replace(ssh_config, uri="qemu:///session")
    assert other.file != ssh_config.file
    assert other.include == ssh_config.include
    assert ssh_config.file.match("ssh_config.*")
    assert ssh_config.include == f'Include "{ssh_config.state}/ssh_config.*"'


def test_a_missing_config_is_made_private_with_its_directory(ssh_config: SshConfig) -> None:
    assert not ssh_config.is_included()
    assert ssh_config.install() is True
    path = ssh_config.home / ".ssh/config"
    assert path.read_text() == ssh_config.include + "\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert ssh_config.is_included()


def test_the_line_comes_on_top_once_and_goes_without_a_trace(ssh_config: SshConfig, users: Path) -> None:
    line = ssh_config.include.encode() + b"\n"
    assert ssh_config.install() is True
    assert users.read_bytes() == line + USERS
    assert users.stat().st_mode & 0o777 == 0o640
    inode = users.stat().st_ino
    assert ssh_config.install() is False
    assert (users.read_bytes(), users.stat().st_ino) == (line + USERS, inode)
    ssh_config.write(lambda: [CRAB])
    replace(ssh_config, uri="qemu:///session").write(lambda: [])
    assert ssh_config.remove() is True
    assert users.read_bytes() == USERS
    assert users.stat().st_mode & 0o777 == 0o640
    assert list(ssh_config.state.glob("ssh_config*")) == []
    assert ssh_config.remove() is False


@pytest.mark.parametrize("head", [b"Host web\n", b"match all\n", b"HOST = web\n"])
def test_a_line_that_holds_for_some_hosts_only_is_moved_up(ssh_config: SshConfig, users: Path, head: bytes) -> None:
    line = ssh_config.include.encode() + b"\n"
    users.write_bytes(head + b"  " + line + b"  Port 1\n")
    assert not ssh_config.is_included()
    assert ssh_config.install() is True
    assert users.read_bytes() == line + head + b"  Port 1\n"


def test_a_line_below_the_user_s_own_comments_is_left_there(ssh_config: SshConfig, users: Path) -> None:
    content = b"# mine\nInclude other\n" + ssh_config.include.encode() + b"\n" + USERS
    users.write_bytes(content)
    assert ssh_config.is_included()
    assert ssh_config.install() is False
    assert users.read_bytes() == content


def test_a_symbolic_link_stays_one(ssh_config: SshConfig, users: Path, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles/ssh_config"
    target.parent.mkdir()
    users.rename(target)
    users.symlink_to(target)
    ssh_config.install()
    assert users.is_symlink()
    assert target.read_bytes() == ssh_config.include.encode() + b"\n" + USERS
    ssh_config.remove()
    assert users.is_symlink()
    assert target.read_bytes() == USERS


def test_a_config_that_cannot_be_used_is_named_and_left(ssh_config: SshConfig) -> None:
    path = ssh_config.home / ".ssh"
    path.parent.mkdir()
    path.write_bytes(b"")
    for act in (ssh_config.install, ssh_config.remove, ssh_config.is_included):
        with pytest.raises(ToolFailed) as caught:
            act()
        assert caught.value.brief.startswith(f"{path}/config cannot be used: ")


def test_half_a_file_is_never_seen(ssh_config: SshConfig, users: Path, monkeypatch) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ssh_config.install()
    assert users.read_bytes() == USERS
    assert [path.name for path in users.parent.iterdir()] == ["config"]
