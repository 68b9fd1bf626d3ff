"""SFTP as the copies need it: names are bytes, sizes are not believed, every wait ends, errors are this project's.

paramiko's own ``listdir`` fails on a name that is not UTF-8, and its ``get`` plans all requests for whatever size the
guest announces; so directories are read and files copied here, over paramiko's protocol layer.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import paramiko
from paramiko.message import Message
from paramiko.sftp import CMD_ATTRS, CMD_CLOSE, CMD_HANDLE, CMD_NAME, CMD_OPENDIR, CMD_READDIR, CMD_STAT
from paramiko.sftp_attr import SFTPAttributes

from moltfleet.adapters.ssh import faults
from moltfleet.adapters.ssh.command import cutoff
from moltfleet.model.errors import GuestFailed, InvalidInput, MoltfleetError, NotFound
from moltfleet.model.names import printable

if TYPE_CHECKING:
    from moltfleet.adapters.ssh.transport import GuestTransport

# How long a guest may stay silent in the middle of a copy.
SILENCE_S = 60.0
# OpenSSH's sftp-server accepts messages of up to 256 KiB; large requests make pipelining needless on a local bridge.
CHUNK = 255 * 1024
# A directory of more entries is not a work tree but an attack on this machine's memory.
MOST_ENTRIES = 1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A directory entry as the guest tells it. ``kind`` is the file type of stat(2), 0 when it does not say."""

    name: bytes
    kind: int
    mode: int


class _Client(paramiko.SFTPClient):
    """paramiko's client with a directory listing in bytes."""

    def listing(self, path: bytes) -> list[Entry]:
        """Return the entries of ``path`` without "." and "..", sorted by name."""
        kind, message = self._request(CMD_OPENDIR, path)  # type: ignore[attr-defined]
        if kind != CMD_HANDLE:
            raise paramiko.SFTPError("expected a handle")
        handle = message.get_binary()
        entries: list[Entry] = []
        with contextlib.suppress(EOFError):
            while len(entries) <= MOST_ENTRIES:
                entries += self._batch(handle)
        self._request(CMD_CLOSE, handle)  # type: ignore[attr-defined]
        if len(entries) > MOST_ENTRIES:
            raise paramiko.SFTPError(f"directory of more than {MOST_ENTRIES} entries")
        return sorted((e for e in entries if e.name not in (b".", b"..")), key=lambda entry: entry.name)

    def look_up(self, path: bytes) -> Entry:
        """Return what ``path`` is, through symlinks."""
        kind, message = self._request(CMD_STAT, path)  # type: ignore[attr-defined]
        if kind != CMD_ATTRS:
            raise paramiko.SFTPError("expected attributes")
        return _entry(path, message)

    def _batch(self, handle: bytes) -> list[Entry]:
        kind, message = self._request(CMD_READDIR, handle)  # type: ignore[attr-defined]
        if kind != CMD_NAME:
            raise paramiko.SFTPError("expected names")
        remaining = message.get_int()
        # Each name takes at least 12 bytes; a larger count is a lie.
        if remaining * 12 > len(message.asbytes()):
            raise paramiko.SFTPError(f"{remaining} names announced")
        return [self._next_entry(message) for _ in range(remaining)]

    @staticmethod
    def _next_entry(message: Message) -> Entry:
        name, _listed = message.get_binary(), message.get_binary()
        return _entry(name, message)


def _entry(name: bytes, message: Message) -> Entry:
    """Read an ATTRS structure, of which only the mode matters here.

    paramiko's own parser loops as often as the guest says that there are extended attributes.
    """
    flags = message.get_int()
    message.get_bytes(8 if flags & SFTPAttributes.FLAG_SIZE else 0)
    message.get_bytes(8 if flags & SFTPAttributes.FLAG_UIDGID else 0)
    mode = message.get_int() if flags & SFTPAttributes.FLAG_PERMISSIONS else 0
    message.get_bytes(8 if flags & SFTPAttributes.FLAG_AMTIME else 0)
    if flags & SFTPAttributes.FLAG_EXTENDED:
        raise paramiko.SFTPError("extended attributes, which nobody asked for")
    return Entry(name, stat.S_IFMT(mode), stat.S_IMODE(mode))


def open_sftp(transport: GuestTransport, name: str) -> Sftp:
    """Start the SFTP subsystem on its own channel."""
    with _translated(transport, name, b"its files"), cutoff(transport, SILENCE_S):
        channel = transport.open_session(timeout=SILENCE_S)
        channel.settimeout(SILENCE_S)
        channel.invoke_subsystem("sftp")
        return Sftp(_Client(channel), transport, name)


class Sftp:
    """File operations in one guest. Paths are bytes, relative ones start at the login user's home."""

    def __init__(self, client: _Client, transport: GuestTransport, name: str) -> None:
        self._client = client
        self._transport = transport
        self.guest = name

    def close(self) -> None:
        """End the subsystem; a dead connection is fine."""
        with contextlib.suppress(*_FOREIGN):
            self._client.close()

    def find(self, path: bytes) -> Entry | None:
        """Look a path up, through symlinks; None when there is nothing."""
        try:
            with _translated(self._transport, self.guest, path):
                return self._client.look_up(path)
        except NotFound:
            return None

    def listing(self, path: bytes) -> list[Entry]:
        """Return what is in a directory, sorted by name."""
        with _translated(self._transport, self.guest, path):
            return self._client.listing(path)

    def readlink(self, path: bytes) -> bytes:
        """Return a symlink's target."""
        with _translated(self._transport, self.guest, path):
            target: str | bytes | None = self._client.readlink(path)
        return target.encode("utf-8") if isinstance(target, str) else target or b""

    def chunks(self, path: bytes) -> Iterator[bytes]:
        """Yield a file's content until its end, whatever size it claims."""
        with _translated(self._transport, self.guest, path), self._client.open(path, "rb", bufsize=0) as source:
            source.MAX_REQUEST_SIZE = CHUNK
            while chunk := source.read(CHUNK):
                yield bytes(chunk)

    def make_directory(self, path: bytes, *, mode: int) -> None:
        """Make a directory, unless there is one."""
        try:
            with _translated(self._transport, self.guest, path):
                self._client.mkdir(path, mode)
        except MoltfleetError:
            found = self.find(path)
            if found is None or not stat.S_ISDIR(found.kind):
                raise

    def write_file(self, path: bytes, chunks: Iterable[bytes], *, mode: int) -> None:
        """Write a file under a temporary name and rename it to ``path``; a symlink there is replaced, not followed."""
        temporary = _beside(path)
        with self._replacing(temporary, path), self._client.open(temporary, "wbx", bufsize=0) as target:
            target.MAX_REQUEST_SIZE = CHUNK
            # Before the first byte of content, which may be secret.
            target.chmod(mode)
            for chunk in chunks:
                target.write(chunk)

    def write_link(self, path: bytes, target: bytes) -> None:
        """Make ``path`` a symlink to ``target``, in the place of what is there."""
        temporary = _beside(path)
        with self._replacing(temporary, path):
            self._client.symlink(target, temporary)

    @contextlib.contextmanager
    def _replacing(self, temporary: bytes, path: bytes) -> Iterator[None]:
        with _translated(self._transport, self.guest, path):
            try:
                yield
                self._client.posix_rename(temporary, path)
            except BaseException:
                with contextlib.suppress(*_FOREIGN):
                    self._client.remove(temporary)
                raise


def remote_path(text: str) -> bytes:
    """Return the path that SFTP understands; "~" and "~/" mean the login user's home, as everywhere else.

    Raises: InvalidInput for a path with a null byte.
    """
    path = "." if text in ("", "~") else text.removeprefix("~/")
    if "\0" in path:
        raise InvalidInput(f"Path {printable(text)!r} contains a null byte")
    return os.fsencode(path) or b"."


_FOREIGN = (paramiko.SSHException, paramiko.SFTPError, EOFError, OSError, ValueError, struct.error)


def _beside(path: bytes) -> bytes:
    directory, slash, _ = path.rpartition(b"/")
    return directory + slash + f".moltfleet-{secrets.token_hex(6)}".encode("ascii")


@contextlib.contextmanager
def _translated(transport: GuestTransport, guest: str, path: bytes) -> Iterator[None]:
    """Turn what paramiko raises for ``path`` into this project's errors."""
    try:
        yield
    except _FOREIGN as error:
        if isinstance(error, TimeoutError):
            raise faults.silent(guest, SILENCE_S) from error
        if not transport.is_active():
            raise faults.lost(guest, transport.get_exception() or error) from error
        raise _refusal(guest, printable(path.decode("utf-8", "replace")), error) from error


def _refusal(guest: str, path: str, error: BaseException) -> MoltfleetError:
    """What a guest that still talks says about ``path``."""
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.ENOENT:
        return NotFound(f"Guest {guest!r} has no {path!r}")
    if code == errno.EACCES:
        return GuestFailed(f"Guest {guest!r} denies access to {path!r}", hint="The login user lacks the permission.")
    return GuestFailed(f"Guest {guest!r} failed on {path!r}", details=printable(f"{type(error).__name__}: {error}"))
