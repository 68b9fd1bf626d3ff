"""Base images known by name, and the proof that one is the vendor's: a listed checksum, and the list's signature."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moltfleet.adapters.run import run
from moltfleet.model.catalogue import CatalogueEntry
from moltfleet.model.errors import ChecksumMismatch, NotFound, ToolFailed
from moltfleet.model.names import not_found, printable

if TYPE_CHECKING:
    from moltfleet.model.ports import Progress

_UBUNTU = "https://cloud-images.ubuntu.com/releases/noble/release/"
_DEBIAN = "https://cloud.debian.org/images/cloud/"

# Debian's "generic" rather than "genericcloud": the cloud kernel has no vmgenid and no graphics drivers.
# Debian publishes no signature beside the checksums of its cloud images.
BUILT_IN: Mapping[str, CatalogueEntry] = {
    "ubuntu-24.04": CatalogueEntry(
        url=f"{_UBUNTU}ubuntu-24.04-server-cloudimg-amd64.img",
        checksums_url=f"{_UBUNTU}SHA256SUMS",
        keyring="/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg",
    ),
    "debian-12": CatalogueEntry(
        url=f"{_DEBIAN}bookworm/latest/debian-12-generic-amd64.qcow2",
        checksums_url=f"{_DEBIAN}bookworm/latest/SHA512SUMS",
    ),
    "debian-13": CatalogueEntry(
        url=f"{_DEBIAN}trixie/latest/debian-13-generic-amd64.qcow2",
        checksums_url=f"{_DEBIAN}trixie/latest/SHA512SUMS",
    ),
}

_ALGORITHMS = {64: "sha256", 128: "sha512"}
_PLAIN_LINE = re.compile(r"\\?([0-9a-fA-F]{32,128})[ \t]+\*?(.+)")
_TAGGED_LINE = re.compile(r"SHA\d+ \((.+)\) = ([0-9a-fA-F]{32,128})")
_VALID_SIGNATURE = re.compile(r"^\[GNUPG:\] VALIDSIG ([0-9A-F]{16,64})", re.MULTILINE)
_GPGV_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Expected:
    """A digest that a file must have. ``algorithm`` is hashlib's word; ``said_by`` goes on as "verified by …"."""

    algorithm: str
    digest: str
    said_by: str


def get_entry(name: str, configured: Mapping[str, CatalogueEntry]) -> CatalogueEntry:
    """Look a name up, the configuration first. Raises: NotFound, which lists the names."""
    known = {**BUILT_IN, **configured}
    if name not in known:
        error = not_found("base image", name, known)
        hint = f"{error.hint} Or give a URL, or the path of a qcow2 or raw file."
        raise NotFound(error.brief, hint=hint)
    return known[name]


def listed_digest(checksums: bytes, file_name: str, *, list_name: str) -> Expected:
    """Find a file in the output of sha256sum or sha512sum, plain or tagged.

    Raises: ToolFailed when it is not listed, or only with a weaker digest.
    """
    for line in checksums.decode("utf-8", "replace").splitlines():
        digest, name = _read_line(line.strip())
        if name.removeprefix("./") == file_name and len(digest) in _ALGORITHMS:
            return Expected(_ALGORITHMS[len(digest)], digest.lower(), f"checksum in {list_name}")
    raise ToolFailed(
        f"Checksum list {list_name} does not name {printable(file_name)}",
        hint="The vendor may be publishing right now; try again later, or give --sha256.",
    )


def check_signature(entry: CatalogueEntry, checksums: bytes, signature: bytes) -> str:
    """Verify the detached signature of a checksum list; returns the fingerprint of the key.

    Raises: ChecksumMismatch when it is not a valid signature by a key of the entry's keyring.
    """
    with tempfile.TemporaryDirectory(prefix="moltfleet-gpgv-") as place:
        signed, detached = Path(place) / "list", Path(place) / "list.gpg"
        signed.write_bytes(checksums)
        detached.write_bytes(signature)
        keyring = str(Path(entry.keyring or "").expanduser().absolute())
        argv = ["gpgv", "--homedir", place, "--status-fd", "1", "--keyring", keyring, str(detached), str(signed)]
        result = run(argv, timeout_s=_GPGV_TIMEOUT_S, check=False)
    valid = _VALID_SIGNATURE.search(result.text)
    if result.exit_code == 0 and valid:
        return valid[1]
    raise ChecksumMismatch(
        f"Signature of {entry.checksums_url} is not valid for the keys in {entry.keyring}",
        details=result.stderr.decode("utf-8", "replace"),
        hint="Do not use this image unless its SHA-256 is known from elsewhere (--sha256).",
    )


def why_unchecked(name: str, entry: CatalogueEntry, progress: Progress) -> str | None:
    """Say why the signature of the list cannot be checked here, None when it can.

    A catalogue entry of ours goes on with a warning; one from the configuration names its keyring on purpose.

    Raises: NotFound for a configured keyring that does not exist.
    """
    if entry.keyring is None:
        return "which is not signed"
    ours = BUILT_IN.get(name) == entry
    if not Path(entry.keyring).expanduser().exists():
        if not ours:
            raise NotFound(f"Keyring {entry.keyring} of image {name!r} does not exist")
        return _warned(progress, entry.keyring, f"there is no {entry.keyring}")
    if ours and shutil.which("gpgv") is None:
        return _warned(progress, entry.keyring, "gpgv is not installed")
    return None


def _warned(progress: Progress, keyring: str, why: str) -> str:
    progress.warn(
        f"Signature of the checksum list is not checked: {why}",
        hint=f"Install gpgv and the package that contains {Path(keyring).name}, then run it again.",
    )
    return f"whose signature was not checked ({why})"


def _read_line(line: str) -> tuple[str, str]:
    if match := _PLAIN_LINE.fullmatch(line):
        return match[1], match[2]
    if match := _TAGGED_LINE.fullmatch(line):
        return match[2], match[1]
    return "", ""
