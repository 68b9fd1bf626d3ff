"""Files that belong to others and hold a word of ours: it is added, everything else stays, and it can be taken out."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable

from moltguest.install.record import write_file

ENVIRONMENT = "etc/environment"
DAEMON = "etc/docker/daemon.json"
FIRST = "/usr/local/sbin"
# What Debian gives to everybody, with the administrator's places before: pam_env(8) knows no "$PATH".
_PATH = f"{FIRST}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/games:/usr/games"
_PARENT = "docker.slice"

Note = dict[str, str]


def with_path(text: str) -> str:
    """Return /etc/environment with our directory first on the PATH; the same text when it is."""
    lines = text.splitlines(keepends=True)
    for index, line in enumerate(lines):
        name, equals, value = line.strip().partition("=")
        if name.removeprefix("export ").strip() != "PATH" or not equals:
            continue
        words = value.strip("\"'").split(":")
        if words[0] != FIRST:
            kept = ":".join(word for word in words if word != FIRST)
            lines[index] = f'PATH="{FIRST}:{kept}"\n'
        return "".join(lines)
    end = "" if not lines or lines[-1].endswith("\n") else "\n"
    return f'{text}{end}PATH="{_PATH}"\n'


def with_parent(text: str) -> str:
    """Return daemon.json with containers in docker.slice; the same text when somebody has put them anywhere.

    Raises: ValueError when it is none.
    """
    settings = json.loads(text) if text.strip() else {}
    if not isinstance(settings, dict):
        raise ValueError("not an object")
    if "cgroup-parent" in settings:
        return text
    return json.dumps({**settings, "cgroup-parent": _PARENT}, indent=2) + "\n"


def without_parent(text: str) -> str:
    """Return daemon.json without our word in it."""
    settings = json.loads(text)
    if isinstance(settings, dict) and settings.get("cgroup-parent") == _PARENT:
        del settings["cgroup-parent"]
    return json.dumps(settings, indent=2) + "\n"


def without_path(text: str) -> str:
    """Return /etc/environment without the line that we added; one that was changed since stays."""
    return "".join(line for line in text.splitlines(keepends=True) if line.strip() != f'PATH="{_PATH}"')


def wanted(root: str) -> dict[str, Callable[[str], str]]:
    """Return what is to be merged in this guest: Docker's file only where Docker is."""
    found: dict[str, Callable[[str], str]] = {ENVIRONMENT: with_path}
    if any(os.path.exists(os.path.join(root, path)) for path in ("usr/bin/dockerd", "etc/docker")):
        found[DAEMON] = with_parent
    return found


def plan(root: str, path: str, change: Callable[[str], str]) -> tuple[Note | None, str]:
    """Return what is to be written and what there is now, None when it is right; and what is wrong, if anything."""
    before = _read(os.path.join(root, path))
    try:
        after = change((before or b"").decode("utf-8"))
    except ValueError as error:
        return None, f"/{path} cannot be read, and is left as it is: {error}"
    if after.encode() == (before or b""):
        return None, ""
    note = {"ours": base64.b64encode(after.encode()).decode()}
    if before is not None:
        note["before"] = base64.b64encode(before).decode()
    return note, ""


def merge(root: str, path: str, note: Note) -> None:
    """Write what was planned."""
    whole = os.path.join(root, path)
    write_file(whole, base64.b64decode(note["ours"]), _mode(whole))


def unmerge(root: str, path: str, note: Note) -> str:
    """Take our word out of a file; what others have written since stays. Returns what is wrong, if anything."""
    whole = os.path.join(root, path)
    now = _read(whole)
    before = base64.b64decode(note["before"]) if "before" in note else None
    if now is None or now == before:
        return ""
    if now == base64.b64decode(note["ours"]):
        if before is None:
            os.unlink(whole)
        else:
            write_file(whole, before, _mode(whole))
        return ""
    try:
        rest = (without_parent if path == DAEMON else without_path)(now.decode("utf-8"))
    except ValueError as error:
        return f"/{path} has been changed, and is left as it is: {error}"
    write_file(whole, rest.encode(), _mode(whole))
    return ""


def is_merged(root: str, path: str) -> bool:
    """Whether our word, or somebody's own, still stands in a file."""
    now = _read(os.path.join(root, path))
    try:
        return now is not None and (with_parent if path == DAEMON else with_path)(now.decode()) == now.decode()
    except ValueError:
        return False


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        return 0o644
