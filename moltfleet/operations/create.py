"""Make clones of a golden: define, seed, overlay, first boot, clean point (DESIGN §5)."""

from __future__ import annotations

import threading
import uuid
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.domain import DomainSpec, VirtType
from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import Busy, MoltfleetError, WrongState
from moltfleet.model.names import check_name, next_name
from moltfleet.model.recipe import GuestIdentity, HostKeyPair
from moltfleet.model.records import Attachment, CloneRecord, Forced, Phase
from moltfleet.model.results import ActResult
from moltfleet.model.volumes import clean_volume, seed_volume
from moltfleet.operations import admission, first_boot, measuring, networks, removing, repair, seeding
from moltfleet.operations.clones import get_golden
from moltfleet.operations.create_plan import CreatePlan, name_taken, plan_create
from moltfleet.operations.deadlines import timestamp
from moltfleet.operations.parallel import each

if TYPE_CHECKING:
    from moltfleet.model.requests import AdmissionRequest, CreateRequest
    from moltfleet.operations.fleet import Fleet

_LOCK_WAIT_S = 60.0


class _Spares:
    """More generated names, for those that were lost to another command; given out to several threads."""

    def __init__(self, fleet: Fleet, stem: str, planned: tuple[str, ...]) -> None:
        self._fleet = fleet
        self._stem = stem
        self._taken = set(planned)
        self._lock = threading.Lock()

    def next(self) -> str:
        """Generate a name that nobody had when this was called."""
        domains = self._fleet.hypervisor.domains()
        with self._lock:
            self._taken |= {domain.name for domain in domains}
            name = check_name(next_name(self._stem, self._taken), what="clone")
            self._taken.add(name)
        return name


def create(fleet: Fleet, request: CreateRequest) -> tuple[ActResult, ...]:
    """Make the clones, several side by side; one that fails is taken away again and stands in its result.

    Raises: what :func:`plan_create` raises, before anything is made.
    """
    repair.sweep(fleet)
    plan = plan_create(fleet, request)
    _warn_when_emulated(fleet)

    spares = _Spares(fleet, plan.stem, plan.names) if plan.stem else None

    def act(name: str) -> ActResult:
        started = fleet.clock.monotonic()
        try:
            with ExitStack() as held:
                name = _claim(fleet, held, name, spares)
                detail = _create_admitted(fleet, plan, name, request.admission)
        except MoltfleetError as error:
            return ActResult(name, "failed", error.brief, fleet.clock.monotonic() - started, error)
        return ActResult(name, "created", detail, fleet.clock.monotonic() - started)

    return each(plan.names, act, jobs=measuring.side_by_side(fleet, plan.vcpus))


def _claim(fleet: Fleet, held: ExitStack, name: str, spares: _Spares | None) -> str:
    """Hold the lock of this name, or of the next free one when it was generated and another command was faster."""
    while True:
        try:
            held.enter_context(fleet.locks.hold(name, verb="create"))
        except Busy:
            if spares is None:
                raise
        else:
            if spares is None or fleet.hypervisor.find(name) is None:
                return name
            held.close()
        lost, name = name, spares.next()
        fleet.progress.say(f"Name {lost!r} was taken meanwhile: {name!r} instead")


def _create_admitted(fleet: Fleet, plan: CreatePlan, name: str, terms: AdmissionRequest) -> str:
    """Keep room for the clone from before it is made until it is ready; one that is not started is only warned of."""
    candidate = plan.candidate(fleet, name)
    if plan.start:
        with admission.room_for(fleet, candidate, terms) as forced:
            return create_one(fleet, plan, name, terms, forced)
    objection = admission.find_objection(fleet, candidate)
    if objection is not None:
        fleet.progress.warn(f"{name!r} could not be started now: {objection.detail}")
    return create_one(fleet, plan, name, terms, None)


def create_one(fleet: Fleet, plan: CreatePlan, name: str, terms: AdmissionRequest, forced: Forced | None) -> str:
    """Make one clone whose lock the caller holds; on any failure it is taken away again. Returns its address."""
    host_key = fleet.keys.new_host_key()
    clone = define(fleet, plan, name, host_key, forced=forced)
    try:
        _make_volumes(fleet, plan, name, clone, host_key)
        if plan.start:
            first_boot.run(fleet, name, clone, terms)
        else:
            first_boot.leave_defined(fleet, name, clone)
    except (MoltfleetError, KeyboardInterrupt):
        fleet.progress.say(f"Taking {name!r} away again")
        current = fleet.hypervisor.get(name).record
        removing.remove_clone(fleet, name, current if isinstance(current, CloneRecord) else clone)
        raise
    return clone.attachment.address or ""


def define(
    fleet: Fleet,
    plan: CreatePlan,
    name: str,
    host_key: HostKeyPair,
    *,
    probe: bool = False,
    forced: Forced | None = None,
) -> CloneRecord:
    """Choose a network slot and define the domain with its record, which explains every later volume.

    From here on the golden cannot be deleted. Raises: NotFound, WrongState when it was meanwhile; AlreadyExists.
    """
    facts = fleet.hypervisor.host()
    identifier = uuid.uuid4()
    with fleet.locks.hold("fleet", verb="create", wait_s=_LOCK_WAIT_S):
        if fleet.hypervisor.find(name) is not None:
            raise name_taken(name, fleet.hypervisor.domains())
        if not probe:
            _check_golden(fleet, plan)
        taken = networks.taken(fleet.hypervisor.domains())
        attachment = fleet.networks.attach(plan.network_kind, plan.network, taken=taken)
        clone = _record(fleet, plan, name, host_key, attachment, identifier.hex, probe=probe)
        clone = replace(clone, forced=forced)
        spec = DomainSpec(
            name=name,
            uuid=str(identifier),
            title=f"{name}: clone of {plan.golden}",
            # Without the generation: a molt may change that.
            description=f"moltfleet clone of golden {plan.golden}",
            memory=plan.memory,
            vcpus=plan.vcpus,
            disk=clone.top,
            seed=clone.seed,
            attachment=attachment,
            record=clone,
            virt_type=facts.virt_type,
            desktop=plan.record.desktop,
            firmware=plan.record.firmware,
        )
        fleet.hypervisor.define(spec)
    record(Effect.CREATE_DEFINED, name)
    return clone


def _check_golden(fleet: Fleet, plan: CreatePlan) -> None:
    """Look again, now that deletions wait: the golden may have gone since the plan, or be another of the same name."""
    _, golden = get_golden(fleet, plan.golden)
    if plan.record.latest not in golden.generations:
        raise WrongState(f"Golden {plan.golden!r} was made anew meanwhile", hint="Try again.")


def _warn_when_emulated(fleet: Fleet) -> None:
    facts = fleet.hypervisor.host()
    if facts.virt_type is VirtType.QEMU:
        fleet.progress.warn(
            f"Guests are emulated ({facts.virt_reason}): slow, and no security boundary",
            hint="virt_type in moltfleet.toml overrides.",
        )


def _record(  # noqa: PLR0913 - the record has this many independent parts
    fleet: Fleet,
    plan: CreatePlan,
    name: str,
    host_key: HostKeyPair,
    attachment: Attachment,
    identifier: str,
    *,
    probe: bool,
) -> CloneRecord:
    return CloneRecord(
        golden=plan.golden,
        generation=plan.record.latest.number,
        golden_volume=plan.record.latest.volume,
        phase=Phase.CREATING,
        linked=plan.linked,
        user=plan.record.user,
        attachment=attachment,
        instance_id=f"iid-{identifier}",
        host_keys=(host_key.public,),
        seed=seed_volume(name),
        top=clean_volume(name),
        created_at=timestamp(fleet.clock),
        wants_ram=plan.warm,
        probe=probe,
    )


def _make_volumes(fleet: Fleet, plan: CreatePlan, name: str, clone: CloneRecord, host_key: HostKeyPair) -> None:
    keys = (fleet.keys.fleet_public_key(), *plan.user_keys)
    identity = GuestIdentity(hostname=name.replace(".", "-"), user=clone.user, authorized_keys=keys, host_key=host_key)
    seeding.write_clone_seed(fleet, clone, identity)
    record(Effect.CREATE_SEEDED, name)
    make_disk(fleet, plan, clone)
    record(Effect.CREATE_OVERLAID, name)


def make_disk(fleet: Fleet, plan: CreatePlan, clone: CloneRecord) -> None:
    """Make the clone's first layer: an overlay on the golden, or a copy of its own."""
    if plan.linked:
        fleet.storage.create_overlay(clone.top, backing=clone.golden_volume, capacity=plan.disk)
        return
    total = fleet.storage.get(clone.golden_volume).allocation.bytes
    with fleet.progress.step(f"Copying {plan.golden}") as step:
        fleet.storage.copy_flat(
            clone.golden_volume, clone.top, capacity=plan.disk, on_bytes=lambda done: step.advance(done, total)
        )
