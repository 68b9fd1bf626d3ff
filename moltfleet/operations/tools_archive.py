"""Pack the tools of guests: one tar file, whose bytes and version follow from the files alone."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

from moltfleet import __version__
from moltfleet.model.errors import NotFound
from moltfleet.model.guesttools import ToolsArchive

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet

_FOLDER = "guest"
_INSTALLER = "install.py"
# As much of the checksum as a version carries.
_DIGITS = 12


def pack(fleet: Fleet) -> ToolsArchive:
    """Return the tools that belong to this program. Raises: NotFound when its installation lacks them."""
    files = fleet.bootstrap.tree(_FOLDER)
    if _INSTALLER not in files:
        raise NotFound("Guest tools of moltfleet are not installed", hint="Install moltfleet from its wheel again.")
    packed = tar_of(files)
    digest = hashlib.sha256(packed).hexdigest()
    return ToolsArchive(f"{__version__}-{digest[:_DIGITS]}", packed, digest)


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """Return a tar file that is the same for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, content in sorted(files.items()):
            tar.addfile(_entry(path, content), io.BytesIO(content))
    return buffer.getvalue()


def _entry(path: str, content: bytes) -> tarfile.TarInfo:
    """Describe a file without anything that differs from one installation to another: times, owners, a umask."""
    entry = tarfile.TarInfo(path)
    entry.size = len(content)
    entry.mode = 0o755 if content.startswith(b"#!") else 0o644
    entry.uname = entry.gname = "root"
    return entry
