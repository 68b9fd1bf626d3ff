"""Name the Debian and Ubuntu packages that a lab and its image builders need, and find the missing ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

LAB = {
    "qemu-system-x86": "qemu-system-x86_64",
    "qemu-utils": "qemu-img",
    "libvirt-daemon-system": "libvirtd",
    "libvirt-clients": "virsh",
    "libvirt-daemon-driver-qemu": "/usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so",
    "dnsmasq-base": "dnsmasq",
    "iproute2": "ip",
    "iptables": "iptables",
    "nftables": "nft",
    "openssh-client": "ssh",
}
IMAGES = {
    "mmdebstrap": "mmdebstrap",
    "extlinux": "extlinux",
    "syslinux-common": "/usr/lib/syslinux/modules/bios/ldlinux.c32",
    "e2fsprogs": "mkfs.ext4",
    "qemu-utils": "qemu-img",
    "cpio": "cpio",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
}
REPOSITORY = {
    "apt-utils": "apt-ftparchive",
    "dpkg": "dpkg-deb",
}
EVERYTHING = {**LAB, **IMAGES, **REPOSITORY}

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def is_present(witness: str) -> bool:
    """Say whether the program, or a file matching the absolute pattern, exists."""
    if witness.startswith("/"):
        return any(Path("/").glob(witness.lstrip("/")))
    return shutil.which(witness, path=SEARCH_PATH) is not None


def find_missing(wanted: dict[str, str]) -> tuple[str, ...]:
    """Return the packages whose witness is absent, sorted."""
    return tuple(sorted(name for name, witness in wanted.items() if not is_present(witness)))


def format_install_line(names: Iterable[str]) -> str:
    """Return the command that installs the packages."""
    return "apt-get install --no-install-recommends " + " ".join(names)
