"""Local images: known by content, whole, and never changed."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from moltfleet.model.errors import ChecksumMismatch, InvalidInput, MoltfleetError, NotFound, ToolFailed
from moltfleet.model.size import Size

from .conftest import Desk


def qemu_img(*argv: str | Path) -> None:
    subprocess.run(["qemu-img", *argv], check=True, stdout=subprocess.DEVNULL)


def refusal(desk: Desk, source: str | Path, *, sha256: str | None = None) -> MoltfleetError:
    with pytest.raises(MoltfleetError) as caught:
        desk.images().fetch(str(source), sha256=sha256)
    return caught.value


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A raw disk of 5 MiB and one sector, its first and last sector in use."""
    path = tmp_path / "disk.raw"
    content = bytearray((5 << 20) + 512)
    content[510:512] = b"\x55\xaa"
    content[3 << 20 : (3 << 20) + 70_000] = hashlib.shake_128(b"x").digest(70_000)
    content[-3:] = b"end"
    path.write_bytes(content)
    return path


def test_a_local_image_is_used_where_it_is(desk: Desk, raw: Path) -> None:
    image = desk.images().fetch(str(raw))
    assert image.path == raw
    assert (image.format, image.virtual_size, image.verified_by) == ("raw", Size((5 << 20) + 512), "nothing")
    assert image.sha256 == hashlib.sha256(raw.read_bytes()).hexdigest()


def test_its_checksum_is_verified_when_given(desk: Desk, raw: Path) -> None:
    digest = hashlib.sha256(raw.read_bytes()).hexdigest()
    assert desk.images().fetch(str(raw), sha256=f"sha256:{digest}").verified_by == "the given SHA-256"
    assert isinstance(refusal(desk, raw, sha256="1" * 64), ChecksumMismatch)


def test_a_large_file_is_read_for_its_checksum_once(desk: Desk, raw: Path) -> None:
    for _ in range(3):
        desk.images().fetch(str(raw))
    assert desk.progress.texts("start") == ("Checking disk.raw",)


OPTIONS = [
    "compat=1.1",
    "compat=0.10",
    "cluster_size=2M",
    "cluster_size=512",
    "extended_l2=on",
    "extended_l2=on,cluster_size=16k",
    "preallocation=metadata",
    "compression_type=zstd",
]


@pytest.mark.parametrize("compression", [(), ("-c",)], ids=["plain", "compressed"])
@pytest.mark.parametrize("options", OPTIONS)
def test_every_kind_of_qcow2_is_taken_whole_and_refused_cut(
    desk: Desk, raw: Path, tmp_path: Path, options: str, compression: tuple[str, ...]
) -> None:
    if compression and "preallocation" in options:
        compression = ()
    path = tmp_path / "image.whatever"
    qemu_img("convert", *compression, "-o", options, "-O", "qcow2", raw, path)
    image = desk.images().fetch(str(path))
    assert (image.format, image.virtual_size) == ("qcow2", Size((5 << 20) + 512))
    whole = path.stat().st_size
    # What follows the data of the last cluster is padding, at most one cluster long.
    for size in (whole - (2 << 20) - 513, whole // 2, 70_000, 4096, 60):
        if size > 0:
            os.truncate(path, size)
            assert refusal(desk, path).brief.startswith("Image ")


def test_a_cut_in_the_last_data_is_noticed(desk: Desk, raw: Path, tmp_path: Path) -> None:
    path = tmp_path / "image"
    qemu_img("convert", "-c", "-O", "qcow2", raw, path)
    os.truncate(path, path.stat().st_size - 512)
    assert refusal(desk, path).brief.startswith(f"Image {path} is truncated: it has ")


def test_an_overlay_is_refused_as_it_would_read_another_file(desk: Desk, tmp_path: Path) -> None:
    qemu_img("create", "-f", "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw", tmp_path / "evil.qcow2", "1M")
    error = refusal(desk, tmp_path / "evil.qcow2")
    assert isinstance(error, InvalidInput)
    assert error.brief == f"Image {tmp_path}/evil.qcow2 is an overlay on a backing file"


def test_an_external_data_file_is_refused(desk: Desk, tmp_path: Path) -> None:
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={tmp_path}/data", tmp_path / "evil.qcow2", "1M")
    assert refusal(desk, tmp_path / "evil.qcow2").brief == f"Image {tmp_path}/evil.qcow2 keeps its data in another file"


@pytest.mark.parametrize("format", ["vmdk", "vdi", "vhdx", "vpc"])
def test_images_of_other_makers_are_named_with_the_way_to_convert_them(desk: Desk, tmp_path: Path, format: str) -> None:
    qemu_img("create", "-f", format, tmp_path / "x.qcow2", "8M")
    error = refusal(desk, tmp_path / "x.qcow2")
    assert isinstance(error, InvalidInput)
    assert "qemu-img convert" in (error.hint or "")


def test_a_qcow2_file_in_a_raw_disguise_is_still_a_qcow2_file(desk: Desk, tmp_path: Path) -> None:
    qemu_img("create", "-f", "qcow2", tmp_path / "disk.raw", "64M")
    assert desk.images().fetch(str(tmp_path / "disk.raw")).format == "qcow2"


def test_a_real_file_system_is_a_raw_disk_and_a_cut_one_is_truncated(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "fs"
    path.write_bytes(bytes(16 << 20))
    subprocess.run(["mkfs.ext4", "-q", path], check=True, env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})
    assert desk.images().fetch(str(path)).format == "raw"
    os.truncate(path, 12 << 20)
    assert "is truncated" in refusal(desk, path).brief


def test_text_is_not_a_disk_image(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "x.qcow2").write_text("hello\n" * 1000)
    error = refusal(desk, tmp_path / "x.qcow2")
    assert isinstance(error, InvalidInput)
    assert error.brief == f"File {tmp_path}/x.qcow2 is not a disk image"


def test_a_missing_file_a_directory_and_a_device_are_told_apart(desk: Desk, tmp_path: Path) -> None:
    missing = refusal(desk, tmp_path / "x.qcow2")
    assert isinstance(missing, NotFound)
    assert missing.brief == f"Image file '{tmp_path}/x.qcow2' does not exist"
    assert refusal(desk, tmp_path).brief == f"Image '{tmp_path}' is a directory"
    assert refusal(desk, "/dev/null").brief == "Image '/dev/null' is not a regular file"


def test_a_file_that_may_not_be_read_says_so(desk: Desk, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    error = refusal(desk, raw)
    assert isinstance(error, ToolFailed)
    assert error.brief == f"File '{raw}' cannot be used: permission denied"


def test_a_full_disk_says_where(desk: Desk, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: object) -> object:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    error = refusal(desk, raw)
    assert (error.code, error.brief) == ("no-space", f"No space is left for {desk.cache / 'digests'}")


@pytest.mark.parametrize("digest", ["", "xyz", "0" * 63, "g" * 64])
def test_a_checksum_that_is_none_is_refused_before_anything_is_read(desk: Desk, raw: Path, digest: str) -> None:
    error = refusal(desk, raw, sha256=digest or " ")
    assert error.brief.endswith("is not 64 hexadecimal digits")


def test_a_name_that_is_nothing_is_answered_with_what_there_is(desk: Desk) -> None:
    error = refusal(desk, "ubuntu")
    assert isinstance(error, NotFound)
    assert "ubuntu-24.04" in (error.hint or "")
