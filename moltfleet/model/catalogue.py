"""A base image that is known by name: where it is, and what proves that it is the vendor's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One name of the catalogue.

    ``sha256`` pins the image itself. ``checksums_url`` is a file in the form of sha256sum or sha512sum that lists it;
    ``keyring`` is the path of the OpenPGP keyring that has signed that file, detached, at ``signature_url`` (by
    default ``checksums_url`` + ".gpg").
    """

    url: str
    checksums_url: str | None = None
    sha256: str | None = None
    keyring: str | None = None
    signature_url: str | None = None
