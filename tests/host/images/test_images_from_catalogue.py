"""Images by name: the vendor's list tells the digest, and a real signature by a throw-away key proves the list."""

from __future__ import annotations

import hashlib
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from moltfleet.model.catalogue import CatalogueEntry
from moltfleet.model.errors import ChecksumMismatch, MoltfleetError, NotFound, ToolFailed

from .conftest import Desk, Site


@dataclass(frozen=True)
class Vendor:
    """An OpenPGP key that signs lists, and the keyring that knows it."""

    home: Path
    keyring: Path
    fingerprint: str

    def sign(self, content: bytes) -> bytes:
        argv = ["gpg", "--homedir", self.home, "--batch", "--detach-sign", "--output", "-"]
        return subprocess.run(argv, input=content, check=True, capture_output=True).stdout


def make_vendor(home: Path) -> Vendor:
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-generate-key", "vendor@example.org", "ed25519", "sign"], check=True)
    listing = subprocess.run([*gpg, "--list-keys", "--with-colons"], check=True, capture_output=True, text=True).stdout
    fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))
    subprocess.run([*gpg, "--output", home / "keyring.gpg", "--export"], check=True)
    return Vendor(home, home / "keyring.gpg", fingerprint)


@pytest.fixture(scope="session")
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Vendor, Vendor]]:
    # gpg-agent's socket needs a short path.
    place = tmp_path_factory.mktemp("gpg")
    made = (make_vendor(place / "a"), make_vendor(place / "b"))
    yield made
    for vendor in made:
        subprocess.run(["gpgconf", "--homedir", vendor.home, "--kill", "gpg-agent"], check=True)


@pytest.fixture
def vendor(vendors: tuple[Vendor, Vendor]) -> Vendor:
    return vendors[0]


@pytest.fixture
def listed(site: Site, desk: Desk, vendor: Vendor, qcow2: bytes) -> Site:
    """A vendor's site with a signed list, and a name for its image."""
    sums = f"{'0' * 64}  other.img\n{hashlib.sha256(qcow2).hexdigest()} *x.img\n".encode()
    site.files = {"/v/x.img": qcow2, "/v/SHA256SUMS": sums, "/v/SHA256SUMS.gpg": vendor.sign(sums)}
    desk.catalogue["mine"] = CatalogueEntry(
        site.url("/v/x.img"), checksums_url=site.url("/v/SHA256SUMS"), keyring=str(vendor.keyring)
    )
    return site


def refusal(desk: Desk, *, sha256: str | None = None) -> MoltfleetError:
    with pytest.raises(MoltfleetError) as caught:
        desk.images().fetch("mine", sha256=sha256)
    return caught.value


def test_a_signed_list_is_verified_and_the_key_is_named(listed: Site, desk: Desk, vendor: Vendor, qcow2: bytes) -> None:
    image = desk.images().fetch("mine")
    assert image.path.read_bytes() == qcow2
    assert image.origin == listed.url("/v/x.img")
    assert image.verified_by == f"checksum in {listed.url('/v/SHA256SUMS')}, signed with key {vendor.fingerprint}"
    assert desk.progress.texts("warn") == ()


def test_an_image_that_is_the_listed_one_is_not_downloaded_again(listed: Site, desk: Desk) -> None:
    desk.images().fetch("mine")
    desk.images().fetch("mine")
    assert [path for path, _ in listed.requests].count("/v/x.img") == 1


def test_a_newer_release_replaces_the_image(listed: Site, desk: Desk, vendor: Vendor, qcow2: bytes) -> None:
    desk.images().fetch("mine")
    newer = qcow2 + bytes(512)
    sums = f"{hashlib.sha256(newer).hexdigest()}  x.img\n".encode()
    listed.files.update({"/v/x.img": newer, "/v/SHA256SUMS": sums, "/v/SHA256SUMS.gpg": vendor.sign(sums)})
    assert desk.images().fetch("mine").path.read_bytes() == newer


def test_a_list_that_was_changed_after_signing_is_refused(listed: Site, desk: Desk) -> None:
    listed.files["/v/SHA256SUMS"] += b"\n"
    error = refusal(desk)
    assert isinstance(error, ChecksumMismatch)
    assert error.brief.startswith(f"Signature of {listed.url('/v/SHA256SUMS')} is not valid for the keys in ")
    assert "BAD signature" in (error.details or "")
    assert "/v/x.img" not in [path for path, _ in listed.requests]


def test_a_list_signed_by_somebody_else_is_refused(listed: Site, desk: Desk, vendors: tuple[Vendor, Vendor]) -> None:
    listed.files["/v/SHA256SUMS.gpg"] = vendors[1].sign(listed.files["/v/SHA256SUMS"])
    assert isinstance(refusal(desk), ChecksumMismatch)


@pytest.mark.parametrize("signature", [b"", b"\xff" * 100, b"-----BEGIN PGP SIGNATURE-----\n"])
def test_what_is_no_signature_is_refused(listed: Site, desk: Desk, signature: bytes) -> None:
    listed.files["/v/SHA256SUMS.gpg"] = signature
    assert isinstance(refusal(desk), ChecksumMismatch)


def test_a_signature_that_went_missing_is_an_error(listed: Site, desk: Desk) -> None:
    del listed.files["/v/SHA256SUMS.gpg"]
    error = refusal(desk)
    assert isinstance(error, NotFound)
    assert error.brief == f"No file at {listed.url('/v/SHA256SUMS.gpg')}"


def test_a_missing_gpgv_is_an_error_for_a_configured_keyring(
    listed: Site, desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal(desk).brief == "Program 'gpgv' is not installed"


def test_an_image_that_is_not_the_listed_one_is_refused(listed: Site, desk: Desk) -> None:
    listed.files["/v/x.img"] += bytes(512)
    assert isinstance(refusal(desk), ChecksumMismatch)


def test_a_given_checksum_is_demanded_beside_the_list(listed: Site, desk: Desk, qcow2: bytes) -> None:
    assert isinstance(refusal(desk, sha256="0" * 64), ChecksumMismatch)
    image = desk.images().fetch("mine", sha256=hashlib.sha256(qcow2).hexdigest().upper())
    assert image.verified_by.startswith("the given SHA-256 and checksum in ")


def test_a_list_with_sha512_and_no_signature_says_so(site: Site, desk: Desk, qcow2: bytes) -> None:
    sums = f"{hashlib.sha512(qcow2).hexdigest()}  x.img\n".encode()
    site.files = {"/x.img": qcow2, "/SHA512SUMS": sums}
    desk.catalogue["mine"] = CatalogueEntry(site.url("/x.img"), checksums_url=site.url("/SHA512SUMS"))
    image = desk.images().fetch("mine")
    assert image.verified_by == f"checksum in {site.url('/SHA512SUMS')}, which is not signed"
    assert image.sha256 == hashlib.sha256(qcow2).hexdigest()


def test_a_configured_checksum_needs_no_list(site: Site, desk: Desk, qcow2: bytes) -> None:
    site.files = {"/x.img": qcow2}
    desk.catalogue["mine"] = CatalogueEntry(site.url("/x.img"), sha256=hashlib.sha256(qcow2).hexdigest())
    assert desk.images().fetch("mine").verified_by == "the configured SHA-256"


def test_a_name_may_lead_to_a_file_here(desk: Desk, qcow2: bytes, tmp_path: Path) -> None:
    (tmp_path / "x y.qcow2").write_bytes(qcow2)
    desk.catalogue["mine"] = CatalogueEntry(f"file://{tmp_path}/x%20y.qcow2")
    assert desk.images().fetch("mine").path == tmp_path / "x y.qcow2"


def test_a_list_that_does_not_name_the_image_is_an_error(listed: Site, desk: Desk, vendor: Vendor) -> None:
    listed.files.update({"/v/SHA256SUMS": b"none\n", "/v/SHA256SUMS.gpg": vendor.sign(b"none\n")})
    error = refusal(desk)
    assert isinstance(error, ToolFailed)
    assert error.brief == f"Checksum list {listed.url('/v/SHA256SUMS')} does not name x.img"


def test_when_the_vendor_is_away_an_image_that_was_verified_before_will_do(
    listed: Site, desk: Desk, qcow2: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = desk.images().fetch("mine")

    def fail(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "create_connection", fail)
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    image = desk.images().fetch("mine")
    assert image.path.read_bytes() == qcow2
    assert image.verified_by == f"{before.verified_by} (when it was downloaded)"
    assert desk.progress.texts("warn") == (
        "Host '127.0.0.1' cannot be resolved: going on with the image that is here already",
    )
