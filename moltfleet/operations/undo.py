"""Swap the shed layer of the last molt back; the layer it replaces is shed in its stead, so undo undoes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moltfleet.model.errors import MoltfleetError, WrongState
from moltfleet.model.records import Layer, Phase, Verb
from moltfleet.model.requests import AdmissionRequest
from moltfleet.model.results import MoltResult, MoltSeconds
from moltfleet.operations import admission, login_keeping, molting, repair, swapping
from moltfleet.operations.clones import get_clone
from moltfleet.operations.guest_scripts import describe_failure
from moltfleet.operations.start import start_one

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet

_AS_USUAL = AdmissionRequest()


def undo(fleet: Fleet, name: str, terms: AdmissionRequest = _AS_USUAL) -> MoltResult:
    """Boot the clone from its shed layer. Failure stands in the result."""
    started = fleet.clock.monotonic()
    try:
        with fleet.locks.hold(name, verb="undo"), admission.room(fleet, name, terms):
            account = login_keeping.Account()
            _undo_one(fleet, name, account)
    except MoltfleetError as error:
        seconds = MoltSeconds(total=fleet.clock.monotonic() - started)
        return MoltResult(name, "failed", "cold", describe_failure(error), seconds=seconds, error=error)
    seconds = MoltSeconds(total=fleet.clock.monotonic() - started)
    return MoltResult(name, "undone", "cold", seconds=seconds, logins=account.result())


def _undo_one(fleet: Fleet, name: str, account: login_keeping.Account) -> None:
    _, clone = get_clone(fleet, name)
    if clone.phase is Phase.READY and clone.pending and clone.pending.verb is Verb.MOLT:
        # Finishing the molt first might be the very thing that fails.
        fleet.progress.say(f"Taking back the unfinished molt of {name!r}")
        login_keeping.pull_back(fleet, name, clone, account)
        fleet.hypervisor.destroy(name)
        molting.roll_back(fleet, name, molting.rescue(fleet, name, clone))
        _start_again(fleet, name, account)
        return
    if clone.pending and clone.pending.verb is Verb.MOVE:
        repair.repair_clone(fleet, name, spares_shed=True)
        _start_again(fleet, name, account)
        return
    # Age is no reason to refuse what is still there.
    repair.repair_clone(fleet, name, spares_shed=True)
    _, clone = get_clone(fleet, name)
    clone = swapping.journal(fleet, name, clone, _require_shed(fleet, name, clone.shed))
    swapping.perform(fleet, name, clone, account)


def _start_again(fleet: Fleet, name: str, account: login_keeping.Account) -> None:
    """Boot it on the layer that it had, with the logins that count now."""
    if start_one(fleet, name, account=account) == "unchanged":
        login_keeping.put_back(fleet, name, get_clone(fleet, name)[1], account, looks_first=True)


def _require_shed(fleet: Fleet, name: str, shed: Layer | None) -> Layer:
    if shed is None:
        raise WrongState(f"Clone {name!r} has no shed layer", hint="Only the last molt can be undone.")
    if fleet.storage.find(shed.volume) is None:
        raise WrongState(f"Shed layer {shed.volume!r} of clone {name!r} is gone")
    return shed
