"""What adds keys over SSH, run by a real shell behind a real sshd; who was let in then logs in."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from moltfleet.adapters.ssh import SshGuests
from moltfleet.model.errors import LoginRefused
from moltfleet.operations.authorise import ADD_KEYS


@pytest.fixture
def home(server, tmp_path: Path) -> Iterator[Path]:
    """A home directory whose authorized_keys is that of the server."""
    before = (server.home / "authorized_keys").read_bytes()
    (tmp_path / "a home/.ssh").mkdir(parents=True)
    (tmp_path / "a home/.ssh/authorized_keys").symlink_to(server.home / "authorized_keys")
    yield tmp_path / "a home"
    (server.home / "authorized_keys").write_bytes(before)


def add(session, home: Path, *keys: str) -> None:
    lines = "".join(f"{key}\n" for key in keys).encode()
    result = session.run(f"HOME={shlex.quote(str(home))}\nexport HOME\n{ADD_KEYS}", input=lines)
    assert (result.exit_code, result.stderr) == (0, b"")


def test_who_was_let_in_logs_in(server, session, stranger_key, home):
    stranger = SshGuests(lambda: stranger_key)
    with pytest.raises(LoginRefused), stranger.login(server.endpoint, timeout_s=20):
        pass
    # A file whose last line is not ended, as an editor may leave it.
    path = server.home / "authorized_keys"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    key = stranger_key.with_suffix(".pub").read_text().strip()
    add(session, home, key)
    add(session, home, key)
    assert path.read_text().splitlines()[1:] == [key]
    for guests in (stranger, server.guests()):
        with guests.login(server.endpoint, timeout_s=20) as opened:
            assert opened.run("echo in").stdout == b"in\n"


def test_what_is_missing_is_made_private_and_keys_stay_as_they_are(session, tmp_path):
    strange = "ssh-ed25519 AAAA -e $(touch owned) 'it\\n*"
    add(session, tmp_path, strange, "-f key", strange)
    path = tmp_path / ".ssh/authorized_keys"
    assert path.read_text() == f"{strange}\n-f key\n"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert sorted(found.name for found in tmp_path.iterdir()) == [".ssh"]


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_every_shell_reads_it_alike(tmp_path, shell):
    argv = ["busybox", "sh"] if shell == "busybox" else [shell]
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    subprocess.run([*argv, "-c", ADD_KEYS], input=b"key a\nkey b\n", env=environment, check=True, timeout=30)
    assert (tmp_path / ".ssh/authorized_keys").read_text() == "key a\nkey b\n"
