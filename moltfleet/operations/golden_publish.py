"""Publish a sealed image as the next generation of a golden: a manifest beside it, then the record (DESIGN D4)."""

from __future__ import annotations

import io
import json
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet import __version__
from moltfleet.model.domain import DomainSpec
from moltfleet.model.effects import Effect, record
from moltfleet.model.records import Attachment, Generation, GoldenRecord
from moltfleet.model.size import Size
from moltfleet.model.volumes import generation_volume, manifest_volume
from moltfleet.operations import layers
from moltfleet.operations.deadlines import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moltfleet.model.requests import BuildRequest, UpdateRequest
    from moltfleet.operations.base_images import BaseImage
    from moltfleet.operations.fleet import Fleet
    from moltfleet.operations.provisioning import BuildFacts


def describe(fleet: Fleet, name: str, number: int, facts: BuildFacts) -> Generation:
    """Describe the copied image as a generation."""
    volume = generation_volume(name, number)
    return Generation(
        number=number,
        volume=volume,
        manifest=manifest_volume(name, number),
        built_at=timestamp(fleet.clock),
        capacity=fleet.storage.get(volume).capacity.bytes,
        idle_memory=facts.idle_kib * 1024,
        stamp=layers.stamp(fleet, volume),
    )


def manifest(request: BuildRequest, base: BaseImage, facts: BuildFacts) -> dict[str, object]:
    """What a generation was made from and holds, for people and for later comparison."""
    return {
        "schema": "moltfleet.manifest/1",
        "built_with": __version__,
        "source": base.origin,
        "source_digest": base.digest,
        "source_verified_by": base.verified_by,
        "profile": request.profile,
        "user_data": [document.origin for document in request.user_data],
        "scripts": [script.name for script in request.scripts],
        "extra_packages": list(request.packages),
        "cloud_init": facts.cloud_init,
        "kernel": facts.kernel,
        "idle_memory_bytes": facts.idle_kib * 1024,
        "guest_tools": facts.tools or None,
        "packages": facts.packages,
        "npm_packages": facts.npm_packages,
    }


def manifest_of_update(
    before: Mapping[str, object], number: int, request: UpdateRequest, facts: BuildFacts
) -> dict[str, object]:
    """As :func:`manifest`, of a generation that was made of generation ``number``, whose manifest is ``before``."""
    return {
        **before,
        "schema": "moltfleet.manifest/1",
        "built_with": __version__,
        "updated_from": number,
        "update_user_data": [document.origin for document in request.user_data],
        "update_scripts": [script.name for script in request.scripts],
        "cloud_init": facts.cloud_init,
        "kernel": facts.kernel,
        "idle_memory_bytes": facts.idle_kib * 1024,
        "guest_tools": facts.tools or None,
        "packages": facts.packages,
        "npm_packages": facts.npm_packages,
    }


def publish(fleet: Fleet, name: str, golden: GoldenRecord, generation: Generation, facts: dict[str, object]) -> None:
    """Write the manifest, then the golden's record and definition; the record is the moment of publication."""
    content = json.dumps(facts, indent=1, sort_keys=True).encode()
    fleet.storage.delete(generation.manifest)
    fleet.storage.create_empty(generation.manifest, capacity=Size(len(content)), format="raw")
    fleet.storage.upload(generation.manifest, io.BytesIO(content), length=len(content))
    golden = replace(golden, generations=(*golden.generations, generation))
    if fleet.hypervisor.find(name) is None:
        fleet.hypervisor.define(_spec(fleet, name, golden))
    else:
        fleet.hypervisor.write_record(name, golden)
        fleet.hypervisor.set_disk(name, generation.volume)
    record(Effect.BUILD_PUBLISHED, name)


def _spec(fleet: Fleet, name: str, golden: GoldenRecord) -> DomainSpec:
    """A shut-off domain whose disk is read-only, so that even ``virsh start`` cannot write it."""
    return DomainSpec(
        name=name,
        uuid=str(uuid.uuid4()),
        title=f"{name}: golden",
        description="moltfleet golden image; clones stand on its disk",
        memory=min(Size(golden.memory), Size.of_gib(4)),
        vcpus=golden.vcpus,
        disk=golden.latest.volume,
        attachment=Attachment(kind="none", name="", mac=""),
        record=golden,
        virt_type=fleet.hypervisor.host().virt_type,
        is_disk_readonly=True,
        desktop=golden.desktop,
        firmware=golden.firmware,
    )
