"""Base images by catalogue name, URL or path, brought onto this machine; refuses whatever is not a whole disk image.

What a file is called is never believed: its content tells the format, and a digest tells whether it is the right one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from moltfleet.adapters import diskimage
from moltfleet.adapters.catalogue import Expected, check_signature, get_entry, listed_digest, why_unchecked
from moltfleet.adapters.digests import DigestCache
from moltfleet.adapters.localfile import read_small, write_atomically
from moltfleet.model.errors import ChecksumMismatch, InvalidInput, MoltfleetError, NoSpace, NotFound, ToolFailed
from moltfleet.model.names import printable
from moltfleet.model.ports import Progress, SourceImage

if TYPE_CHECKING:
    from moltfleet.adapters.download import Downloads
    from moltfleet.model.catalogue import CatalogueEntry

_NOTHING = "nothing"
_HEXADECIMAL = frozenset("0123456789abcdef")


class ImageFiles:
    """The Images port: local files as they are, everything else through a cache of downloads."""

    def __init__(
        self,
        progress: Progress,
        *,
        catalogue: Mapping[str, CatalogueEntry] | None = None,
        cache: Path | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``catalogue`` adds to the built-in names; ``cache`` is the user's cache directory unless given."""
        self._progress = progress
        self._catalogue = dict(catalogue or {})
        self._cache = cache or _user_cache()
        self._digests = DigestCache(self._cache / "digests")
        self._sleep = sleep

    def fetch(self, source: str, *, sha256: str | None = None) -> SourceImage:
        """Bring ``source`` onto this machine, verified and cached; a local file stays where it is.

        ``sha256`` is demanded beside whatever a catalogue entry demands.

        Raises: NotFound, InvalidInput (not a disk image, truncated), ChecksumMismatch, ToolFailed (download).
        """
        demanded = [Expected("sha256", _checked_digest(sha256), "the given SHA-256")] if sha256 else []
        with _as_ours(source):
            if source.startswith("file://"):
                return self._local(Path(unquote(urlsplit(source).path)), demanded)
            if "://" in source:
                return self._from_url(source, demanded)
            if _looks_like_path(source):
                return self._local(Path(source).expanduser(), demanded)
            return self._from_catalogue(source, demanded)

    def _from_catalogue(self, name: str, demanded: Sequence[Expected]) -> SourceImage:
        entry = get_entry(name, self._catalogue)
        expected = list(demanded)
        if entry.sha256:
            expected.append(Expected("sha256", _checked_digest(entry.sha256), "the configured SHA-256"))
        if entry.url.startswith("file://"):
            return self._local(Path(unquote(urlsplit(entry.url).path)), expected)
        if entry.checksums_url is None:
            return self._from_url(entry.url, expected)
        try:
            expected.append(self._listed(name, entry))
        except ToolFailed as error:
            return self._checked_before(entry.url, expected, error)
        return self._from_url(entry.url, expected)

    def _listed(self, name: str, entry: CatalogueEntry) -> Expected:
        """Learn the digest from the vendor's list, whose signature is checked where that is possible."""
        from moltfleet.adapters import weblink

        downloads = self._downloads()
        checksums_url = entry.checksums_url or ""
        with self._progress.step(f"Reading {weblink.shown(checksums_url)}"):
            checksums = downloads.text(checksums_url)
            proof = why_unchecked(name, entry, self._progress)
            if proof is None:
                signature = downloads.text(entry.signature_url or checksums_url + ".gpg")
                proof = f"signed with key {check_signature(entry, checksums, signature)}"
        found = listed_digest(checksums, weblink.file_name(entry.url), list_name=weblink.shown(checksums_url))
        return Expected(found.algorithm, found.digest, f"{found.said_by}, {proof}")

    def _checked_before(self, url: str, expected: Sequence[Expected], error: ToolFailed) -> SourceImage:
        """Without the vendor's list: take the file that was checked when it came, if nobody can be asked."""
        from moltfleet.adapters import weblink

        path = self._downloads().path_of(url)
        verified_by = read_small(_verdict_path(path), limit=1000)
        if not isinstance(error, weblink.HostUnreached) or not path.exists() or verified_by is None:
            raise error
        self._progress.warn(f"{error.brief}: going on with the image that is here already", hint=error.hint)
        earlier = f"{verified_by.decode('utf-8', 'replace')} (when it was downloaded)"
        return self._image(path, weblink.shown(url), expected, verified_by=earlier)

    def _from_url(self, url: str, expected: Sequence[Expected]) -> SourceImage:
        from moltfleet.adapters import weblink

        weblink.check_url(url)
        downloads = self._downloads()
        path = downloads.path_of(url)
        origin = weblink.shown(url)
        with downloads.held(url):
            check = partial(self._check_download, path, origin, expected)
            if expected:
                if not self._has_all(path, expected):
                    downloads.anew(url, check)
                    write_atomically(_verdict_path(path), _said_by(expected).encode())
            else:
                self._newest(url, check)
            return self._image(path, origin, expected)

    def _newest(self, url: str, check: Callable[[Path], None]) -> None:
        from moltfleet.adapters import weblink

        downloads = self._downloads()
        try:
            downloads.newest(url, check)
        except weblink.HostUnreached as error:
            if not downloads.path_of(url).exists():
                raise
            self._progress.warn(f"{error.brief}: going on with the image that is here already", hint=error.hint)

    def _check_download(self, path: Path, origin: str, expected: Sequence[Expected], part: Path) -> None:
        # The digest first: a file that is not the expected one may look like anything.
        self._demand(part, origin, expected, known_as=path)
        with part.open("rb") as file:
            diskimage.detect(origin, file, part.stat().st_size)

    def _has_all(self, path: Path, expected: Sequence[Expected]) -> bool:
        return path.exists() and all(self._digest(path, path, each.algorithm) == each.digest for each in expected)

    def _local(self, path: Path, expected: Sequence[Expected]) -> SourceImage:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise InvalidInput(f"Image {printable(str(path))!r} is {what}", hint="Give a qcow2 or raw file.")
        return self._image(path.absolute(), printable(str(path.absolute())), expected)

    def _image(
        self, path: Path, origin: str, expected: Sequence[Expected], *, verified_by: str | None = None
    ) -> SourceImage:
        with path.open("rb") as file:
            found = diskimage.detect(origin, file, os.fstat(file.fileno()).st_size)
        self._demand(path, origin, expected, known_as=path)
        digest = self._digest(path, path, "sha256")
        return SourceImage(
            path, found.format, found.virtual_size, digest, origin, verified_by or _said_by(expected) or _NOTHING
        )

    def _demand(self, path: Path, origin: str, expected: Sequence[Expected], *, known_as: Path) -> None:
        for each in expected:
            found = self._digest(path, known_as, each.algorithm)
            if found != each.digest:
                word = {"sha256": "SHA-256", "sha512": "SHA-512"}[each.algorithm]
                raise ChecksumMismatch(
                    f"{word} of {origin} is {found[:12]}…, not {each.digest[:12]}… as expected",
                    details=f"found    {found}\nexpected {each.digest} ({each.said_by})",
                    hint="Another version, a damaged copy, or a forgery: compare with what the vendor says.",
                )

    def _digest(self, path: Path, known_as: Path, algorithm: str) -> str:
        if known := self._digests.known(path, algorithm, known_as=known_as):
            return known
        total = path.stat().st_size
        with self._progress.step(f"Checking {printable(known_as.name)}") as step:
            return self._digests.compute(
                path, algorithm, known_as=known_as, on_bytes=lambda done: step.advance(done, total)
            )

    def _downloads(self) -> Downloads:
        from moltfleet.adapters.download import Downloads  # httpx takes 100 ms, which a local image shall not pay

        return Downloads(self._cache / "images", self._progress, sleep=self._sleep)


def _said_by(expected: Sequence[Expected]) -> str:
    return " and ".join(each.said_by for each in expected)


def _verdict_path(path: Path) -> Path:
    return path.with_name(path.name + ".verified-by")


def _checked_digest(text: str) -> str:
    digest = text.strip().lower().removeprefix("sha256:")
    if len(digest) != 64 or not _HEXADECIMAL.issuperset(digest):
        raise InvalidInput(f"SHA-256 {printable(text)!r} is not 64 hexadecimal digits")
    return digest


def _looks_like_path(source: str) -> bool:
    return "/" in source or source.startswith(("~", ".")) or source.lower().endswith((".qcow2", ".img", ".raw"))


def _user_cache() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("moltfleet")


@contextlib.contextmanager
def _as_ours(source: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _local_failure(source, error) from error


def _local_failure(source: str, error: OSError) -> MoltfleetError:
    place = printable(os.fsdecode(error.filename) if error.filename else source)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"No space is left for {place}", details=str(error), hint="Free some, or set XDG_CACHE_HOME.")
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFound(f"Image file {place!r} does not exist", hint="Check the path.")
    if isinstance(error, PermissionError):
        return ToolFailed(f"File {place!r} cannot be used: permission denied", hint="Check its owner and its mode.")
    return ToolFailed(f"File {place!r} cannot be used: {error.strerror or error}")
