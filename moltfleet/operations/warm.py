"""Give a clone a warm clean point: made anew from its clean disk, or of the state that it is in now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.errors import MoltfleetError, WrongState
from moltfleet.model.records import CleanPoint, CloneRecord
from moltfleet.model.requests import AdmissionRequest
from moltfleet.model.results import ActResult
from moltfleet.operations import admission, clean, foreign, layers, login_keeping, molting, repair
from moltfleet.operations.clones import clone_names, get_clone
from moltfleet.operations.parallel import each

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet

_AS_USUAL = AdmissionRequest()


def plan_warm(fleet: Fleet, patterns: Sequence[str], *, from_now: bool) -> tuple[str, ...]:
    """Say, one line per clone, what would happen; changes nothing."""
    lines = []
    for name in clone_names(fleet, patterns):
        _, clone = get_clone(fleet, name)
        if from_now:
            lines.append(f"{name}: its present state would become its clean point")
        elif clone.clean and not molting.cold_reason(fleet, name, clone.clean):
            lines.append(f"{name}: is warm already")
        else:
            lines.append(f"{name}: would boot from its clean disk and be saved; {clone.top} would stay for undo")
    return tuple(lines)


def warm(
    fleet: Fleet, patterns: Sequence[str], *, from_now: bool, terms: AdmissionRequest = _AS_USUAL
) -> tuple[ActResult, ...]:
    """Make every named clone warm, one after the other; a failure of one leaves the others."""

    def act(name: str) -> ActResult:
        started = fleet.clock.monotonic()
        try:
            with fleet.locks.hold(name, verb="warm"):
                repair.repair_clone(fleet, name)
                outcome = (_take_now if from_now else _make_anew)(fleet, name, terms)
        except MoltfleetError as error:
            return ActResult(name, "failed", error.brief, fleet.clock.monotonic() - started, error)
        return ActResult(name, outcome, seconds=fleet.clock.monotonic() - started)

    # Saves are bound by the disk: side by side they only take longer each.
    return each(clone_names(fleet, patterns), act, jobs=1)


def _take_now(fleet: Fleet, name: str, terms: AdmissionRequest) -> str:
    """Freeze what the clone is now; the chain grows by one layer."""
    domain, clone = get_clone(fleet, name)
    _require_clean(name, clone)
    if not domain.is_active:
        raise WrongState(f"Clone {name!r} is not running", hint=f"Start it: moltfleet start {name}")
    foreign.check_untouched(fleet, name)
    with admission.room(fleet, name, terms, with_ram=True):
        clone = clean.take(fleet, name, get_clone(fleet, name)[1], warm=True, or_cold=False)
    return "warmed" if clone.clean and clone.clean.ram else "cooled"


def _make_anew(fleet: Fleet, name: str, terms: AdmissionRequest) -> str:
    """Boot the clean disk on a fresh overlay, and save it there."""
    _, clone = get_clone(fleet, name)
    point = _require_clean(name, clone)
    if not molting.cold_reason(fleet, name, point):
        return "unchanged"
    foreign.check_untouched(fleet, name)
    layers.check_frozen(fleet, name, point)
    with admission.room(fleet, name, terms, with_ram=True):
        clone = _boot_and_save(fleet, name, get_clone(fleet, name)[1], point)
    return "warmed" if clone.clean and clone.clean.ram else "cooled"


def _boot_and_save(fleet: Fleet, name: str, clone: CloneRecord, point: CleanPoint) -> CloneRecord:
    clone = _drop_ram(fleet, name, clone, point)
    watch = molting.Stopwatch(fleet, fleet.clock.monotonic())
    clone = molting.journal(fleet, name, clone, None)
    clone, _ = molting.perform(fleet, name, clone, reason="to be warmed", watch=watch, puts_back=False)
    try:
        clone = clean.take(fleet, name, clone, warm=True, booted=True, or_cold=False)
    except MoltfleetError:
        # The guest runs on, and had its logins before.
        login_keeping.give_back(fleet, name)
        raise
    login_keeping.give_back(fleet, name)
    return clone


def _require_clean(name: str, clone: CloneRecord) -> CleanPoint:
    if clone.clean is None:
        raise WrongState(
            f"Clone {name!r} has no clean point", hint=f"Its first start takes one: moltfleet start {name}"
        )
    return clone.clean


def _drop_ram(fleet: Fleet, name: str, clone: CloneRecord, point: CleanPoint) -> CloneRecord:
    """Go back to the disk alone, without the layer that only an earlier warming booted."""
    stamps = point.stamps[1:] if point.booted else point.stamps
    cold = CleanPoint(stamps=stamps, taken_at=point.taken_at, ram_generation=point.ram_generation)
    gone = (*([point.ram] if point.ram else []), *([point.volume] if point.booted else []))
    clone = replace(clone, clean=cold, trash=(*clone.trash, *gone))
    fleet.hypervisor.write_record(name, clone)
    return clone
