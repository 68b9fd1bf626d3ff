"""The slow first stage of a golden, image plus cloud-init, kept for builds that change only what comes later."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.effects import Effect, record
from moltfleet.model.ports import SeedSpec
from moltfleet.model.recipe import CloudConfig, GuestIdentity, HostKeyPair
from moltfleet.model.volumes import seed_volume, stage_volume
from moltfleet.operations import base_images, seeding
from moltfleet.operations.power import power_off

if TYPE_CHECKING:
    from moltfleet.model.size import Size
    from moltfleet.operations.base_images import BaseImage
    from moltfleet.operations.fleet import Fleet

# Changes when the way a stage is made changes, so that old ones are not reused.
_RECIPE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Stage:
    """A first stage, there already or still to be made, and the build on it; a golden's generation serves as one, too.

    ``documents`` are what cloud-init is still to do. ``scratch`` is the domain that builds, ``identifier`` its UUID,
    ``build_disk`` the layer above the stage.
    """

    volume: str
    base: str
    is_reused: bool
    documents: tuple[CloudConfig, ...]
    user: str
    disk: Size
    host_key: HostKeyPair
    identifier: str
    scratch: str
    build_disk: str

    @property
    def seed(self) -> str:
        """The scratch domain's seed."""
        return seed_volume(self.scratch)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a first stage is made from."""

    base: BaseImage
    documents: tuple[CloudConfig, ...]
    user: str
    disk: Size

    def volume(self, *, key: str) -> str:
        """Name the stage; ``key`` is the public key that is let in."""
        parts = {
            "version": _RECIPE_VERSION,
            "image": self.base.digest,
            "documents": [document.text for document in self.documents],
            "user": self.user,
            "disk": self.disk.bytes,
            "key": key,
        }
        return stage_volume(hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest())


def plan_stage(fleet: Fleet, recipe: Recipe, *, scratch: str, build_disk: str) -> Stage:
    """Find the stage of this recipe. One that was written to since is not reused."""
    volume = recipe.volume(key=fleet.keys.fleet_public_key())
    is_reused = base_images.read_marker(fleet, volume) is not None
    return Stage(
        volume=volume,
        base=recipe.base.volume,
        is_reused=is_reused,
        documents=() if is_reused else recipe.documents,
        user=recipe.user,
        disk=recipe.disk,
        host_key=fleet.keys.new_host_key(),
        identifier=str(uuid.uuid4()),
        scratch=scratch,
        build_disk=build_disk,
    )


def prepare(fleet: Fleet, stage: Stage, *, mac: str) -> None:
    """Make the seed and the disk that the scratch domain boots from.

    On a reused stage cloud-init meets a new instance, and has only its identity to set.
    """
    hostname = stage.scratch.replace(".", "-")
    identity = GuestIdentity(
        hostname=hostname,
        user=stage.user,
        authorized_keys=(fleet.keys.fleet_public_key(),),
        host_key=stage.host_key,
    )
    spec = SeedSpec(
        instance_id=f"iid-{stage.identifier}",
        hostname=hostname,
        mac=mac,
        identity=identity,
        documents=stage.documents,
        is_clone=stage.is_reused,
    )
    seeding.write_seed(fleet, stage.seed, spec)
    record(Effect.BUILD_SEEDED, stage.scratch)
    if stage.is_reused:
        fleet.storage.create_overlay(stage.build_disk, backing=stage.volume)
    else:
        # What an earlier build left unfinished carries no marker, and goes.
        fleet.storage.delete(stage.volume, owner=stage.scratch)
        fleet.storage.create_overlay(stage.volume, backing=stage.base, capacity=stage.disk)
    record(Effect.BUILD_OVERLAID, stage.scratch)


def freeze(fleet: Fleet, stage: Stage) -> bool:
    """Keep what cloud-init made as the stage; the guest goes on above it, on ``build_disk``.

    Returns whether the guest still runs: one without an agent was shut down for it, and is started again by the caller.
    """
    fleet.storage.create_overlay(stage.build_disk, backing=stage.volume)
    has_agent = fleet.hypervisor.agent_answers(stage.scratch)
    if has_agent:
        fleet.hypervisor.freeze_disk(stage.scratch, stage.build_disk)
    else:
        power_off(fleet, stage.scratch)
        fleet.hypervisor.set_disk(stage.scratch, stage.build_disk)
    base_images.write_marker(fleet, stage.volume, {"stage": stage.volume})
    record(Effect.BUILD_STAGED, stage.scratch)
    return has_agent
