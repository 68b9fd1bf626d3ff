"""Guests of another host: through it, by the user's own ssh, to a real sshd behind a real sshd."""

from __future__ import annotations

import getpass
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from moltfleet.adapters.openssh import SshClient, write_known_hosts
from moltfleet.adapters.ssh import SshGuests
from moltfleet.adapters.sshjump import Jump, dial_for, proxy_command, straight
from moltfleet.model.errors import GuestUnreachable


@pytest.fixture
def host(guest_of: Callable[..., object], tmp_path: Path) -> Callable[..., Jump]:
    """The way to a host: a second sshd, as the user's own ssh configuration knows it."""
    server = guest_of("host", WHO="host")

    def way(**changes: object) -> Jump:
        known = tmp_path / "known_hosts"
        known.write_text(f"[127.0.0.1]:{server.endpoint.port} {server.endpoint.host_keys[0]}\n")
        settings = {
            "HostName": "127.0.0.1",
            "Port": server.endpoint.port,
            "User": getpass.getuser(),
            "IdentityFile": server.home / "fleet_key",
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": known,
        } | changes
        path = tmp_path / "ssh_config"
        path.write_text("Host big\n" + "".join(f"  {key} {value}\n" for key, value in settings.items()))
        return Jump(("-F", str(path), "ssh://big"))

    return way


def test_a_guest_is_greeted_and_logged_in_to_through_the_host(server, host) -> None:
    guests = SshGuests(lambda: server.home / "fleet_key", dial=host())
    assert (guests.banner(server.endpoint, timeout_s=20) or "").startswith("SSH-2.0-OpenSSH")
    with guests.login(server.endpoint, timeout_s=20) as session:
        assert session.run("echo $((6 * 7))", timeout_s=20).text.strip() == "42"


def test_what_comes_and_goes_through_the_host_is_whole(server, host, tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(bytes(range(256)) * 40_000)
    with SshGuests(lambda: server.home / "fleet_key", dial=host()).login(server.endpoint, timeout_s=20) as session:
        session.put(sent, str(tmp_path / "there"))
        assert (tmp_path / "there").read_bytes() == sent.read_bytes()


def test_the_way_ends_with_the_login(server, host) -> None:
    guests = SshGuests(lambda: server.home / "fleet_key", dial=host())
    with guests.login(server.endpoint, timeout_s=20):
        assert ways_to(server.endpoint.port) == 1
    deadline = time.monotonic() + 10
    while ways_to(server.endpoint.port):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ways_to(port: int) -> int:
    listed = subprocess.run(["ps", "-ww", "-eo", "stat=,args="], capture_output=True, text=True, check=True).stdout
    return sum(f"-W [127.0.0.1]:{port} " in line and not line.startswith("Z") for line in listed.splitlines())


def test_a_guest_that_does_not_answer_behind_the_host_is_told_in_time(server, host) -> None:
    closed = replace(server.endpoint, port=1)
    guests = SshGuests(lambda: server.home / "fleet_key", dial=host())
    assert guests.banner(closed, timeout_s=10) is None
    with (
        pytest.raises(GuestUnreachable, match="through the host of the libvirt URI"),
        guests.login(closed, timeout_s=20),
    ):
        pass


def test_a_host_that_does_not_know_us_is_told_and_asks_nobody(server, host, stranger_key: Path) -> None:
    guests = SshGuests(lambda: server.home / "fleet_key", dial=host(IdentityFile=stranger_key))
    with (
        pytest.raises(GuestUnreachable, match="through the host of the libvirt URI"),
        guests.login(server.endpoint, timeout_s=20),
    ):
        pass


def test_ssh_itself_goes_the_same_way(server, host, tmp_path: Path) -> None:
    known = tmp_path / "clones"
    write_known_hosts(known, [server.endpoint])
    client = SshClient(server.home / "fleet_key", known, proxy=proxy_command(host().way))
    said = subprocess.run(
        client.argv(server.endpoint, ["echo", "a  b"]), capture_output=True, text=True, timeout=30, check=True
    )
    assert said.stdout == "a  b\n"


@pytest.mark.parametrize(
    ("uri", "way"),
    [
        ("qemu:///system", ()),
        ("test:///default", ()),
        ("qemu+ssh://me@big/system", ("ssh://me@big",)),
        ("qemu+ssh://me@big:2222/system?keyfile=/home/me/k", ("-o", 'IdentityFile="/home/me/k"', "ssh://me@big:2222")),
        ("qemu+tls://big/system", ()),
    ],
)
def test_the_uri_says_the_way(uri: str, way: tuple[str, ...]) -> None:
    dial = dial_for(uri)
    assert (dial.way if isinstance(dial, Jump) else ()) == way
    assert isinstance(dial, Jump) or dial is straight
