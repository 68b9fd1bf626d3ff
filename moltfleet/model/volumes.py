"""Names of the volumes in our pool. A volume's role is read from a record, never guessed from its name.

Only caches (uploaded images, first stages) have no record, but a marker beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from moltfleet.model.size import Size


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of our pool as libvirt tells it.

    ``capacity`` is what a guest sees, ``length`` the file's, ``allocation`` what it takes on the disk; ``backing`` is
    a path; ``mtime`` is seconds with fraction, as text.
    """

    name: str
    path: str
    format: str
    capacity: Size
    allocation: Size
    length: Size
    backing: str | None
    mtime: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a frozen layer looked like when it was frozen; a different one means somebody wrote to it (D5).

    ``length`` is the file's, in bytes. Not the allocation: a file system settles that long after the last write.
    """

    volume: str
    mtime: str
    length: int


def clean_volume(clone: str) -> str:
    """Name the frozen disk layer of a clone's clean point."""
    return f"{clone}.clean.qcow2"


def overlay_volume(clone: str, number: int) -> str:
    """Name the writable layer that a clone runs on after its ``number``-th molt."""
    return f"{clone}.{number}.qcow2"


def ram_volume(clone: str, generation: int) -> str:
    """Name the RAM image of a clone's clean point; never reused, as saving overwrites in place."""
    return f"{clone}.clean.{generation}.ram"


def seed_volume(domain: str) -> str:
    """Name the NoCloud seed of a domain."""
    return f"{domain}.seed.iso"


def generation_volume(golden: str, generation: int) -> str:
    """Name the sealed disk of a golden's generation."""
    return f"{golden}.g{generation}.qcow2"


def manifest_volume(golden: str, generation: int) -> str:
    """Name the small volume that holds the long manifest of a generation."""
    return f"{golden}.g{generation}.json"


def build_domain(golden: str) -> str:
    """Name the scratch domain that builds a golden; the dot keeps it apart from every clone's name."""
    return f"{golden}.build"


def build_volume(golden: str, number: int) -> str:
    """Name the disk that a golden is built on."""
    return f"{golden}.build.{number}.qcow2"


def probe_domain(golden: str, number: int) -> str:
    """Name a scratch clone that proves that the golden is sealed."""
    return f"{golden}.probe-{number}"


def density_domain(golden: str) -> str:
    """Name the scratch clone in which it is tried how many agents fit."""
    return f"{golden}.density"


def image_volume(digest: str) -> str:
    """Name the uploaded base image with this SHA-256."""
    return f"image.{digest[:16]}.qcow2"


def stage_volume(digest: str) -> str:
    """Name the reusable first stage (image plus cloud-init) with this recipe digest."""
    return f"stage.{digest[:16]}.qcow2"


def marker_volume(volume: str) -> str:
    """Name the small volume whose presence and content say that ``volume`` is complete."""
    return f"{volume}.json"


def is_image_volume(name: str) -> bool:
    """Whether :func:`image_volume` gives such names: uploaded images are caches, and stand in no record."""
    return re.fullmatch(r"image\.[0-9a-f]{16}\.qcow2", name) is not None


def marked_volume(name: str) -> str | None:
    """Name the image or stage that a marker of this name speaks of; None when it is no such name."""
    match = re.fullmatch(r"((?:image|stage)\.[0-9a-f]{16}\.qcow2)\.json", name)
    return None if match is None else match[1]


_OWN = re.compile(
    r"[a-z0-9][a-z0-9-]*(?:\.build|\.probe-\d+|\.density)?"
    r"\.(?:(?:clean|g?\d+|build\.\d+)\.qcow2|clean\.\d+\.ram|seed\.iso|g\d+\.json)"
)


def is_named_as_ours(name: str) -> bool:
    """Whether a function above gives such names. It explains nothing: only a record says what a volume is for."""
    return _OWN.fullmatch(name) is not None


def next_overlay_number(clone: str, volumes: Iterable[str], *, at_least: int) -> int:
    """Return a number that no overlay of the clone has used, as far as the pool shows."""
    pattern = re.compile(re.escape(clone) + r"\.(\d+)\.qcow2")
    used = [int(match[1]) for name in volumes if (match := pattern.fullmatch(name))]
    return max([at_least - 1, *used]) + 1
