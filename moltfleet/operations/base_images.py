"""Bring a base image into the pool once: an uploaded volume, and a small one beside it that says it is complete."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import Busy, InUse, InvalidInput, WrongState
from moltfleet.model.size import Size
from moltfleet.model.volumes import image_volume, is_image_volume, marked_volume, marker_volume

if TYPE_CHECKING:
    from moltfleet.model.ports import SourceImage
    from moltfleet.operations.fleet import Fleet

_VOLUME_PREFIX = "volume:"
_LARGEST_MARKER = 64 * 1024
_LOCK_WAIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A complete image in the pool. ``digest`` identifies its content."""

    volume: str
    digest: str
    capacity: Size
    origin: str
    verified_by: str


def ensure(fleet: Fleet, source: str, *, sha256: str | None) -> BaseImage:
    """Make sure that the image is in the pool, whole. Raises as the Images port does, and NotFound for a volume."""
    if source.startswith(_VOLUME_PREFIX):
        return _existing_volume(fleet, source.removeprefix(_VOLUME_PREFIX))
    image = fleet.images.fetch(source, sha256=sha256)
    name = image_volume(image.sha256)
    # Two builds of the same image: the second waits for the first one's upload.
    with fleet.locks.hold(name, verb="upload", wait_s=_LOCK_WAIT_S):
        if read_marker(fleet, name) is None:
            _upload(fleet, name, image)
    volume = fleet.storage.get(name)
    return BaseImage(name, image.sha256, volume.capacity, image.origin, image.verified_by)


def clear_leftovers(fleet: Fleet, *, spared: str) -> None:
    """Delete what interrupted uploads left: images without a valid marker, markers without their volume.

    ``spared`` is the source of the build at hand, which may name a volume. What is in use, or is being uploaded right
    now, stays.
    """
    names = {volume.name for volume in fleet.storage.volumes()}
    images = {name for name in names if is_image_volume(name)}
    orphans = {marked for name in names if (marked := marked_volume(name)) and marked not in names}
    for name in sorted((images | orphans) - {spared.removeprefix(_VOLUME_PREFIX)}):
        with suppress(Busy, InUse):
            clear_unfinished(fleet, name)


def clear_unfinished(fleet: Fleet, name: str) -> None:
    """Delete an image that was not uploaded to its end, if it is one. Raises: Busy, InUse."""
    with fleet.locks.hold(name, verb="clear"):
        if read_marker(fleet, name) is None:
            _clear(fleet, name)


def _clear(fleet: Fleet, name: str) -> None:
    # The marker last: it alone would tell that the rest of a volume is still to go.
    gone = [volume for volume in (name, marker_volume(name)) if fleet.storage.delete(volume)]
    if gone:
        fleet.progress.say(f"Cleared away what an interrupted upload left: {', '.join(gone)}")


def check_fits(base: BaseImage, disk: Size) -> None:
    """Refuse a disk that the image does not fit on. Raises: InvalidInput."""
    if disk < base.capacity:
        raise InvalidInput(
            f"Disk of {disk} is smaller than its image of {base.capacity}",
            hint=f"Ask for --disk {base.capacity.mib}M or more.",
        )


def _existing_volume(fleet: Fleet, name: str) -> BaseImage:
    volume = fleet.storage.get(name)
    if volume.backing is not None:
        raise InvalidInput(f"Volume {name!r} stands on another volume", hint="A base image stands alone.")
    identity = f"{volume.name} {volume.mtime} {volume.length.bytes}"
    return BaseImage(name, f"volume {identity}", volume.capacity, f"volume {name}", "nothing: a volume of the pool")


def _upload(fleet: Fleet, name: str, image: SourceImage) -> None:
    # Without its marker, whatever is there is the rest of an interrupted upload.
    try:
        fleet.storage.delete(name)
    except InUse as error:
        raise WrongState(
            f"Volume {name!r} was changed since it was uploaded, and is in use",
            details=error.brief,
            hint="What stands on it is not to be trusted; delete that first.",
        ) from error
    length = image.path.stat().st_size
    with fleet.progress.step(f"Uploading {image.path.name}") as step, image.path.open("rb") as content:
        fleet.storage.create_empty(name, capacity=Size(length), format="raw")
        fleet.storage.upload(name, content, length=length, on_bytes=lambda done: step.advance(done, length))
    volume = fleet.storage.get(name)
    if (volume.format, volume.capacity) != (image.format, image.virtual_size):
        fleet.storage.delete(name)
        raise InvalidInput(
            f"libvirt reads the image as {volume.format} of {volume.capacity}, not as {image.format} of "
            f"{image.virtual_size}",
            hint="The file is not what it looks like; get it again from its vendor.",
        )
    write_marker(fleet, name, {"origin": image.origin, "verified_by": image.verified_by})
    record(Effect.BUILD_UPLOADED, name)


def write_marker(fleet: Fleet, volume: str, facts: dict[str, str]) -> None:
    """Say that a volume is complete, and what it looked like then."""
    seen = fleet.storage.get(volume)
    stamp = {"mtime": seen.mtime, "length": seen.length.bytes}
    content = json.dumps({"complete": volume, "stamp": stamp, **facts}).encode()
    marker = marker_volume(volume)
    fleet.storage.delete(marker)
    fleet.storage.create_empty(marker, capacity=Size(len(content)), format="raw")
    fleet.storage.upload(marker, io.BytesIO(content), length=len(content))


def read_marker(fleet: Fleet, volume: str) -> dict[str, object] | None:
    """What a volume's marker says; None when there is no complete, unchanged volume."""
    seen = fleet.storage.find(volume)
    if seen is None or fleet.storage.find(marker_volume(volume)) is None:
        return None
    try:
        document = json.loads(fleet.storage.read(marker_volume(volume), limit=_LARGEST_MARKER).rstrip(b"\0"))
    except ValueError:
        return None
    if not isinstance(document, dict) or document.get("complete") != volume:
        return None
    expected = {"mtime": seen.mtime, "length": seen.length.bytes}
    return document if document.get("stamp") == expected else None
