"""Heads of layers as the real qemu-img writes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from moltfleet.model.errors import InvalidInput
from moltfleet.model.layerhead import HEAD_BYTES, LayerHead, parse_head, resolve_backing


def qemu_img(*words: str | Path) -> None:
    subprocess.run(("qemu-img", *words), check=True, capture_output=True)


def head_of(path: Path) -> LayerHead:
    with path.open("rb") as file:
        return parse_head(file.read(HEAD_BYTES))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", path, "8M")
    return path


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
def test_an_image_of_its_own_stands_on_nothing(tmp_path: Path, compat: str) -> None:
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"compat={compat}", tmp_path / "a", "8M")
    assert head_of(tmp_path / "a") == LayerHead(capacity=8 << 20)


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
@pytest.mark.parametrize("clusters", ["512", "65536", "2M"])
def test_a_linked_clone_names_what_it_stands_on(base: Path, compat: str, clusters: str) -> None:
    options = f"compat={compat},cluster_size={clusters}"
    layer = base.parent / "clone.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, "-b", base, "-F", "qcow2", layer)
    head = head_of(layer)
    assert (head.backing, head.backing_format, head.flaw) == (str(base), "qcow2", "")
    assert resolve_backing(str(layer), head.backing or "") == str(base)


def test_a_relative_name_means_the_layers_own_directory(base: Path) -> None:
    layer = base.parent / "clone.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", layer)
    head = head_of(layer)
    assert head.backing == "base.qcow2"
    assert resolve_backing(str(layer), head.backing) == str(base)


def test_a_lying_format_and_internal_snapshots_are_told(base: Path) -> None:
    layer = base.parent / "clone.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", layer)
    qemu_img("rebase", "-u", "-F", "raw", "-b", base, layer)
    qemu_img("snapshot", "-c", "os-clean", layer)
    qemu_img("snapshot", "-c", "dev-ready", layer)
    assert (head_of(layer).backing_format, head_of(layer).snapshots) == ("raw", 2)


def test_data_in_another_file_is_a_flaw(tmp_path: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'}", tmp_path / "a", "8M")
    assert head_of(tmp_path / "a").flaw == "keeps its data in another file"


def test_encryption_is_a_flaw(tmp_path: Path) -> None:
    secret, options = "secret,id=s,data=abc", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
    qemu_img("create", "-q", "--object", secret, "-f", "qcow2", "-o", options, tmp_path / "a", "8M")
    assert head_of(tmp_path / "a").flaw == "is encrypted"


def test_a_raw_disk_is_no_qcow2(tmp_path: Path) -> None:
    qemu_img("create", "-q", "-f", "raw", tmp_path / "a", "8M")
    with pytest.raises(InvalidInput, match="no qcow2"):
        head_of(tmp_path / "a")


@pytest.mark.parametrize(
    "name",
    ['json:{"driver":"file","filename":"/etc/shadow"}', "nbd:unix:/tmp/s", "file:/etc/shadow", "a\nb", "ssh://h/a"],
)
def test_what_is_no_plain_path_means_nothing(name: str) -> None:
    assert resolve_backing("/pool/a", name) is None


@pytest.mark.parametrize(
    ("name", "path"),
    [("/a/../b", "/b"), ("../x", "/x"), ("b", "/pool/b"), ("./b", "/pool/b"), ("/with:colon", "/with:colon")],
)
def test_a_plain_path_is_made_absolute(name: str, path: str) -> None:
    assert resolve_backing("/pool/a", name) == path
