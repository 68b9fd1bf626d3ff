"""Downloads into a directory: resumed when cut off, checked before they count, made by one process at a time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import httpx

from moltfleet import __version__
from moltfleet.adapters import weblink
from moltfleet.adapters.localfile import read_small, write_atomically
from moltfleet.model.errors import ToolFailed
from moltfleet.model.size import Size

if TYPE_CHECKING:
    from moltfleet.model.ports import Progress, Step

_LOG = logging.getLogger(__name__)
_TIMEOUT = httpx.Timeout(30.0, connect=15.0)
# Consecutive attempts that may end without a single new byte.
_ATTEMPTS = 4
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")

# Called with the complete file before it counts; raises when it shall not.
Check = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Validators:
    """What the server says by which a file's version is known. Empty texts say that it does not tell."""

    etag: str = ""
    last_modified: str = ""

    @classmethod
    def of(cls, response: httpx.Response) -> Validators:
        """Read them from an answer."""
        return cls(response.headers.get("etag", ""), response.headers.get("last-modified", ""))

    @property
    def for_range(self) -> str:
        """The one that If-Range takes: a strong etag, else the date (RFC 9110, section 13.1.5)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    def conditions(self) -> dict[str, str]:
        """Headers that ask only for a newer version."""
        asked = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in asked.items() if value}


class Downloads:
    """Files by URL, kept in one directory that may be emptied at any time."""

    def __init__(self, directory: Path, progress: Progress, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._directory = directory
        self._progress = progress
        self._sleep = sleep

    def path_of(self, url: str) -> Path:
        """Return where the URL's file is or would be."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", weblink.file_name(url)).strip("-.")[-80:]
        return self._directory / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name or 'image'}"

    @contextlib.contextmanager
    def held(self, url: str) -> Iterator[None]:
        """Keep other processes from downloading the same file meanwhile, or wait until they have."""
        path = self.path_of(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path.with_name(path.name + ".lock"))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            with self._progress.step(f"Waiting for another download of {weblink.shown(url)}"):
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def text(self, url: str, *, limit: int = 1 << 20) -> bytes:
        """Return a small file, such as a list of checksums. Raises: NotFound, ToolFailed."""
        weblink.check_url(url)
        content = bytearray()
        try:
            with _client() as client, client.stream("GET", url) as response:
                _refuse_failure(url, response)
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > limit:
                        raise ToolFailed(f"File at {weblink.shown(url)} is larger than {Size(limit)}")
        except httpx.HTTPError as error:
            raise weblink.broke(url, error) from error
        return bytes(content)

    def newest(self, url: str, check: Check) -> Path:
        """Return the URL's file, asking the server whether the one that is here is still the newest.

        Raises: NotFound, ToolFailed; HostUnreached when nobody could be asked; whatever ``check`` raises.
        """
        return self._fetch(url, check, _read_validators(_state_path(self.path_of(url))))

    def anew(self, url: str, check: Check) -> Path:
        """Download the URL's file, whatever is here. Raises as :meth:`newest`."""
        return self._fetch(url, check, Validators())

    def _fetch(self, url: str, check: Check, present: Validators) -> Path:
        weblink.check_url(url)
        path = self.path_of(url)
        part = path.with_name(path.name + ".part")
        with self._progress.step(f"Downloading {weblink.shown(url)}") as step:
            transfer = _Transfer(url, part, step, present if path.exists() else Validators())
            with _client() as client:
                if not self._complete(transfer, client):
                    return path
        try:
            check(part)
        except BaseException as error:
            if not isinstance(error, KeyboardInterrupt):
                transfer.discard()
            raise
        write_atomically(_state_path(path), json.dumps(asdict(transfer.validators)).encode())
        part.replace(path)
        _state_path(part).unlink(missing_ok=True)
        _LOG.info("downloaded %s to %s", weblink.shown(url), path)
        return path

    def _complete(self, transfer: _Transfer, client: httpx.Client) -> bool:
        """Transfer the whole file, over several connections if need be; False when the present one is the newest."""
        barren = 0
        while True:
            before = transfer.size()
            try:
                return transfer.receive(client)
            except httpx.HTTPError as error:
                failure = weblink.broke(transfer.url, error, done=transfer.size())
                barren = 0 if transfer.size() > before else barren + 1
                if isinstance(failure, weblink.HostUnreached) or barren >= _ATTEMPTS:
                    raise failure from error
                _LOG.debug("trying again after: %s", error)
            self._sleep(min(8.0, 0.5 * 2**barren))


class _Transfer:
    """One file on its way into its ``.part``."""

    def __init__(self, url: str, part: Path, step: Step, present: Validators) -> None:
        self.url = url
        self.validators = Validators()
        self._part = part
        self._step = step
        self._present = present

    def size(self) -> int:
        """Bytes that have arrived."""
        try:
            return self._part.stat().st_size
        except FileNotFoundError:
            return 0

    def discard(self) -> None:
        """Forget what has arrived."""
        self._part.unlink(missing_ok=True)
        _state_path(self._part).unlink(missing_ok=True)

    def receive(self, client: httpx.Client) -> bool:
        """Ask for what is missing and store it; False when the server says that the present file is the newest."""
        known = _read_validators(_state_path(self._part))
        have = self.size() if known.for_range else 0
        headers = {"Range": f"bytes={have}-", "If-Range": known.for_range} if have else self._present.conditions()
        with client.stream("GET", self.url, headers=headers) as response:
            if response.status_code == 304 and not have:
                return False
            if response.status_code == 416 and have:
                return self._nothing_left(client, response, have, known)
            _refuse_failure(self.url, response)
            _refuse_downgrade(self.url, response)
            self.validators = Validators.of(response)
            if response.status_code != 206:
                have = 0
                write_atomically(_state_path(self._part), json.dumps(asdict(self.validators)).encode())
            elif not have or _range_start(response) != have:
                self.discard()
                raise httpx.RemoteProtocolError(f"unexpected range {response.headers.get('content-range')!r}")
            self._store(response, have)
        return True

    def _nothing_left(self, client: httpx.Client, response: httpx.Response, have: int, known: Validators) -> bool:
        # Cut off between the last byte and the renaming; or the part is not a beginning of this file.
        match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if match and match[2] == str(have):
            self.validators = known
            return True
        self.discard()
        return self.receive(client)

    def _store(self, response: httpx.Response, have: int) -> None:
        expected = int(response.headers.get("content-length", 0))
        total = have + expected if expected else 0
        with self._part.open("ab" if have else "wb") as file:
            # As the chunks come: asked for larger ones, httpx would drop the begun one when the line breaks.
            for chunk in response.iter_raw():
                file.write(chunk)
                # So that what arrived counts for the next attempt, even if this process is killed.
                file.flush()
                have += len(chunk)
                self._step.advance(have, total)
                if not total:
                    self._step.detail(str(Size(have)))
            os.fsync(file.fileno())


def _client() -> httpx.Client:
    headers = {"User-Agent": f"moltfleet/{__version__}", "Accept-Encoding": "identity"}
    return httpx.Client(timeout=_TIMEOUT, follow_redirects=True, max_redirects=10, headers=headers)


def _state_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _read_validators(path: Path) -> Validators:
    try:
        kept = json.loads(read_small(path, limit=65536) or b"{}")
        return Validators(str(kept.get("etag", "")), str(kept.get("last_modified", "")))
    except (ValueError, AttributeError):
        return Validators()


def _range_start(response: httpx.Response) -> int | None:
    match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    return int(match[1]) if match and match[1] else None


def _refuse_failure(url: str, response: httpx.Response) -> None:
    if response.status_code not in (200, 206):
        raise weblink.answered(url, response)


def _refuse_downgrade(url: str, response: httpx.Response) -> None:
    if url.lower().startswith("https:") and response.url.scheme != "https":
        raise ToolFailed(
            f"Server redirects {weblink.shown(url)} to an address without encryption",
            details=weblink.shown(str(response.url)),
            hint="Give that address itself with --sha256, if it is trusted.",
        )
