"""The head of a git bundle, read without git: which refs it claims to hold, and on which commits it stands.

See gitformat-bundle(5). Bounded, as it comes from a guest; names of refs are looked at and never used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from moltfleet.model.names import printable

_LARGEST_HEAD = 1 << 20
_MOST_OBJECTS = 1_000_000
_SIGNATURES = {b"# v2 git bundle\n": "sha1", b"# v3 git bundle\n@object-format=sha256\n": "sha256"}
_LENGTHS = {"sha1": 40, "sha256": 64}
_OBJECT = re.compile(r"[0-9a-f]+")
# git-check-ref-format(1), and nothing that a command could take for an option.
_REF = re.compile(r"(HEAD|refs/[^\x00-\x20\x7f~^:?*\[\\]+)")


class BadBundle(Exception):
    """The bytes are no bundle, or one that says what cannot be."""


@dataclass(frozen=True, slots=True)
class BundleHead:
    """``refs`` are pairs of a ref and its object; ``offset`` is where the pack begins."""

    refs: tuple[tuple[str, str], ...]
    needed: frozenset[str]
    object_format: str
    offset: int


def read_head(path: Path) -> BundleHead:
    """Read the head of the bundle ``path``. Raises: BadBundle."""
    with path.open("rb") as file:
        start = file.read(_LARGEST_HEAD)
    signature = next((known for known in _SIGNATURES if start.startswith(known)), None)
    if signature is None:
        raise BadBundle("it is no git bundle")
    object_format = _SIGNATURES[signature]
    text, end, pack = start[len(signature) :].partition(b"\n\n")
    if not end:
        raise BadBundle("its list of refs does not end")
    _check_pack(pack)
    lines = text.decode("utf-8", "replace").split("\n")
    needed = [line[1:].partition(" ")[0] for line in lines if line.startswith("-")]
    refs = [_ref(line) for line in lines if not line.startswith("-")]
    for name in (*needed, *(tip for _, tip in refs)):
        if len(name) != _LENGTHS[object_format] or not _OBJECT.fullmatch(name):
            raise BadBundle(f"{printable(name, limit=70)!r} is no object's name")
    return BundleHead(tuple(refs), frozenset(needed), object_format, len(signature) + len(text) + len(end))


def _ref(line: str) -> tuple[str, str]:
    tip, _, name = line.partition(" ")
    if not _REF.fullmatch(name) or ".." in name or "@{" in name or name.endswith((".lock", "/", ".")) or "//" in name:
        raise BadBundle(f"{printable(name, limit=70)!r} is no name of a ref")
    return name, tip


def _check_pack(start: bytes) -> None:
    if start[:4] != b"PACK" or len(start) < 12:
        raise BadBundle("it holds no pack")
    count = int.from_bytes(start[8:12], "big")
    if count > _MOST_OBJECTS:
        raise BadBundle(f"it claims {count} objects")
