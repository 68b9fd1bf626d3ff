"""Both guest images boot from a NoCloud seed on real QEMU, keep what is written, and obey the power button."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import SCRIPTS, Lab
from .guest import Guest

IMAGES = Path("/var/cache/moltfleet/images")


@dataclass(frozen=True, slots=True)
class Image:
    """An image with the script that builds it, and what its guest needs."""

    script: str
    path: Path
    memory_mib: int
    boot_timeout_s: float


TINY = Image("build-tiny-guest", IMAGES / "tiny.qcow2", 160, 60)
DEBIAN = Image("build-debian-image", IMAGES / "debian-bookworm-cloud.qcow2", 768, 300)


def build(image: Image) -> subprocess.CompletedProcess[str]:
    """Build an image where it is not up to date."""
    argv = [str(SCRIPTS / image.script), "--output", str(image.path)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=600, check=True)


@pytest.mark.parametrize(
    "image", [pytest.param(TINY, id="tiny"), pytest.param(DEBIAN, id="debian", marks=pytest.mark.full_guest)]
)
def test_an_image_boots_keeps_what_is_written_and_shuts_down(image: Image, lab: Lab, tmp_path: Path) -> None:
    build(image)
    guest = Guest(lab, f"g-{image.path.stem}", tmp_path)
    guest.define(image.path, image.memory_mib)
    try:
        guest.virsh("start", guest.name)
        guest.wait_for_login(image.boot_timeout_s)
        assert guest.ssh("cloud-init status --wait").splitlines()[-1].lstrip(".") == "status: done"
        assert guest.ssh("hostname; sudo id -u").split() == [guest.name, "0"]
        assert guest.agent("guest-ping") == {}
        identity = guest.ssh("echo dirt | sudo tee /root/dirt >/dev/null; sync; cat /etc/machine-id")
        guest.virsh("shutdown", guest.name, "--mode", "acpi")
        guest.wait_for_state("shut off")
        guest.virsh("start", guest.name)
        guest.wait_for_login(image.boot_timeout_s)
        assert guest.ssh("sudo cat /root/dirt; cat /etc/machine-id").split() == ["dirt", identity]
        assert int(guest.ssh("df -k / | tail -1").split()[1]) > 15 << 20, "the file system did not grow"
    finally:
        lab.exec("virsh", "-q", "destroy", guest.name, check=False)
        guest.virsh("undefine", guest.name)
        guest.virsh("net-destroy", "images")


@pytest.mark.parametrize("image", [TINY, DEBIAN], ids=["tiny", "debian"])
def test_an_image_is_built_once(image: Image) -> None:
    build(image)
    assert build(image).stderr == f"{image.path} is up to date\n"
