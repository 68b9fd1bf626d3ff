"""Write a NoCloud seed into its volume. It holds a private host key: mode 0600, never read back, never copied."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from moltfleet.model.ports import SeedSpec
from moltfleet.model.size import Size

if TYPE_CHECKING:
    from moltfleet.model.recipe import GuestIdentity
    from moltfleet.model.records import CloneRecord
    from moltfleet.operations.fleet import Fleet


def write_clone_seed(fleet: Fleet, clone: CloneRecord, identity: GuestIdentity) -> None:
    """Make the seed of a clone's first boot."""
    spec = SeedSpec(
        instance_id=clone.instance_id,
        hostname=identity.hostname,
        mac=clone.attachment.mac,
        identity=identity,
        is_clone=True,
    )
    write_seed(fleet, clone.seed, spec)


def write_seed(fleet: Fleet, volume: str, spec: SeedSpec) -> None:
    """Build the image and upload it into a new private volume."""
    image = fleet.seeds.build(spec)
    fleet.storage.create_empty(volume, capacity=Size(len(image)), format="raw", private=True)
    fleet.storage.upload(volume, io.BytesIO(image), length=len(image))
