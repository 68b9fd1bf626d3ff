"""Checksums of large files: each file is read once, and the result is kept until the file changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from moltfleet.adapters.localfile import read_small, write_atomically

_CHUNK = 1 << 20
_LARGEST_DIGEST = 128


class DigestCache:
    """Digests by (path, size, mtime), as small files in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def known(self, path: Path, algorithm: str, *, known_as: Path) -> str | None:
        """Return the digest that was computed before, None when there is none for the file as it is now.

        ``known_as`` is the path that the file has or will have once it is complete. Raises: OSError.
        """
        kept = read_small(self._directory / _key(known_as, path.stat(), algorithm), limit=_LARGEST_DIGEST)
        return kept.decode("ascii", "replace") if kept else None

    def compute(
        self, path: Path, algorithm: str, *, known_as: Path, on_bytes: Callable[[int], None] | None = None
    ) -> str:
        """Read the file and return its hexadecimal digest. ``algorithm`` is hashlib's word. Raises: OSError."""
        digest = hashlib.new(algorithm)
        done = 0
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                done += len(chunk)
                if on_bytes:
                    on_bytes(done)
            after = os.fstat(file.fileno())
        key = _key(known_as, before, algorithm)
        if key == _key(known_as, after, algorithm):
            write_atomically(self._directory / key, digest.hexdigest().encode())
        return digest.hexdigest()


def _key(path: Path, status: os.stat_result, algorithm: str) -> str:
    what = f"{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}"
    return hashlib.sha256(os.fsencode(what)).hexdigest()[:40] + "." + algorithm
