"""Turn a directory tree into a bootable qcow2: ext4 on the whole disk, started by extlinux."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from images.work import run

# extlinux 6.04 reads neither 64-bit nor checksummed ext4; the last two are new in e2fsprogs 1.47.
FEATURES = "^64bit,^metadata_csum,^metadata_csum_seed,^orphan_file"


def make_extlinux_configuration(kernel: str, initrd: str, arguments: str) -> str:
    """Return the text of extlinux.conf: one entry, no menu, no delay."""
    return f"default linux\nprompt 0\nlabel linux\n  linux {kernel}\n  initrd {initrd}\n  append {arguments}\n"


def make_file_system(tree: Path, raw: Path, *, size: int, identity: uuid.UUID, label: str) -> None:
    """Write the tree into a new ext4 file system that fills the raw image; everything initialised now."""
    with raw.open("wb") as file:
        file.truncate(size)
    extended = "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
    # 4 KiB blocks always: from 1 KiB ones, the default below 512 MiB, extlinux cannot load a kernel.
    layout = ["-b", "4096", "-I", "256", "-m", "1", "-O", FEATURES, "-E", extended]
    run("mkfs.ext4", "-q", "-F", *layout, "-U", str(identity), "-L", label, "-d", tree, raw)


def install_boot_loader(raw: Path, mount_point: Path) -> None:
    """Put extlinux into the file system's /boot/extlinux and its boot sector."""
    with mounted(raw, mount_point):
        run("extlinux", "--install", mount_point / "boot/extlinux")


@contextmanager
def mounted(raw: Path, mount_point: Path) -> Iterator[None]:
    """Mount a raw image through a loop device for the duration."""
    mount_point.mkdir(exist_ok=True)
    run("mount", "-o", "loop", raw, mount_point)
    try:
        yield
    finally:
        run("umount", mount_point)


def convert_to_qcow2(raw: Path, output: Path) -> None:
    """Convert without compression: it boots faster and costs nothing but disk space."""
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", "compat=1.1,lazy_refcounts=off", raw, output)
