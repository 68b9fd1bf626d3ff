"""OpenSSH's own client reads the generated file through the user's configuration, and plain ``ssh NAME`` logs in."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from moltfleet.adapters.openssh import SshClient
from moltfleet.adapters.sshconfig import SshConfig

# What could weaken a login, were it not set for each clone; and a host of the user's own.
_USERS = """\
Host *
  ForwardAgent yes
  ForwardX11 yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  KnownHostsCommand /bin/echo crab-1 ssh-ed25519 AAAA
  ProxyCommand false
  PermitLocalCommand yes
  LocalCommand false
  IdentityFile /nowhere
  User nobody
  Port 1
Host web
  HostName web.example.org
"""


@pytest.fixture
def ssh_config(server, tmp_path: Path) -> SshConfig:
    """Installed for crab-1, in directories with a space and a per cent sign."""
    state = tmp_path / "with space 100%d"
    state.mkdir()
    key = state / "key"
    key.write_bytes((server.home / "fleet_key").read_bytes())
    key.chmod(0o600)
    made = SshConfig("qemu:///session", SshClient(key, state / "known_hosts.1"), state, tmp_path / "home")
    made.user_file.parent.mkdir(parents=True, mode=0o700)
    made.user_file.write_text(_USERS)
    made.write(lambda: [server.endpoint])
    made.install()
    return made


def run(program: str, config: SshConfig, *words: object) -> subprocess.CompletedProcess[str]:
    # The one thing that is not plain: ssh finds a home in the password database and not in a test's environment.
    argv = [program, "-F", config.user_file, *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def settings(config: SshConfig, host: str) -> dict[str, str]:
    told = run("ssh", config, "-G", host)
    assert told.returncode == 0, told.stderr
    return dict(line.partition(" ")[::2] for line in told.stdout.splitlines())


def test_ssh_reads_every_line(ssh_config, server):
    told = settings(ssh_config, "crab-1")
    assert (told["hostname"], told["port"], told["user"]) == (
        server.endpoint.host,
        str(server.endpoint.port),
        server.endpoint.user,
    )
    assert told["userknownhostsfile"].replace("%%", "%") == str(ssh_config.client.known_hosts)
    assert told["hostkeyalias"] == "moltfleet-crab-1"
    assert told["stricthostkeychecking"] in ("true", "yes")
    assert told["identitiesonly"] == "yes" and told["identityagent"] == "none"
    assert told["forwardagent"] == told["forwardx11"] == told["permitlocalcommand"] == "no"
    assert told["passwordauthentication"] == told["kbdinteractiveauthentication"] == "no"
    assert told["globalknownhostsfile"] == "none"
    # Keys add up in ssh; ours is the first that is offered.
    keys = [line for line in run("ssh", ssh_config, "-G", "crab-1").stdout.splitlines() if "identityfile" in line]
    assert keys[0].replace("%%", "%") == f"identityfile {ssh_config.client.key}"
    assert "proxycommand" not in told and "proxyjump" not in told
    assert told.get("knownhostscommand", "none") == "none"


def test_the_user_s_own_hosts_are_as_before(ssh_config, tmp_path):
    alone = tmp_path / "alone"
    alone.write_text(_USERS)
    before = subprocess.run(["ssh", "-F", alone, "-G", "web"], capture_output=True, text=True, timeout=60, check=True)
    assert run("ssh", ssh_config, "-G", "web").stdout == before.stdout


def test_plain_ssh_logs_in(ssh_config):
    result = run("ssh", ssh_config, "crab-1", "echo hello; exit 42")
    assert (result.stdout, result.returncode) == ("hello\n", 42), result.stderr


def test_plain_scp_and_sftp_copy(ssh_config, tmp_path):
    (tmp_path / "there").write_text("data")
    result = run("scp", ssh_config, "-q", tmp_path / "there", f"crab-1:{tmp_path}/here")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "here").read_text() == "data"
    result = run("sftp", ssh_config, f"crab-1:{tmp_path}/here", f"{tmp_path}/back")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "back").read_text() == "data"


def test_a_server_with_another_key_is_refused(ssh_config, impostor):
    ssh_config.write(lambda: [impostor])
    result = run("ssh", ssh_config, "crab-1", "true")
    assert result.returncode == 255 and "REMOTE HOST IDENTIFICATION HAS CHANGED" in result.stderr


def test_a_clone_without_a_key_is_refused_and_not_learned(ssh_config, server):
    ssh_config.write(lambda: [replace(server.endpoint, host_keys=())])
    result = run("ssh", ssh_config, "crab-1", "true")
    assert result.returncode == 255 and "Host key verification failed" in result.stderr
    assert ssh_config.client.known_hosts.read_text() == ""


def test_ssh_jumps_through_the_host_of_a_remote_libvirt(ssh_config, server):
    """The way to the host is the user's own; the host then forwards to the clone, whose key is checked from here."""
    ours = ssh_config.user_file.read_text()
    host_key = ssh_config.state / "host_key.known"
    host_key.write_text(f"big-host {server.endpoint.host_keys[0]}\n")
    way = (
        f"Host big-host\n  HostName {server.endpoint.host}\n  Port {server.endpoint.port}\n"
        f'  User {server.endpoint.user}\n  IdentityFile "{server.home}/fleet_key"\n  HostKeyAlias big-host\n'
        f'  UserKnownHostsFile "{str(host_key).replace("%", "%%")}"\n  StrictHostKeyChecking yes\n'
        "  ProxyCommand none\n  KnownHostsCommand none\n  PermitLocalCommand no\n"
    )
    first, _, rest = ours.partition("\n")
    ssh_config.user_file.write_text(f"{first}\n{way}{rest}")
    remote = replace(ssh_config, uri="qemu+ssh://big-host/system")
    ssh_config.file.unlink()
    remote.write(lambda: [server.endpoint])
    assert settings(remote, "crab-1")["proxyjump"] == "big-host"
    result = run("ssh", remote, "crab-1", "echo $SSH_CONNECTION; echo hello")
    assert result.returncode == 0, result.stderr
    connection, hello = result.stdout.splitlines()
    assert connection.split()[2:] == [server.endpoint.host, str(server.endpoint.port)] and hello == "hello"
    log = (server.home / "log").read_text()
    assert log.count("Accepted publickey") >= 2
    # Without the jump's own login there is no way in.
    host_key.write_text("")
    assert run("ssh", remote, "crab-1", "true").returncode == 255


def test_the_key_file_of_the_uri_is_that_of_the_jump(ssh_config, server):
    place = f"{server.endpoint.user}@{server.endpoint.host}:{server.endpoint.port}"
    known = ssh_config.home / "jump"
    known.write_text(f"[{server.endpoint.host}]:{server.endpoint.port} {server.endpoint.host_keys[0]}\n")
    key = ssh_config.state / "it's a key"
    shutil.copy(server.home / "fleet_key", key)
    uri = f"qemu+ssh://{place}/system?keyfile={str(key).replace('%', '%25').replace(' ', '%20')}"
    remote = replace(ssh_config, uri=uri)
    ssh_config.file.unlink()
    remote.write(lambda: [server.endpoint])
    command = settings(remote, "crab-1")["proxycommand"]
    # Run as ssh would, but for a command instead of the way on, and with a known_hosts of the test's own.
    jump = command.replace("%%", "%").replace(" -W [%h]:%p", f" -F none -o UserKnownHostsFile={known}")
    told = subprocess.run(["sh", "-c", f"{jump} echo there"], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    assert told.stdout == b"there\n", told.stderr
