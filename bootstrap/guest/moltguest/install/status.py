"""Whether everything is as it was installed, told from the files themselves."""

from __future__ import annotations

import os

from moltguest.install.merge import is_merged
from moltguest.install.record import Record
from moltguest.install.tree import HOME, digest, digest_of_tree, read_tree

SCHEMA = "moltfleet.guest-tools/1"


def document(root: str, record: Record | None) -> dict[str, object]:
    """Return what is installed, and what of it is no longer as it was; ``version`` is None when nothing is."""
    if record is None or not record.version:
        return {"schema": SCHEMA, "version": None, "sha256": None, "installed": {}, "changed": [], "missing": []}
    found = {path: digest_at(root, path) for path in record.files}
    changed = [path for path, now in found.items() if now is not None and now != record.files[path]]
    changed += [path for path in record.merged if not is_merged(root, path)]
    files = read_tree(os.path.join(root, HOME, "current"))
    if digest_of_tree(files) != record.tree and not any(
        path.startswith(f"{HOME}/{record.version}/") for path in changed
    ):
        # A file that was added, or another version than the record's.
        changed.append(f"{HOME}/current")
    return {
        "schema": SCHEMA,
        "version": record.version,
        "sha256": record.tree,
        "installed": {f"/{path}": checksum for path, checksum in sorted(record.files.items())},
        "changed": sorted(f"/{path}" for path in changed),
        "missing": sorted(f"/{path}" for path, now in found.items() if now is None),
    }


def digest_at(root: str, path: str) -> str | None:
    """Return the checksum of a file or link as a record has it, None when it is not there."""
    whole = os.path.join(root, path)
    try:
        if os.path.islink(whole):
            return f"-> {os.readlink(whole)}"
        with open(whole, "rb") as file:
            return digest(file.read())
    except OSError:
        return None


def text(shown: dict[str, object]) -> str:
    """Return it for a person."""
    if shown["version"] is None:
        return "Nothing is installed\n"
    lines = [f"Version {shown['version']}"]
    for word in ("changed", "missing"):
        paths = shown[word]
        lines += [f"{word:<8} {path}" for path in paths] if isinstance(paths, list) else []
    if len(lines) == 1:
        lines.append("Every file is as it was installed")
    return "\n".join(lines) + "\n"
