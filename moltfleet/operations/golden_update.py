"""Make the next generation of a golden out of its newest one, renewed; clones stay on what they stand on (DESIGN §5).

It is a golden build whose first stage is a generation that is there: on a scratch domain, sealed, proven, published
beside the old ones, and cleared away by the next command when it was interrupted. Without anything new it is not made.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.errors import NotFound, WrongState
from moltfleet.model.lineage import Change, GoldenUpdate, changes
from moltfleet.model.recipe import Profile
from moltfleet.model.requests import BuildRequest
from moltfleet.model.size import Size
from moltfleet.model.volumes import build_domain, build_volume
from moltfleet.operations import golden_build, golden_publish, layers, repair
from moltfleet.operations.clones import get_golden
from moltfleet.operations.golden_build import BuildPlan
from moltfleet.operations.listing import read_manifest, view_golden
from moltfleet.operations.stages import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moltfleet.model.records import Generation, GoldenRecord
    from moltfleet.model.requests import UpdateRequest
    from moltfleet.operations.fleet import Fleet
    from moltfleet.operations.provisioning import BuildFacts


@dataclass(frozen=True, slots=True)
class UpdatePlan:
    """What will be made of what. ``manifest`` is that of the generation before, empty when it cannot be read."""

    request: UpdateRequest
    golden: GoldenRecord
    build: BuildPlan
    manifest: Mapping[str, object]

    @property
    def source(self) -> Generation:
        """The generation that it is made of."""
        return self.golden.latest

    def lines(self) -> tuple[str, ...]:
        """Say it for ``--dry-run``."""
        request = self.request
        renewed = [
            *(["the distribution's packages"] if request.renewal.packages else []),
            *(["the agents' CLIs"] if request.renewal.clis else []),
        ]
        return (
            f"{request.name}: generation {self.build.generation} from generation {self.source.number}",
            f"renewed: {' and '.join(renewed) or 'nothing'}; "
            f"{len(request.user_data)} cloud-config document(s), {len(request.scripts)} script(s) on top",
        )


def plan_update(fleet: Fleet, request: UpdateRequest) -> tuple[str, ...]:
    """Say what an update would do; changes nothing. Raises as :func:`update` does before its first effect."""
    plan = _make_plan(fleet, request)
    clones = view_golden(fleet, request.name).clones
    return (*plan.lines(), f"would stay as they are, and be behind: {', '.join(clones) or 'no clones'}")


def update(fleet: Fleet, request: UpdateRequest) -> GoldenUpdate:
    """Make and publish the next generation, if it has anything new.

    On a failure, or Ctrl-C, everything is taken away again. Raises: NotFound, WrongState (written to since), Busy,
    GuestFailed with the step at fault.
    """
    repair.sweep(fleet)
    with fleet.locks.hold(request.name, verb="update"):
        plan = _make_plan(fleet, request)
        stage = _stage(fleet, plan)
        try:
            facts = golden_build.make(fleet, plan.build, stage, renewal=request.renewal)
            is_new = _has_news(plan, facts)
            if is_new:
                manifest = golden_publish.manifest_of_update(plan.manifest, plan.source.number, request, facts)
                golden_build.release(fleet, plan.build, plan.golden, facts, manifest)
        finally:
            golden_build.clear(fleet, stage.scratch)
        return _result(fleet, plan, facts)


def _make_plan(fleet: Fleet, request: UpdateRequest) -> UpdatePlan:
    _, golden = get_golden(fleet, request.name)
    golden_build.check_user_data(request.user_data)
    if layers.stamp(fleet, golden.latest.volume) != golden.latest.stamp:
        raise WrongState(
            f"Generation {golden.latest.number} of golden {request.name!r} was written to since it was built",
            hint=f"Build it anew: moltfleet golden build {request.name}",
        )
    manifest = read_manifest(fleet, golden.latest) or {}
    build = BuildPlan(
        request=BuildRequest(
            name=request.name,
            image=golden.source,
            user_data=request.user_data,
            scripts=request.scripts,
            allow_secrets=request.allow_secrets,
            # What the generation before did without, it did without on purpose.
            tools=bool(manifest["guest_tools"]) if "guest_tools" in manifest else None,
            admission=request.admission,
        ),
        profile=_profile(fleet, golden.profile),
        user=golden.user,
        memory=Size(golden.memory),
        vcpus=golden.vcpus,
        disk=Size(golden.disk),
        generation=golden_build.next_generation(fleet, request.name, golden),
        existing=golden,
    )
    return UpdatePlan(request, golden, build, manifest)


def _profile(fleet: Fleet, name: str) -> Profile:
    """Read the golden's profile, whose promises hold for every generation; one that is no more promises nothing."""
    try:
        return fleet.profiles.get(name)
    except NotFound:
        return Profile(name, (), (), ())


def _stage(fleet: Fleet, plan: UpdatePlan) -> Stage:
    """Let the generation be what is built on, as a kept first stage is."""
    return Stage(
        volume=plan.source.volume,
        base="",
        is_reused=True,
        documents=plan.request.user_data,
        user=plan.golden.user,
        disk=plan.build.disk,
        host_key=fleet.keys.new_host_key(),
        identifier=str(uuid.uuid4()),
        scratch=build_domain(plan.request.name),
        build_disk=build_volume(plan.request.name, plan.build.generation),
    )


def _has_news(plan: UpdatePlan, facts: BuildFacts) -> bool:
    """Whether there is anything in it that the generation before has not, as far as that can be told."""
    asked = bool(plan.request.user_data or plan.request.scripts)
    differences = (_packages(plan, facts), _npm_packages(plan, facts))
    return asked or _tools(plan, facts) is not None or any(found is None or found for found in differences)


def _packages(plan: UpdatePlan, facts: BuildFacts) -> tuple[Change, ...] | None:
    return _compare(plan.manifest.get("packages"), facts.packages)


def _npm_packages(plan: UpdatePlan, facts: BuildFacts) -> tuple[Change, ...] | None:
    return _compare(plan.manifest.get("npm_packages"), facts.npm_packages)


def _compare(before: object, after: Mapping[str, str]) -> tuple[Change, ...] | None:
    """Compare with what a manifest says; None when it says nothing that can be compared."""
    if not isinstance(before, dict):
        return None
    return changes({str(name): str(version) for name, version in before.items()}, after)


def _tools(plan: UpdatePlan, facts: BuildFacts) -> Change | None:
    told = plan.manifest.get("guest_tools")
    before, after = (told if isinstance(told, str) else None), (facts.tools or None)
    return None if before == after else Change("guest tools", before, after)


def _result(fleet: Fleet, plan: UpdatePlan, facts: BuildFacts) -> GoldenUpdate:
    view = view_golden(fleet, plan.request.name)
    _, golden = get_golden(fleet, plan.request.name)
    return GoldenUpdate(
        view=view,
        before=plan.source.number,
        number=golden.latest.number,
        packages=_packages(plan, facts),
        npm_packages=_npm_packages(plan, facts),
        tools=_tools(plan, facts),
        size_before=fleet.storage.get(plan.source.volume).allocation,
        size_after=fleet.storage.get(golden.latest.volume).allocation,
        behind=view.behind,
    )
