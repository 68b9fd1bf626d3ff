"""Names lead to vendors' files, and lists of checksums are read in both of their forms."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moltfleet.adapters import catalogue
from moltfleet.adapters.catalogue import BUILT_IN, get_entry, listed_digest, why_unchecked
from moltfleet.model.catalogue import CatalogueEntry
from moltfleet.model.errors import NotFound, ToolFailed
from moltfleet.progress import RecordingProgress

SHA256, SHA512 = "ab" * 32, "cd" * 64


def test_every_built_in_image_has_a_list_over_https() -> None:
    assert {"ubuntu-24.04", "debian-12", "debian-13"} <= set(BUILT_IN)
    for entry in BUILT_IN.values():
        assert entry.url.startswith("https://")
        assert entry.checksums_url is not None
        assert entry.checksums_url.rpartition("/")[0] == entry.url.rpartition("/")[0]


def test_the_configuration_adds_names_and_replaces_built_in_ones() -> None:
    mine = CatalogueEntry("https://mirror.example/x.qcow2")
    assert get_entry("mine", {"mine": mine}) is mine
    assert get_entry("debian-12", {"debian-12": mine}) is mine


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(NotFound) as caught:
        get_entry("debian-1", {})
    assert caught.value.brief == "No base image is named 'debian-1'"
    assert "debian-12, debian-13, ubuntu-24.04" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("line", "algorithm"),
    [
        (f"{SHA256}  x.img", "sha256"),
        (f"{SHA256} *x.img", "sha256"),
        (f"{SHA256.upper()}  ./x.img\r", "sha256"),
        (f"SHA256 (x.img) = {SHA256}", "sha256"),
        (f"{SHA512}  x.img", "sha512"),
    ],
)
def test_a_list_is_read_in_every_usual_form(line: str, algorithm: str) -> None:
    text = f"# comment\n{'0' * 64}  other-x.img\n{line}\n".encode()
    found = listed_digest(text, "x.img", list_name="LIST")
    assert (found.algorithm, found.digest) == (algorithm, SHA256 if algorithm == "sha256" else SHA512)
    assert found.said_by == "checksum in LIST"


@pytest.mark.parametrize(
    "text", [b"", b"<html>", f"{'0' * 32}  x.img\n".encode(), f"{SHA256}  y.img\n".encode(), b"\xff"]
)
def test_a_list_without_a_strong_digest_of_the_file_is_refused(text: bytes) -> None:
    with pytest.raises(ToolFailed, match=r"Checksum list LIST does not name x\.img"):
        listed_digest(text, "x.img", list_name="LIST")


def test_a_missing_keyring_of_a_built_in_image_is_a_warning_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(BUILT_IN["ubuntu-24.04"], keyring="/nowhere/vendor.gpg")
    monkeypatch.setattr(catalogue, "BUILT_IN", {"ubuntu-24.04": entry})
    progress = RecordingProgress()
    assert why_unchecked("ubuntu-24.04", entry, progress) == (
        "whose signature was not checked (there is no /nowhere/vendor.gpg)"
    )
    assert len(progress.texts("warn")) == 1


def test_a_missing_keyring_of_a_configured_image_stops() -> None:
    entry = CatalogueEntry("https://x/y", checksums_url="https://x/S", keyring="/nowhere/keys.gpg")
    with pytest.raises(NotFound, match=r"Keyring /nowhere/keys\.gpg of image 'mine' does not exist"):
        why_unchecked("mine", entry, RecordingProgress())


def test_a_list_that_nobody_signs_is_said_to_be_unsigned() -> None:
    assert why_unchecked("debian-12", BUILT_IN["debian-12"], RecordingProgress()) == "which is not signed"
