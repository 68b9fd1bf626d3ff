"""What was put into the guest, as written down there before it was: removing goes by it, and so does a repair."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field

from moltguest.install.tree import HOME

PATH = f"{HOME}/installed.json"
SCHEMA = "moltfleet.installed/1"
# How the name ends of what is being written beside a file.
UNFINISHED = ".moltfleet-new"


@dataclass(slots=True)
class Record:
    """``files`` are checksums by path without the leading slash, a link's is "-> target".

    ``saved`` are foreign files that lie in the store until removal, ``merged`` what was done to files of others,
    ``lingering`` the users whose service managers were told to stay, ``folders`` and ``versions`` what was made here.
    """

    version: str = ""
    tree: str = ""
    files: dict[str, str] = field(default_factory=dict)
    saved: list[str] = field(default_factory=list)
    merged: dict[str, dict[str, str]] = field(default_factory=dict)
    lingering: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)


def read_record(root: str) -> Record | None:
    """Return what is installed below ``root``, None when nothing is. Raises: ValueError when it cannot be told."""
    path = os.path.join(root, PATH)
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read())
    except FileNotFoundError:
        return None
    if not isinstance(content, dict) or content.pop("schema", "") != SCHEMA:
        raise ValueError(f"/{PATH} is no record of an installation")
    try:
        return Record(**content)
    except TypeError as error:
        raise ValueError(f"/{PATH}: {error}") from error


def write_record(root: str, record: Record) -> None:
    """Write it down, in one go."""
    text = json.dumps({"schema": SCHEMA, **asdict(record)}, indent=1) + "\n"
    write_file(os.path.join(root, PATH), text.encode(), 0o644)


def write_file(path: str, content: bytes, mode: int) -> None:
    """Write a file so that nobody ever sees half of it."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    new = path + UNFINISHED
    with open(new, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(new, mode)
    os.replace(new, path)


def write_link(path: str, target: str) -> None:
    """Make a link, or turn it, in one go."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    new = path + UNFINISHED
    if os.path.lexists(new):
        os.unlink(new)
    os.symlink(target, new)
    os.replace(new, path)
