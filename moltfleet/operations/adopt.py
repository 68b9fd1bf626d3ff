"""Adopt golden VMs and clones that shell scripts made: each by one new definition, no file copied, moved or deleted.

The golden first, so that no clone is ours whose golden is not. What was interrupted is done by adopting once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moltfleet.model.adoption import Adoptee, AdoptRequest, AdoptStep, Kind
from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import MoltfleetError
from moltfleet.model.records import Attachment, CleanPoint, CloneRecord, Generation, GoldenRecord, Origin, Phase
from moltfleet.operations import adopt_plan, layers, repair
from moltfleet.operations.clones import get_any_golden
from moltfleet.operations.deadlines import timestamp

if TYPE_CHECKING:
    from moltfleet.model.takeover import Takeover
    from moltfleet.operations.fleet import Fleet

PROFILE = "adopted"
_LOCK_WAIT_S = 60.0


def adopt(fleet: Fleet, takeover: Takeover, request: AdoptRequest) -> tuple[Adoptee, ...]:
    """Do what :func:`~moltfleet.operations.adopt_plan.plan_adopt` says now; a failure of one stands in its row.

    Raises: NotFound.
    """
    repair.sweep(fleet)
    # Makes the pool where there is none yet; files that were linked into its directory are known from here on.
    fleet.storage.refresh()
    with fleet.locks.hold("fleet", verb="adopt", wait_s=_LOCK_WAIT_S):
        plan = adopt_plan.plan_adopt(fleet, takeover, request)
        rows = []
        for step in plan.steps:
            rows.append(_adopt_one(fleet, takeover, step, request))
    return (*rows, *plan.others)


def _adopt_one(fleet: Fleet, takeover: Takeover, step: AdoptStep, request: AdoptRequest) -> Adoptee:
    try:
        with fleet.locks.hold(step.name, verb="adopt"):
            if step.kind is Kind.GOLDEN:
                _take_golden(fleet, takeover, step, request)
            else:
                _take_clone(fleet, takeover, step, request)
    except MoltfleetError as error:
        return adopt_plan.row(step, "failed", error)
    return adopt_plan.row(step, "adopted")


def _take_golden(fleet: Fleet, takeover: Takeover, step: AdoptStep, request: AdoptRequest) -> None:
    """Make the domain a golden whose disk is read-only; each layer of it is a generation without a manifest."""
    generations = tuple(_generation(fleet, step, number) for number in range(1, len(step.layers) + 1))
    foreign = step.foreign
    golden = GoldenRecord(
        profile=PROFILE,
        source=f"domain {step.name}",
        user=request.user,
        memory=foreign.memory,
        vcpus=foreign.vcpus,
        disk=generations[-1].capacity,
        generations=generations,
        desktop=foreign.has_graphics,
        firmware="efi" if foreign.is_uefi else None,
        adopted=Origin(step.disk, readonly=not foreign.disks[0].is_readonly, generations=len(generations)),
    )
    takeover.take(step.name, golden, disk=fleet.storage.path_of(step.layers[-1]))
    record(Effect.ADOPT_TAKEN, step.name)


def _generation(fleet: Fleet, step: AdoptStep, number: int) -> Generation:
    volume = step.layers[number - 1]
    return Generation(
        number=number,
        volume=volume,
        # A manifest says that it was proven sealed; the doctor tells of those without.
        manifest="",
        built_at=timestamp(fleet.clock),
        capacity=fleet.storage.get(volume).capacity.bytes,
        # Nobody measured it.
        idle_memory=0,
        stamp=layers.stamp(fleet, volume),
    )


def _take_clone(fleet: Fleet, takeover: Takeover, step: AdoptStep, request: AdoptRequest) -> None:
    """Make the domain a clone that was never started by us: its first start proves it ready and freezes its disk."""
    foreign = step.foreign
    _, golden = get_any_golden(fleet, step.golden)
    base = next((g for g in golden.generations if g.volume == step.base), golden.latest)
    card = foreign.card
    below = tuple(layers.stamp(fleet, volume) for volume in reversed(step.layers[:-1]))
    clone = CloneRecord(
        golden=step.golden,
        generation=base.number,
        golden_volume=base.volume,
        phase=Phase.DEFINED,
        linked=bool(step.base),
        user=request.user,
        attachment=Attachment("libvirt", card.network if card else "", card.mac if card else ""),
        instance_id=f"adopted-{foreign.uuid}",
        host_keys=(),
        seed="",
        top=step.layers[-1],
        created_at=timestamp(fleet.clock),
        clean=CleanPoint(stamps=below, taken_at=timestamp(fleet.clock)) if below else None,
        wants_ram=request.warm,
        adopted=Origin(step.disk, channel=not foreign.has_agent),
    )
    takeover.take(step.name, clone, disk=fleet.storage.path_of(clone.top))
    record(Effect.ADOPT_TAKEN, step.name)
