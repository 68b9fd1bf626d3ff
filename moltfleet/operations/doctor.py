"""Look for what is wrong with the fleet, and mend what no clone is worse off for.

Looking changes nothing. Mending touches what was found and is so still, each thing through the function that the
ordinary commands do it with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from moltfleet.model.doctor import Diagnosis, Finding, Mended, Remedy
from moltfleet.model.errors import HostUnavailable, MoltfleetError, NotFound
from moltfleet.operations import (
    base_images,
    doctor_clones,
    doctor_guests,
    doctor_host,
    doctor_identity,
    doctor_night,
    doctor_pool,
    kept,
    layers,
    molting,
    repair,
    snapshots,
)
from moltfleet.operations.clones import get_clone
from moltfleet.operations.doctor_scene import Scene, look

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet
    from moltfleet.operations.host import Host

Examination = Callable[[Scene], Iterator[Finding]]
_EXAMINATIONS: tuple[Examination, ...] = (
    doctor_clones.examine,
    doctor_pool.examine,
    doctor_night.examine,
    doctor_identity.examine,
)


def diagnose(fleet: Fleet, host: Host | None = None, *, asks_guests: bool = False) -> Diagnosis:
    """Ask every question; ``host`` is None for another machine's libvirt. Guests are logged in to only when told.

    What cannot be looked at is noted, and the others are asked all the same.
    """
    try:
        scene = look(fleet)
    except HostUnavailable as error:
        return Diagnosis(tuple(doctor_host.examine_unreachable(error, host)))
    found: list[Finding] = []
    about_host: Examination = partial(doctor_host.examine, host=host)
    about_guests = (doctor_guests.examine,) if asks_guests else ()
    for examine in (about_host, *_EXAMINATIONS, *about_guests):
        try:
            found += examine(scene)
        except MoltfleetError as error:
            scene.note(error)
    return Diagnosis(tuple(found), tuple(scene.notes))


def plan_mend(diagnosis: Diagnosis) -> tuple[str, ...]:
    """Say, one line per finding, what mending would do."""
    return tuple(f"{f.subject}: {f.fact}. {f.fix}{_frees(f)}" for f in diagnosis.mendable)


def _frees(finding: Finding) -> str:
    return f" ({finding.frees})" if finding.frees.bytes else ""


def mend(fleet: Fleet, diagnosis: Diagnosis) -> tuple[Mended, ...]:
    """Do it, one after the other; a failure of one leaves the others, and stands in its result."""
    return tuple(_mend(fleet, finding) for finding in _in_order(fleet, diagnosis))


def _in_order(fleet: Fleet, diagnosis: Diagnosis) -> list[Finding]:
    """Volumes come last, each before the one that it stands on."""
    mendable = diagnosis.mendable
    doomed = {finding.volume: finding for finding in mendable if finding.remedy is Remedy.DELETE}
    order = layers.top_down(fleet, tuple(doomed)) if doomed else []
    return [f for f in mendable if f.remedy is not Remedy.DELETE] + [doomed[name] for name in order]


def _mend(fleet: Fleet, finding: Finding) -> Mended:
    remedies = {
        Remedy.REPAIR: _repair,
        Remedy.FORGET: _forget,
        Remedy.CLEAR: _clear,
        Remedy.DELETE: _delete,
    }
    assert finding.remedy is not None
    try:
        with fleet.progress.step(f"Mending {finding.subject}"):
            is_done = remedies[finding.remedy](fleet, finding)
    except MoltfleetError as error:
        return Mended(finding, "failed", error)
    return Mended(finding, "mended" if is_done else "gone")


def _repair(fleet: Fleet, finding: Finding) -> bool:
    """As the next command on it would."""
    domain = fleet.hypervisor.find(finding.subject)
    if domain is None:
        return False
    if repair.is_abandoned(domain.record):
        repair.clear_abandoned(fleet, domain)
        return True
    with fleet.locks.hold(domain.name, verb="repair"):
        try:
            repair.repair_clone(fleet, domain.name)
        except NotFound:
            return False
    return True


def _forget(fleet: Fleet, finding: Finding) -> bool:
    """Take a volume out of the record that is gone; the guarded deletion finds nothing to delete."""
    name, volume = finding.subject, finding.volume
    _, clone = get_clone(fleet, name)
    if fleet.storage.find(volume) is not None:
        return False
    label = next((layer.label for layer in clone.kept if layer.volume == volume), None)
    if label is not None:
        kept.delete(fleet, name, label)
        return True
    snapshot = next((one.name for one in clone.snapshots if one.stamp.volume == volume), None)
    if snapshot is not None:
        snapshots.delete(fleet, name, snapshot)
        return True
    with fleet.locks.hold(name, verb="repair"):
        _, clone = get_clone(fleet, name)
        if clone.shed is not None and clone.shed.volume == volume:
            molting.drop_shed(fleet, name, clone)
        elif clone.clean is not None and clone.clean.ram == volume:
            cold = replace(clone.clean, ram=None, fingerprint=None, nonce=None, boot_id=None, failures=0)
            fleet.hypervisor.write_record(name, replace(clone, clean=cold))
        else:
            return False
    return True


def _clear(fleet: Fleet, finding: Finding) -> bool:
    base_images.clear_unfinished(fleet, finding.volume)
    return True


def _delete(fleet: Fleet, finding: Finding) -> bool:
    """Delete a volume that is an orphan still: asked again, with everything read anew."""
    if finding.volume not in {volume.name for volume in doctor_pool.orphans(look(fleet))}:
        return False
    return fleet.storage.delete(finding.volume)
