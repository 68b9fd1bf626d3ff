"""scripts/quickstart: its lab has no way out, so its image must have what the profile would fetch."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]


def profile_packages(profile: str) -> set[str]:
    """What a profile's fragments install by cloud-init."""
    fragments = yaml.safe_load((ROOT / "cloud-init/profiles" / f"{profile}.yaml").read_text())["fragments"]
    documents = [yaml.safe_load((ROOT / "cloud-init/fragments" / f"{name}.yaml").read_text()) for name in fragments]
    return {package for document in documents for package in document.get("packages", [])}


def quickstart_packages() -> set[str]:
    """What scripts/quickstart has its image made with: by name, and by every image's recipe."""
    asked = re.search(r"^GUEST_PACKAGES=(.+)$", (ROOT / "scripts/quickstart").read_text(), re.MULTILINE)
    recipe = re.search(r"^PACKAGES = \[(.*?)^\]", (ROOT / "scripts/build-debian-image").read_text(), re.M | re.S)
    assert asked is not None
    assert recipe is not None
    return {*asked[1].split(","), *re.findall(r'"([^"]+)"', recipe[1])}


def test_the_image_has_what_the_profile_installs() -> None:
    missing = profile_packages("minimal") - quickstart_packages()
    assert not missing, f"no guest of quickstart could fetch {sorted(missing)}"
