"""Logging in to a real sshd, and to servers that are none."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from moltfleet.adapters.ssh import SshGuests
from moltfleet.model.domain import Endpoint
from moltfleet.model.errors import (
    DeadlinePassed,
    GuestUnreachable,
    HostKeyChanged,
    LoginRefused,
    MoltfleetError,
    ToolFailed,
    WrongState,
)

Behaviour = Callable[[socket.socket], None]


@contextlib.contextmanager
def raw_server(server, behaviour: Behaviour) -> Iterator[Endpoint]:
    """A TCP server that does to each connection what ``behaviour`` says."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while not stopped.is_set():
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    behaviour(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield replace(server.endpoint, port=listener.getsockname()[1])
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def stay_silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def hang_after_banner(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    stay_silent(connection)


def talk_garbage(connection: socket.socket) -> None:
    connection.sendall(b"\x1b[2JHTTP/1.1 400 Bad\r\n" * 200)
    stay_silent(connection)


def flood(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 65536)


def announce_a_huge_packet(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-evil\r\n" + b"\x7f\xff\xff\xff" * 8)
    stay_silent(connection)


def hang_up(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


def drip(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"S")
        time.sleep(0.05)


def attempt(server, endpoint: Endpoint, timeout_s: float = 20) -> MoltfleetError:
    with pytest.raises(MoltfleetError) as caught, server.guests().login(endpoint, timeout_s=timeout_s):
        pass
    return caught.value


def test_a_login_reaches_the_pinned_server_with_the_fleet_key(session):
    assert session.run("echo hello").text == "hello\n"


def test_the_banner_is_read_without_a_login(server):
    logins_before = (server.home / "log").read_text().count("publickey")
    banner = server.guests().banner(server.endpoint, timeout_s=5)
    assert banner.startswith("SSH-2.0-OpenSSH")
    assert (server.home / "log").read_text().count("publickey") == logins_before


def test_another_host_key_is_refused_before_anything_is_sent(server, impostor):
    accepted_before = (server.home / "log").read_text().count("Accepted")
    error = attempt(server, impostor)
    assert isinstance(error, HostKeyChanged)
    assert error.brief == "Guest 'crab-1' shows a host key other than the pinned one"
    assert "Another machine answers at 127.0.0.1" in error.hint
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", server.home / "host_key.pub"], check=True, capture_output=True, text=True
    ).stdout.split()[1]
    assert f"shown: {shown}" in error.details
    assert (server.home / "log").read_text().count("Accepted") == accepted_before


def test_a_server_without_a_key_of_the_pinned_type_is_a_changed_host_key(server, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "ecdsa"], check=True)
    pinned = " ".join((tmp_path / "ecdsa.pub").read_text().split()[:2])
    assert isinstance(attempt(server, replace(server.endpoint, host_keys=(pinned,))), HostKeyChanged)


def test_one_of_several_pinned_keys_is_enough(server, impostor):
    both = replace(server.endpoint, host_keys=impostor.host_keys + server.endpoint.host_keys)
    with server.guests().login(both, timeout_s=20) as session:
        assert session.run("true").exit_code == 0


@pytest.mark.parametrize("keys", [(), ("ssh-ed25519",), ("ssh-ed25519 !!!",), ("ssh-future AAAA",)])
def test_without_a_usable_pinned_key_there_is_no_login(server, keys):
    error = attempt(server, replace(server.endpoint, host_keys=keys))
    assert isinstance(error, WrongState)
    assert error.brief == "Guest 'crab-1' has no usable pinned host key"


def test_a_refused_key_names_the_user_and_the_key(server, stranger_key):
    with pytest.raises(LoginRefused) as caught, SshGuests(lambda: stranger_key).login(server.endpoint, timeout_s=20):
        pass
    assert caught.value.brief == f"Guest 'crab-1' refused the fleet key for user {server.endpoint.user!r}"
    assert str(stranger_key) in caught.value.details


def test_no_agent_and_no_other_key_is_offered(server, stranger_key, monkeypatch, tmp_path):
    """The accepted key lies in ~/.ssh and is still not used."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id_ed25519").write_bytes((server.home / "fleet_key").read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(LoginRefused), SshGuests(lambda: stranger_key).login(server.endpoint, timeout_s=20):
        pass


def test_an_unusable_key_file_is_named(server, tmp_path):
    (tmp_path / "key").write_text("not a key")
    with (
        pytest.raises(ToolFailed) as caught,
        SshGuests(lambda: tmp_path / "key").login(server.endpoint, timeout_s=5),
    ):
        pass
    assert caught.value.brief == f"Fleet key {tmp_path / 'key'} cannot be read"


def test_a_closed_port_is_unreachable(server):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = attempt(server, replace(server.endpoint, port=port))
    assert isinstance(error, GuestUnreachable)
    assert error.brief == f"Guest 'crab-1' refuses connections on 127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("behaviour", "kind", "brief"),
    [
        (stay_silent, DeadlinePassed, "Guest 'crab-1' did not complete an SSH handshake within 1 s"),
        (hang_after_banner, DeadlinePassed, "Guest 'crab-1' did not complete an SSH handshake within 1 s"),
        (drip, DeadlinePassed, "Guest 'crab-1' did not complete an SSH handshake within 1 s"),
        (talk_garbage, GuestUnreachable, "Guest 'crab-1' does not complete an SSH handshake"),
        (flood, GuestUnreachable, "Guest 'crab-1' does not complete an SSH handshake"),
        (announce_a_huge_packet, GuestUnreachable, "Guest 'crab-1' does not complete an SSH handshake"),
        (hang_up, GuestUnreachable, "Guest 'crab-1' dropped the SSH connection before the login"),
    ],
)
def test_a_server_that_does_not_speak_ssh_ends_in_a_clear_error(server, behaviour, kind, brief):
    with raw_server(server, behaviour) as endpoint:
        started = time.monotonic()
        error = attempt(server, endpoint, timeout_s=1)
        assert time.monotonic() - started < 2
    assert (type(error), error.brief) == (kind, brief)
    assert error.details is None or error.details.isprintable()


def test_a_failed_login_leaves_no_thread_behind(server):
    before = threading.active_count()
    with raw_server(server, hang_up) as endpoint:
        attempt(server, endpoint, timeout_s=30)
    deadline = time.monotonic() + 3
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before


@pytest.mark.parametrize("behaviour", [stay_silent, talk_garbage, flood, drip])
def test_the_banner_of_something_else_is_none_and_bounded_in_time(server, behaviour):
    with raw_server(server, behaviour) as endpoint:
        started = time.monotonic()
        assert server.guests().banner(endpoint, timeout_s=0.5) is None
        assert time.monotonic() - started < 1.5


def test_nothing_is_logged_to_the_screen_by_a_refused_login(server, stranger_key, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(LoginRefused), SshGuests(lambda: stranger_key).login(server.endpoint, timeout_s=20):
        pass
    assert capsys.readouterr() == ("", "")
    assert caplog.records == []


def test_ten_sessions_work_side_by_side(server):
    def work(number: int) -> str:
        with server.guests().login(server.endpoint, timeout_s=60) as session:
            session.write(f"{server.home}/parallel-{number}", b"x" * number)
            return session.run(f"wc -c < {server.home}/parallel-{number}").text.strip()

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(work, range(10))) == [str(number) for number in range(10)]


def test_the_key_file_is_asked_for_at_each_login(server):
    asked: list[Path] = []

    def private_key() -> Path:
        asked.append(server.home / "fleet_key")
        return asked[-1]

    guests = SshGuests(private_key)
    for _ in range(2):
        with guests.login(server.endpoint, timeout_s=20) as session:
            assert session.run("true").exit_code == 0
    assert len(asked) == 2
