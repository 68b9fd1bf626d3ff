"""A real HTTP server on loopback that can fail in every way a server and its line fail."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from moltfleet.adapters.images import ImageFiles
from moltfleet.model.catalogue import CatalogueEntry
from moltfleet.progress import RecordingProgress


@dataclass
class Site:
    """What is served, and what goes wrong: each entry of ``cuts`` ends one answer's body after so many bytes."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    has_etags: bool = True
    has_ranges: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    bytes_sent: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        site = self.server.site
        site.requests.append((self.path, self.headers.get("Range")))
        path = self.path.split("?")[0]
        if path in site.redirects:
            return self._answer(302, b"", {"Location": site.redirects[path]})
        if path in site.statuses or path not in site.files:
            return self._answer(site.statuses.get(path, 404), b"<html>sorry</html>", {})
        return self._send(site, site.files[path])

    def _send(self, site: Site, content: bytes) -> None:
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"ETag": etag} if site.has_etags else {}
        if site.has_etags and self.headers.get("If-None-Match") == etag:
            return self._answer(304, b"", headers)
        start = self._range_start(site, etag)
        if start is None:
            return self._answer(200, content, headers)
        if start >= len(content):
            return self._answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        where = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self._answer(206, content[start:], {**headers, "Content-Range": where})

    def _range_start(self, site: Site, etag: str) -> int | None:
        asked = self.headers.get("Range")
        if not asked or not site.has_ranges or self.headers.get("If-Range") != etag:
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        site = self.server.site
        if body and site.cuts and status in (200, 206):
            body = body[: site.cuts.pop(0)]
            self.close_connection = True
        site.bytes_sent += len(body)
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    site: Site


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.site = Site(port=server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Desk:
    """Where a test asks for images."""

    cache: Path
    progress: RecordingProgress = field(default_factory=RecordingProgress)
    catalogue: dict[str, CatalogueEntry] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)

    def images(self) -> ImageFiles:
        return ImageFiles(self.progress, catalogue=self.catalogue, cache=self.cache, sleep=self.waits.append)

    def leftovers(self) -> list[str]:
        """Names of half-done files."""
        return sorted(path.name for path in self.cache.rglob("*.part*"))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "cache")


@pytest.fixture(scope="session")
def qcow2(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real compressed image of a disk of 8 MiB, of which some 3 MiB are used."""
    place = tmp_path_factory.mktemp("qcow2")
    raw = bytearray(8 << 20)
    raw[510:512] = b"\x55\xaa"
    for number in range(3 << 5):
        start = 65536 + number * 65536 // 2
        raw[start : start + 32] = hashlib.sha256(bytes([number])).digest()
        raw[start + 64 : start + 20000] = hashlib.shake_128(bytes([number])).digest(20000 - 64)
    (place / "raw").write_bytes(raw)
    subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", place / "raw", place / "image"], check=True)
    return (place / "image").read_bytes()
