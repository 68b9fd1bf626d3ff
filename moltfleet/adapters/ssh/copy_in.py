"""Copies files and directories of this machine into a guest."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from moltfleet.adapters.ssh.sftp import CHUNK, Sftp, remote_path
from moltfleet.adapters.ssh.tally import Tally
from moltfleet.model.errors import InvalidInput, NotFound, ToolFailed
from moltfleet.model.names import printable

if TYPE_CHECKING:
    from moltfleet.model.ports import OnBytes, OnSkip


def put(sftp: Sftp, local: Path, remote: str, *, on_bytes: OnBytes | None, on_skip: OnSkip | None) -> None:
    """Make ``remote`` what ``local`` is; a directory is merged into one that is there.

    Into the directory ``remote`` under local's name, when ``remote`` is empty or ends with a slash, or when a file is
    sent to a directory. Symlinks inside a directory stay symlinks; devices, sockets and pipes are skipped.
    Raises: NotFound for ``local``, ToolFailed when it cannot be read, InvalidInput, GuestFailed.
    """
    source = os.fsencode(local)
    found = _stat(source)
    target = _target(sftp, local, remote, is_file=stat.S_ISREG(found.st_mode))
    tally = Tally(on_bytes, on_skip)
    if stat.S_ISDIR(found.st_mode):
        _put_directory(sftp, source, target, found.st_mode, tally)
    elif stat.S_ISREG(found.st_mode):
        sftp.write_file(target, _read(source, tally), mode=stat.S_IMODE(found.st_mode) & 0o777)
    else:
        raise InvalidInput(f"{local} is neither a file nor a directory")


def _target(sftp: Sftp, local: Path, remote: str, *, is_file: bool) -> bytes:
    path = remote_path(remote)
    name = os.fsencode(local.resolve().name)
    if remote in ("", "~") or remote.endswith("/"):
        return path.rstrip(b"/") + b"/" + name
    there = sftp.find(path) if is_file else None
    return path + b"/" + name if there and stat.S_ISDIR(there.kind) else path


def _put_directory(sftp: Sftp, source: bytes, target: bytes, mode: int, tally: Tally) -> None:
    sftp.make_directory(target, mode=stat.S_IMODE(mode) & 0o777 | 0o700)
    for entry in _scan(source):
        path = target + b"/" + entry.name
        if entry.is_symlink():
            sftp.write_link(path, _readlink(entry.path))
        elif entry.is_dir(follow_symlinks=False):
            _put_directory(sftp, entry.path, path, _stat(entry.path).st_mode, tally)
        elif entry.is_file(follow_symlinks=False):
            sftp.write_file(path, _read(entry.path, tally), mode=stat.S_IMODE(_stat(entry.path).st_mode) & 0o777)
        else:
            tally.skip(entry.path, "not a file, directory or symlink")


def _read(path: bytes, tally: Tally) -> Iterator[bytes]:
    try:
        with open(path, "rb", buffering=0) as source:  # noqa: PTH123 (a path in bytes)
            while chunk := source.read(CHUNK):
                yield chunk
                tally.add(len(chunk))
    except OSError as error:
        raise _unreadable(path, error) from error


def _scan(path: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(path, error) from error


def _stat(path: bytes) -> os.stat_result:
    try:
        return os.stat(path)  # noqa: PTH116 (a path in bytes)
    except FileNotFoundError as error:
        raise NotFound(f"No file or directory {printable(os.fsdecode(path))!r} on this machine") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _readlink(path: bytes) -> bytes:
    try:
        return os.readlink(path)  # noqa: PTH115 (a path in bytes)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: bytes, error: OSError) -> ToolFailed:
    return ToolFailed(f"{printable(os.fsdecode(path))} cannot be read: {error.strerror}")
