"""Copies over a real sshd, and out of a server that lies."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from moltfleet.adapters.ssh import SshGuests
from moltfleet.model.domain import Endpoint
from moltfleet.model.errors import DeadlinePassed, GuestFailed, GuestUnreachable, InvalidInput, NotFound, ToolFailed

AWKWARD = [
    b"a b",
    b"new\nline",
    b"-rf",
    b"--",
    b"'quoted\"",
    b"*",
    b"caf\xc3\xa9",
    b"latin-\xe9",
    b".hidden",
    b"$(touch x)",
]


Subsystem = tuple[type[paramiko.SubsystemHandler], *tuple[type, ...]]


def tree_of(root: Path) -> dict[bytes, bytes | None]:
    """Map relative paths to contents; None for a directory, "-> target" for a symlink."""
    return {os.fsencode(path.relative_to(root)): _content(path) for path in root.rglob("*")}


def _content(path: Path) -> bytes | None:
    if path.is_symlink():
        return b"-> " + os.fsencode(path.readlink())
    return None if path.is_dir() else path.read_bytes()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """200 files in directories, awkward names, an empty directory, an empty file, an executable, a symlink."""
    root = tmp_path / "tree"
    for number in range(200):
        path = root / f"d{number % 7}" / f"e{number % 3}" / f"file-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 10))
    for name in AWKWARD:
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(name)
    (root / "empty").mkdir()
    (root / "nothing").touch()
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "link").symlink_to("d0/e0")
    return root


def test_a_directory_makes_the_round_trip_unchanged(session, tree, tmp_path):
    moved: list[int] = []
    session.put(tree, f"{tmp_path}/in-guest", on_bytes=moved.append)
    session.get(f"{tmp_path}/in-guest", tmp_path / "back")
    expected = tree_of(tree)
    assert len(expected) > 200
    assert tree_of(tmp_path / "in-guest") == expected
    assert tree_of(tmp_path / "back") == expected
    assert os.access(tmp_path / "back/run", os.X_OK) and not os.access(tmp_path / "back/nothing", os.X_OK)
    assert moved == sorted(moved) and moved[-1] == sum(len(c) for p, c in expected.items() if c and p != b"link")


def test_a_repeated_copy_merges_and_replaces(session, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("new")
    (source / "l").symlink_to("a")
    target = tmp_path / "target"
    target.mkdir()
    (target / "a").write_text("old")
    (target / "kept").write_text("kept")
    for _ in range(2):
        session.put(source, str(target))
    assert tree_of(target) == {b"a": b"new", b"kept": b"kept", b"l": b"-> a"}


def test_a_large_file_is_whole(session, tmp_path):
    content = os.urandom(3 << 20) * 3
    (tmp_path / "big").write_bytes(content)
    session.put(tmp_path / "big", f"{tmp_path}/big-in-guest")
    session.get(f"{tmp_path}/big-in-guest", tmp_path / "big-back")
    assert (tmp_path / "big-back").read_bytes() == content


def test_a_file_goes_into_a_directory_that_is_there(session, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    session.put(tmp_path / "file", f"{tmp_path}/there")
    session.get(f"{tmp_path}/there/file", tmp_path / "here")
    assert (tmp_path / "here/file").read_text() == "x"


def test_a_trailing_slash_means_into(session, tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_text("x")
    (tmp_path / "there").mkdir()
    session.put(tmp_path / "dir", f"{tmp_path}/there/")
    assert (tmp_path / "there/dir/file").read_text() == "x"


def test_devices_and_pipes_are_skipped_and_named(session, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    os.mkfifo(source / "pi\x1bpe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(source / "sock"))
        (source / "file").write_text("x")
        skipped: list[str] = []
        session.get(str(source), tmp_path / "out", on_skip=skipped.append)
        session.put(source, f"{tmp_path}/in", on_skip=skipped.append)
    assert tree_of(tmp_path / "out") == tree_of(tmp_path / "in") == {b"file": b"x"}
    assert len(skipped) == 4
    assert f"{source}/pi?pe: not a file, directory or symlink" in skipped


def test_symlinks_that_lead_out_are_not_made(session, tmp_path):
    source = tmp_path / "source"
    (source / "deep/er").mkdir(parents=True)
    (source / "absolute").symlink_to("/etc/passwd")
    (source / "up").symlink_to("../secret")
    (source / "deep/er/up").symlink_to("../../../secret")
    (source / "deep/er/inside").symlink_to("../../deep")
    (source / "sly").symlink_to("deep/er/inside/../../secret")
    skipped: list[str] = []
    session.get(str(source), tmp_path / "out", on_skip=skipped.append)
    assert tree_of(tmp_path / "out") == {b"deep": None, b"deep/er": None, b"deep/er/inside": b"-> ../../deep"}
    assert sum("symlink that leads out of the copied directory" in line for line in skipped) == 4


def test_a_symlink_planted_here_is_not_followed(session, tmp_path):
    source, out, victim = tmp_path / "source", tmp_path / "out", tmp_path / "victim"
    (source / "d").mkdir(parents=True)
    (source / "d/file").write_text("evil")
    (source / "f").write_text("evil")
    out.mkdir()
    victim.mkdir()
    (victim / "f").write_text("good")
    (out / "f").symlink_to(victim / "f")
    (out / "d").symlink_to(victim)
    with pytest.raises(ToolFailed) as caught:
        session.get(str(source), out)
    assert caught.value.brief == f"{out / 'd'} is a file or a symlink, not a directory"
    (out / "d").unlink()
    session.get(str(source), out)
    assert tree_of(victim) == {b"f": b"good"}
    assert tree_of(out) == {b"d": None, b"d/file": b"evil", b"f": b"evil"}


def test_the_limit_stops_a_copy_and_leaves_no_partial_file(session, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(b"x" * 1000)
    (source / "b").write_bytes(b"x" * 1000)
    with pytest.raises(GuestFailed) as caught:
        session.get(str(source), tmp_path / "out", limit=1500)
    assert caught.value.brief == "Copy from guest 'crab-1' is larger than 1.5 KiB"
    assert list(tree_of(tmp_path / "out")) == [b"a"]


def test_an_endless_file_ends_at_the_limit(session, tmp_path):
    """/dev/zero claims no size; through a symlink it is a device and refused, so a growing claim is made by /proc."""
    with pytest.raises(InvalidInput):
        session.get("/dev/zero", tmp_path / "zero", limit=1 << 20)
    session.get("/proc/self/status", tmp_path / "status", limit=1 << 20)
    assert b"Name:" in (tmp_path / "status").read_bytes()


def test_what_does_not_exist_is_not_found(session, tmp_path):
    with pytest.raises(NotFound) as caught:
        session.get("/no/such/file", tmp_path / "x")
    assert caught.value.brief == "Guest 'crab-1' has no '/no/such/file'"
    with pytest.raises(NotFound) as caught:
        session.put(tmp_path / "nothing-here", "/tmp/x")
    assert caught.value.brief == f"No file or directory '{tmp_path}/nothing-here' on this machine"
    with pytest.raises(NotFound):
        session.write("/no/such/directory/file", b"x")
    assert session.run("true").exit_code == 0


def test_a_copy_onto_a_directory_by_a_file_fails_and_leaves_nothing(session, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/x").write_text("file")
    (tmp_path / "target/x/inner").mkdir(parents=True)
    with pytest.raises(GuestFailed):
        session.put(tmp_path / "source", f"{tmp_path}/target")
    with pytest.raises(ToolFailed):
        session.get(f"{tmp_path}/source", tmp_path / "target")
    assert tree_of(tmp_path / "target") == {b"x": None, b"x/inner": None}


def test_a_small_file_is_written_whole_with_its_mode(session, tmp_path):
    target = tmp_path / "secret"
    target.symlink_to(tmp_path / "elsewhere")
    session.write(str(target), b"token", mode=0o600)
    assert not target.is_symlink() and target.read_bytes() == b"token"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert not (tmp_path / "elsewhere").exists()


class _Liar(paramiko.SFTPServerInterface):
    """Lists names that a file system cannot have, and lies about what they are."""

    def list_folder(self, path: str) -> list[paramiko.SFTPAttributes]:
        if path != "/evil":
            return [_attributes("owned", stat.S_IFREG | 0o644)]
        return [
            _attributes("../escaped", stat.S_IFREG | 0o644),
            _attributes("/tmp/escaped", stat.S_IFREG | 0o644),
            _attributes("..", stat.S_IFDIR | 0o755),
            _attributes("", stat.S_IFREG | 0o644),
            _attributes("nul\0name", stat.S_IFREG | 0o644),
            _attributes("x" * 300, stat.S_IFREG | 0o644),
            _attributes("trap", stat.S_IFLNK | 0o777),
            _attributes("trap", stat.S_IFDIR | 0o755),
            _attributes("honest", stat.S_IFREG | 0o6777, size=1 << 62),
        ]

    def stat(self, path: str) -> paramiko.SFTPAttributes:
        return _attributes(path, stat.S_IFDIR | 0o755)

    lstat = stat

    def readlink(self, path: str) -> str:
        return "inner"

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> _LiarFile:
        return _LiarFile(flags)


class _LiarFile(paramiko.SFTPHandle):
    def read(self, offset: int, length: int) -> bytes | int:
        return b"content" if offset == 0 else paramiko.SFTP_EOF


def _attributes(name: str, mode: int, size: int = 7) -> paramiko.SFTPAttributes:
    attributes = paramiko.SFTPAttributes()
    attributes.filename, attributes.longname = name, name
    attributes.st_mode, attributes.st_size = mode, size
    return attributes


class _Anyone(paramiko.ServerInterface):
    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED


class _Flood(paramiko.SubsystemHandler):
    """Writes to standard error without end and without regard for the window."""

    def start_subsystem(self, name: str, transport: paramiko.Transport, channel: paramiko.Channel) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            while transport.is_active():
                channel.out_window_size = 1 << 30
                channel.sendall_stderr(b"x" * 30_000)


@pytest.fixture
def subsystem() -> Subsystem:
    return (paramiko.SFTPServer, _Liar)


@pytest.fixture
def liar(server, subsystem: Subsystem) -> Iterator[Endpoint]:
    """A server of our own making whose SFTP lies."""
    listener = socket.create_server(("127.0.0.1", 0))
    transports: list[paramiko.Transport] = []

    def serve() -> None:
        connection, _ = listener.accept()
        transport = paramiko.Transport(connection)
        transport.add_server_key(paramiko.Ed25519Key.from_private_key_file(str(server.home / "host_key")))
        transport.set_subsystem_handler("sftp", *subsystem)
        transports.append(transport)
        transport.start_server(server=_Anyone())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield replace(server.endpoint, port=listener.getsockname()[1])
    listener.close()
    for transport in transports:
        transport.close()
    thread.join(5)


def test_names_from_a_lying_guest_never_leave_the_directory(server, liar, tmp_path):
    out = tmp_path / "a" / "out"
    skipped: list[str] = []
    guests = SshGuests(lambda: server.home / "fleet_key")
    with guests.login(liar, timeout_s=20) as session, pytest.raises(ToolFailed) as caught:
        session.get("/evil", out, on_skip=skipped.append)
    assert caught.value.brief == f"{out / 'trap'} is a file or a symlink, not a directory"
    assert tree_of(tmp_path) == {
        b"a": None,
        b"a/out": None,
        b"a/out/honest": b"content",
        b"a/out/trap": b"-> inner",
    }
    assert stat.S_IMODE((out / "honest").stat().st_mode) & 0o7000 == 0
    assert sum(line.endswith("not a file name") for line in skipped) == 4


@pytest.mark.parametrize("subsystem", [(_Flood,)])
def test_a_guest_that_floods_a_copy_is_cut_off(server, liar, tmp_path):
    guests = SshGuests(lambda: server.home / "fleet_key")
    with guests.login(liar, timeout_s=20) as session, pytest.raises(GuestUnreachable) as caught:
        session.get("/evil", tmp_path / "out")
    assert caught.value.brief == "Guest 'crab-1' closed the SSH connection"
    assert "window" in caught.value.details


def test_a_guest_that_drops_in_mid_copy_is_unreachable(server, tmp_path):
    with server.guests().login(server.endpoint, timeout_s=20) as session:
        process = int(session.run("echo $PPID").text)
        with (tmp_path / "big").open("wb") as big:
            big.truncate(64 << 20)
        with pytest.raises(GuestUnreachable):
            session.get(f"{tmp_path}/big", tmp_path / "copy", on_bytes=lambda _: os.kill(process, signal.SIGKILL))
    assert not (tmp_path / "copy").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big"]


def test_a_guest_that_falls_silent_in_mid_copy_passes_the_deadline(server, frozen, tmp_path, monkeypatch):
    monkeypatch.setattr("moltfleet.adapters.ssh.sftp.SILENCE_S", 1.0)
    with server.guests().login(server.endpoint, timeout_s=20) as session:
        session.write(f"{tmp_path}/first", b"x")
        frozen_already: list[bool] = []

        def stop(_: int) -> None:
            if not frozen_already:
                frozen_already.append(True)
                frozen(session)

        (tmp_path / "big").write_bytes(bytes(8 << 20))
        with pytest.raises(DeadlinePassed) as caught:
            session.get(f"{tmp_path}/big", tmp_path / "copy", on_bytes=stop)
    assert caught.value.brief == "Guest 'crab-1' sent nothing for 1 s during a copy"
    assert not (tmp_path / "copy").exists()
