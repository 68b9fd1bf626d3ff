"""Files that a user names on the command line: read whole and bounded before anything is done, or written whole."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from moltfleet.model.errors import InvalidInput, NoSpace
from moltfleet.model.names import printable
from moltfleet.model.recipe import CloudConfig, Script

LARGEST = 8 * 2**20


def read_cloud_config(path: Path) -> CloudConfig:
    """Read a user-data file. Raises: InvalidInput."""
    return CloudConfig(origin=str(path), text=_text(path))


def read_script(path: Path) -> Script:
    """Read a program for the guest. Raises: InvalidInput."""
    return Script(name=path.name, content=_bytes(path))


def read_public_keys(path: Path) -> tuple[str, ...]:
    """Read the key lines of a public key file. Raises: InvalidInput, for a private key above all."""
    text = _text(path)
    if "PRIVATE KEY" in text:
        raise InvalidInput(f"{_quoted(path)} is a private key", hint="Name the public one, which ends in .pub.")
    lines = tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    if not lines or not all(line.startswith(("ssh-", "ecdsa-", "sk-")) for line in lines):
        raise InvalidInput(f"{_quoted(path)} is not a public SSH key", hint="It has lines such as 'ssh-ed25519 AAAA…'.")
    return lines


def read_tasks(path: Path) -> tuple[str, ...]:
    """Read tasks: one for each line of a file, or each file of a directory in the order of their names.

    Raises: InvalidInput, also when there is none.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        tasks = tuple(_text(file).strip() for file in files)
    else:
        tasks = tuple(line.strip() for line in _text(path).splitlines())
    found = tuple(task for task in tasks if task)
    if not found:
        raise InvalidInput(
            f"{_quoted(path)} has no task in it", hint="A line for each, or a directory with a file for each."
        )
    return found


def write_text(path: Path, text: str) -> None:
    """Write a result there, whole or not at all; devices and pipes are written to. Raises: InvalidInput, NoSpace."""
    target = path.resolve()
    try:
        if target.exists() and not target.is_file():
            target.write_text(text)
        else:
            _replace(target, text)
    except OSError as error:
        kind = NoSpace if error.errno == errno.ENOSPC else InvalidInput
        raise kind(f"{_quoted(path)} cannot be written: {error.strerror}") from error


def _replace(target: Path, text: str) -> None:
    temporary = target.with_name(f".{target.name[:200]}.{os.getpid()}")
    try:
        temporary.write_text(text)
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{_quoted(path)} is not UTF-8 text") from error


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise InvalidInput(f"{_quoted(path)} cannot be read: {error.strerror}") from error
    if len(content) > LARGEST:
        raise InvalidInput(f"{_quoted(path)} is longer than {LARGEST // 2**20} MiB")
    return content


def _quoted(path: Path) -> str:
    return f"File '{printable(str(path))}'"
