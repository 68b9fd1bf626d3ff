"""The central act: back to the clean point on a new overlay, from RAM when warm, by booting when cold (DESIGN §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.errors import InvalidInput, MoltfleetError, WrongState
from moltfleet.model.names import check_name
from moltfleet.model.records import CleanPoint, CloneRecord, Phase, Verb
from moltfleet.model.results import MoltResult, MoltSeconds
from moltfleet.operations import admission, first_boot, foreign, layers, measuring, molting, moving, repair, rescue
from moltfleet.operations.clones import clone_names, get_clone
from moltfleet.operations.deadlines import timestamp
from moltfleet.operations.guest_scripts import describe_failure
from moltfleet.operations.parallel import each
from moltfleet.operations.tallying import counted

if TYPE_CHECKING:
    from moltfleet.model.requests import MoltRequest
    from moltfleet.model.rescue import RescueResult
    from moltfleet.operations.fleet import Fleet


def plan_molt(fleet: Fleet, patterns: Sequence[str], request: MoltRequest) -> tuple[str, ...]:
    """Say, one line per clone, what a molt would do; changes nothing."""
    lines = []
    for name in clone_names(fleet, patterns):
        _, clone = get_clone(fleet, name)
        if clone.clean is None:
            lines.append(f"{name}: has no clean point, would be refused")
            continue
        reason = "asked for" if request.cold else molting.cold_reason(fleet, name, clone.clean)
        how = f"cold ({reason})" if reason else "warm"
        fate = "be kept" if request.keep is not None else "stay for undo"
        if request.rescue:
            lines += rescue.plan_rescue(fleet, (name,))
        if generation := moving.find_target(fleet, clone, request.to):
            way = moving.describe(clone, generation)
            lines.append(f"{name}: would be moved {way}, and boot there with its identity; {clone.top} would {fate}")
            continue
        lines.append(f"{name}: {how} molt to its clean point of {clone.clean.taken_at}; {clone.top} would {fate}")
    return tuple(lines)


def molt(fleet: Fleet, patterns: Sequence[str], request: MoltRequest) -> tuple[MoltResult, ...]:
    """Molt every named clone; a failure of one leaves the others and stands in its result."""
    names = clone_names(fleet, patterns)
    if request.keep:
        check_name(request.keep, what="kept layer")

    def act(name: str) -> MoltResult:
        started = fleet.clock.monotonic()
        rescued: RescueResult | None = None
        wanted, moves = request, False
        try:
            with fleet.locks.hold(name, verb="molt", wait_s=request.wait_s):
                if request.rescue and get_clone(fleet, name)[1].clean is not None:
                    rescued, wanted = rescue.before_molt(fleet, name, request)
                moves = moving.find_target(fleet, get_clone(fleet, name)[1], request.to) is not None
                with admission.room(fleet, name, request.admission, with_disk=moves, with_ram=moves):
                    repair.repair_clone(fleet, name, for_molt=not moves)
                    return counted(fleet, replace(molt_one(fleet, name, wanted), rescue=rescued))
        except MoltfleetError as error:
            seconds = MoltSeconds(total=fleet.clock.monotonic() - started)
            mode = "cold" if request.cold or moves else "warm"
            return counted(
                fleet,
                MoltResult(name, "failed", mode, describe_failure(error), seconds=seconds, error=error, rescue=rescued),
            )

    return each(names, act, jobs=request.jobs or _jobs(fleet, names))


def _jobs(fleet: Fleet, names: Sequence[str]) -> int:
    if len(names) == 1:
        return 1
    # One that has gone meanwhile is not to keep the others from their molt.
    vcpus = (domain.vcpus for domain in fleet.hypervisor.domains() if domain.name in names)
    return measuring.side_by_side(fleet, max(vcpus, default=1))


def molt_one(fleet: Fleet, name: str, request: MoltRequest) -> MoltResult:
    """Molt one clone whose lock the caller holds; an interrupted molt of it is gone on with.

    Raises: WrongState, and whatever the cold way fails with.
    """
    started = fleet.clock.monotonic()
    _, clone = get_clone(fleet, name)
    generation = moving.find_target(fleet, clone, request.to)
    if moving.lacks_clean_point(clone):
        clone = first_boot.run(fleet, name, clone)
        if generation is None:
            seconds = MoltSeconds(total=fleet.clock.monotonic() - started)
            return MoltResult(name, "molted", "cold", f"its move to g{clone.generation} is finished", None, seconds)
    clean = _require_clean(name, clone)
    if generation is None:
        layers.check_frozen(fleet, name, clean)
    if request.discard_snapshots:
        clone = foreign.discard(fleet, name)
    else:
        foreign.check_untouched(fleet, name, way_out="--discard-snapshots drops them.")
    reason = "asked for" if request.cold else molting.cold_reason(fleet, name, clean)
    label = _label(fleet, clone, request)
    watch = molting.Stopwatch(fleet, started)
    if generation is not None:
        way = moving.describe(clone, generation)
        moving.move(fleet, name, clone, generation, label=label, watch=watch)
        seconds = MoltSeconds(total=fleet.clock.monotonic() - started, **watch.phases)
        return MoltResult(name, "molted", "cold", f"moved {way}", label, seconds, logins=watch.logins.result())
    is_open = clone.pending is not None and clone.pending.verb is Verb.MOLT
    clone = (molting.take_over if is_open else molting.journal)(fleet, name, clone, label)
    kept = clone.pending.keep if clone.pending else None
    clone, reason = molting.perform(fleet, name, clone, reason=reason, watch=watch)
    seconds = MoltSeconds(total=fleet.clock.monotonic() - started, **watch.phases)
    logins = watch.logins.result()
    return MoltResult(name, "molted", "cold" if reason else "warm", reason, kept, seconds, logins=logins)


def _require_clean(name: str, clone: CloneRecord) -> CleanPoint:
    if clone.clean is None or clone.phase is not Phase.READY:
        raise WrongState(
            f"Clone {name!r} has no clean point", hint=f"Its first start takes one: moltfleet start {name}"
        )
    return clone.clean


def _label(fleet: Fleet, clone: CloneRecord, request: MoltRequest) -> str | None:
    if request.keep is None:
        return None
    label = request.keep or molting.label_of(timestamp(fleet.clock))
    if label in {layer.label for layer in clone.kept}:
        raise InvalidInput(f"A kept layer is already called {label!r}", hint="Choose another label.")
    return label
