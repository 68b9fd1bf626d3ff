"""A private sshd on loopback, run as the current user: its own configuration, host key and authorized key."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from moltfleet.adapters.ssh import SshGuests
from moltfleet.adapters.ssh.session import SshSession
from moltfleet.model.domain import Endpoint

_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {home}/host_key
AuthorizedKeysFile {home}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True)
class Server:
    """A running sshd. ``process`` is its listener."""

    home: Path
    endpoint: Endpoint
    process: subprocess.Popen[bytes]

    def guests(self) -> SshGuests:
        return SshGuests(lambda: self.home / "fleet_key")


def make_key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("sshd")
    make_key(home / "fleet_key")
    with started(home, "crab-1") as running:
        yield running


@pytest.fixture
def guest_of(server: Server, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start another server that takes the same key; what runs there has an environment of its own."""
    with ExitStack() as stack:

        def start(name: str, **environment: object) -> Server:
            home = tmp_path / f"sshd-{name}"
            home.mkdir()
            for file in ("fleet_key", "fleet_key.pub"):
                shutil.copy(server.home / file, home)
            words = " ".join(f'"{key}={value}"' for key, value in environment.items())
            return stack.enter_context(started(home, name, f"SetEnv {words}\nLogLevel VERBOSE\n"))

        yield start


@contextmanager
def started(home: Path, name: str, settings: str = "") -> Iterator[Server]:
    """Run a server that lets the owner of ``home``/fleet_key in."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    assert program, "these tests need Debian's openssh-server package"
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    host_key = make_key(home / "host_key")
    shutil.copy(home / "fleet_key.pub", home / "authorized_keys")
    port = free_port()
    (home / "config").write_text(_CONFIG.format(port=port, home=home) + settings)
    process = subprocess.Popen([program, "-D", "-f", home / "config", "-E", home / "log"])
    endpoint = Endpoint(name, "127.0.0.1", port, pwd.getpwuid(os.getuid()).pw_name, (host_key,))
    running = Server(home, endpoint, process)
    try:
        _await_banner(running)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _await_banner(server: Server) -> None:
    deadline = time.monotonic() + 10
    while server.guests().banner(server.endpoint, timeout_s=1) is None:
        assert server.process.poll() is None and time.monotonic() < deadline, (server.home / "log").read_text()
        time.sleep(0.05)


@pytest.fixture
def session(server: Server) -> Iterator[SshSession]:
    with server.guests().login(server.endpoint, timeout_s=20) as opened:
        yield opened


@pytest.fixture
def stranger_key(tmp_path: Path) -> Path:
    """A key that the server does not accept."""
    make_key(tmp_path / "stranger")
    return tmp_path / "stranger"


@pytest.fixture
def impostor(server: Server, tmp_path: Path) -> Endpoint:
    """The server's address with another pinned host key."""
    return replace(server.endpoint, host_keys=(make_key(tmp_path / "other_host_key"),))


@pytest.fixture
def frozen() -> Iterator[Callable[[SshSession], None]]:
    """Stop (SIGSTOP) the sshd process that serves a session; it goes on when the test ends."""
    stopped: list[int] = []

    def stop(session: SshSession) -> None:
        process = int(session.run("echo $PPID").text)
        os.kill(process, signal.SIGSTOP)
        stopped.append(process)

    yield stop
    for process in stopped:
        os.kill(process, signal.SIGCONT)
