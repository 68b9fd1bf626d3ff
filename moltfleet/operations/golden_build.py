"""Build a golden: image, cloud-init, our tools and the user's, sealed, proven sealed, published (DESIGN §5, D4, D7).

A build runs on a scratch domain whose record lists everything that it makes, so that the next command can clear away
what an interruption leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moltfleet.model.domain import DomainSpec
from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import AlreadyExists, InvalidInput, WrongState
from moltfleet.model.load import Candidate
from moltfleet.model.names import check_name
from moltfleet.model.records import Attachment, BuildRecord, GoldenRecord
from moltfleet.model.size import Size
from moltfleet.model.volumes import build_domain, build_volume, generation_volume, manifest_volume
from moltfleet.operations import (
    admission,
    base_images,
    golden_publish,
    measuring,
    networks,
    proving,
    provisioning,
    removing,
    repair,
    stages,
)
from moltfleet.operations.deadlines import timestamp
from moltfleet.operations.listing import view_golden
from moltfleet.operations.provisioning import wants_tools

if TYPE_CHECKING:
    from moltfleet.model.recipe import CloudConfig, Profile, Renewal
    from moltfleet.model.requests import BuildRequest
    from moltfleet.model.results import GoldenView
    from moltfleet.operations.fleet import Fleet
    from moltfleet.operations.provisioning import BuildFacts

# A build needs no more memory than this, and boots faster on two processors, whatever its clones will have.
_BUILD_MEMORY = Size.of_gib(4)
_BUILD_VCPUS = 2
_LOCK_WAIT_S = 60.0
_STAGE_WAIT_S = 7200.0
_LARGEST_USER_DATA = 256 * 1024


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What will be built, every default filled in. ``generation`` is the number that it will be published under."""

    request: BuildRequest
    profile: Profile
    user: str
    memory: Size
    vcpus: int
    disk: Size
    generation: int
    existing: GoldenRecord | None

    @property
    def build_memory(self) -> Size:
        """Memory of the domain that it is built in."""
        return min(self.memory, _BUILD_MEMORY)

    def build_vcpus(self, cpus: int) -> int:
        """Virtual CPUs of that domain on a host with ``cpus``."""
        return min(max(self.vcpus, _BUILD_VCPUS), max(1, cpus))

    @property
    def firmware(self) -> str | None:
        """What the image needs to boot: known of one that is the golden's own already."""
        own = self.existing is not None and self.existing.source == self.request.image
        return self.existing.firmware if self.existing and own else None

    @property
    def wants_tools(self) -> bool:
        """Whether the guest tools go in, if the guest can have them."""
        return wants_tools(self.request, self.profile)

    @property
    def documents(self) -> tuple[CloudConfig, ...]:
        """All cloud-config documents, the user's last, so that they win."""
        return (*self.profile.fragments, *self.request.user_data)

    def lines(self) -> tuple[str, ...]:
        """Say it for ``--dry-run``."""
        request = self.request
        return (
            f"{request.name}: generation {self.generation} from {request.image}",
            f"profile {self.profile.name}, {len(self.documents)} cloud-config document(s), user {self.user}",
            f"{len(request.packages)} extra package(s), {len(request.scripts)} script(s), "
            + ("with the guest tools" if self.wants_tools else "without the guest tools"),
            f"clones get {self.memory} memory, {self.vcpus} vCPUs, {self.disk} disk",
        )


def plan_build(fleet: Fleet, request: BuildRequest) -> tuple[str, ...]:
    """Say what a build would do; changes nothing. Raises as :func:`build` does before its first effect."""
    return make_plan(fleet, request).lines()


def make_plan(fleet: Fleet, request: BuildRequest) -> BuildPlan:
    """Fill in the defaults and check what can be checked. Raises: InvalidInput, WrongState, NotFound (profile)."""
    check_name(request.name, what="golden")
    existing = fleet.hypervisor.find(request.name)
    if existing is not None and not isinstance(existing.record, GoldenRecord):
        raise AlreadyExists(f"Name {request.name!r} is taken by another domain", hint="Choose another name.")
    check_user_data(request.user_data)
    golden = existing.record if existing is not None and isinstance(existing.record, GoldenRecord) else None
    if golden is not None and golden.deleting:
        raise WrongState(
            f"Golden {request.name!r} is being deleted",
            hint=f"Finish that first: moltfleet golden delete {request.name}",
        )
    defaults = fleet.config.defaults
    return BuildPlan(
        request=request,
        profile=fleet.profiles.get(request.profile or defaults.profile),
        user=request.user or defaults.user,
        memory=request.memory or defaults.memory,
        vcpus=request.vcpus or defaults.vcpus,
        disk=request.disk or defaults.disk,
        generation=next_generation(fleet, request.name, golden),
        existing=golden,
    )


def check_user_data(documents: tuple[CloudConfig, ...]) -> None:
    """Refuse what no seed should carry. Raises: InvalidInput."""
    if sum(len(document.text) for document in documents) > _LARGEST_USER_DATA:
        raise InvalidInput("User-data is longer than 256 KiB", hint="Put large files into a --script.")


def next_generation(fleet: Fleet, name: str, golden: GoldenRecord | None) -> int:
    """The number after every one that was ever published or half-published; a number is never used twice."""
    known = {volume.name for volume in fleet.storage.volumes()}
    number = golden.latest.number + 1 if golden and golden.generations else 1
    while generation_volume(name, number) in known:
        number += 1
    return number


def build(fleet: Fleet, request: BuildRequest) -> GoldenView:
    """Build and publish the next generation of a golden; existing clones are untouched.

    On a failure, or Ctrl-C, everything but the reusable image and first stage is taken away again.
    """
    repair.sweep(fleet)
    with fleet.locks.hold(request.name, verb="build"):
        plan = make_plan(fleet, request)
        base_images.clear_leftovers(fleet, spared=request.image)
        base = base_images.ensure(fleet, request.image, sha256=request.sha256)
        base_images.check_fits(base, plan.disk)
        scratch = build_domain(request.name)
        try:
            _build_on_scratch(fleet, plan, base, scratch)
        finally:
            clear(fleet, scratch)
        return view_golden(fleet, request.name)


def _build_on_scratch(fleet: Fleet, plan: BuildPlan, base: base_images.BaseImage, scratch: str) -> None:
    name = plan.request.name
    recipe = stages.Recipe(base, plan.documents, plan.user, plan.disk)
    # Two builds with the same first stage: the second waits, and then reuses it.
    with fleet.locks.hold(recipe.volume(key=fleet.keys.fleet_public_key()), verb="build", wait_s=_STAGE_WAIT_S):
        disk = build_volume(name, plan.generation)
        stage = stages.plan_stage(fleet, recipe, scratch=scratch, build_disk=disk)
        facts = make(fleet, plan, stage)
    release(fleet, plan, _golden_record(plan, base), facts, golden_publish.manifest(plan.request, base, facts))


def make(fleet: Fleet, plan: BuildPlan, stage: stages.Stage, *, renewal: Renewal | None = None) -> BuildFacts:
    """Build on a scratch domain above ``stage``, and seal it; the caller clears it away, whatever happens."""
    with admission.room_for(fleet, _candidate(fleet, plan, stage.scratch), plan.request.admission):
        build = _define(fleet, plan, stage)
        return provisioning.run(fleet, plan.request, plan.profile, stage, build, renewal=renewal)


def release(
    fleet: Fleet, plan: BuildPlan, golden: GoldenRecord, facts: BuildFacts, manifest: dict[str, object]
) -> None:
    """Copy what was built into a volume that stands alone, prove that it is sealed, publish it."""
    name = plan.request.name
    source, target = build_volume(name, plan.generation), generation_volume(name, plan.generation)
    with fleet.progress.step(f"Copying generation {plan.generation}") as step:
        fleet.storage.copy_flat(source, target, on_bytes=lambda done: step.advance(done, facts.allocation))
    record(Effect.BUILD_COPIED, name)
    generation = golden_publish.describe(fleet, name, plan.generation, facts)
    proven = replace(golden, generations=(generation,))
    proving.prove(fleet, name, proven, facts.identity, plan.request.admission)
    record(Effect.BUILD_VERIFIED, name)
    golden_publish.publish(fleet, name, golden, generation, manifest)


def _candidate(fleet: Fleet, plan: BuildPlan, scratch: str) -> Candidate:
    return Candidate(
        name=scratch,
        memory=plan.build_memory,
        vcpus=plan.build_vcpus(fleet.hypervisor.host().cpus),
        emulated=measuring.is_emulated(fleet),
        disk_growth=min(fleet.config.disk_growth, plan.disk),
    )


def _golden_record(plan: BuildPlan, base: base_images.BaseImage) -> GoldenRecord:
    return GoldenRecord(
        profile=plan.profile.name,
        source=base.origin,
        user=plan.user,
        memory=plan.memory.bytes,
        vcpus=plan.vcpus,
        disk=plan.disk.bytes,
        generations=plan.existing.generations if plan.existing else (),
        desktop=plan.profile.desktop,
    )


def _define(fleet: Fleet, plan: BuildPlan, stage: stages.Stage) -> BuildRecord:
    """Define the scratch domain with a record of all that the build will make."""
    name = plan.request.name
    made = [
        stage.build_disk,
        *([] if stage.is_reused else [stage.volume]),
        stage.seed,
        generation_volume(name, plan.generation),
        manifest_volume(name, plan.generation),
    ]
    facts = fleet.hypervisor.host()
    with fleet.locks.hold("fleet", verb="build", wait_s=_LOCK_WAIT_S):
        build = BuildRecord(
            golden=name,
            attachment=_attach(fleet),
            host_keys=(stage.host_key.public,),
            started_at=timestamp(fleet.clock),
            scratch=tuple(made),
        )
        spec = DomainSpec(
            name=stage.scratch,
            uuid=stage.identifier,
            title=f"{stage.scratch}: build of golden {name}",
            description="moltfleet golden build; goes away by itself",
            memory=plan.build_memory,
            vcpus=plan.build_vcpus(facts.cpus),
            disk=stage.build_disk if stage.is_reused else stage.volume,
            seed=stage.seed,
            attachment=build.attachment,
            record=build,
            virt_type=facts.virt_type,
            desktop=plan.profile.desktop,
            firmware=plan.firmware,
        )
        fleet.hypervisor.define(spec)
    record(Effect.BUILD_DEFINED, name)
    return build


def _attach(fleet: Fleet) -> Attachment:
    kind, network = networks.choose(fleet, None)
    return fleet.networks.attach(kind, network, taken=networks.taken(fleet.hypervisor.domains()))


def clear(fleet: Fleet, scratch: str) -> None:
    """Take the scratch domain away with its volumes; nothing that was published."""
    domain = fleet.hypervisor.find(scratch)
    if domain is None or not isinstance(domain.record, BuildRecord):
        return
    removing.remove_scratch(fleet, scratch, domain.record)
    record(Effect.BUILD_CLEANED, domain.record.golden)
