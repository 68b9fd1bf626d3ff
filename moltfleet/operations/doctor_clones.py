"""Clones and goldens that are not as their records say: unfinished acts, missing or changed layers, other hands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from moltfleet.model.doctor import Area, Finding, Remedy
from moltfleet.model.errors import MoltfleetError, WrongState
from moltfleet.model.records import BuildRecord, CleanPoint, CloneRecord, GoldenRecord, Phase
from moltfleet.operations import chains, doctor_snapshots, foreign, layers, repair
from moltfleet.operations.deadlines import find_epoch

if TYPE_CHECKING:
    from moltfleet.model.domain import Domain
    from moltfleet.operations.doctor_scene import Scene

_WHY_UNFINISHED = "A command was interrupted; until that is finished or taken back, the next one does it first."
_WHY_LEFTOVER = "The record says that they are no longer needed, and they take room."
_WHY_EXPIRED = "It was there for 'undo', and has stayed for longer than shed_hours."
_WHY_MISSING = "Somebody deleted it beside moltfleet; what needs it fails when it is asked for."
_WHY_VOID = "What was written to a frozen layer shows through to everything above it, and is no clean state any more."
_WHY_STALE = "Saved RAM fits one host, QEMU and definition; with others a molt boots instead, which takes longer."
_WHY_FOREIGN = "A change of layers would break it, so that molts refuse."
_WHY_RUNNING = "A golden is an image and no guest; running it takes memory, and is of no use."
_WHY_UNREADABLE = "What cannot be read is never changed, and what it explains cannot be told from what nobody needs."


def examine(scene: Scene) -> Iterator[Finding]:
    """Look at every domain of ours that nobody works on."""
    yield from (_unreadable(name) for name in scene.unreadable())
    yield from (_abandoned(scene, domain) for domain in scene.abandoned())
    for domain, golden in scene.goldens():
        if not golden.deleting:
            yield from _golden(scene, domain.name, golden)
        if domain.is_active:
            fix = f"virsh destroy {domain.name}; its disk is attached read-only, so that nothing was written."
            yield _finding("foreign", domain.name, "the golden was started by somebody", _WHY_RUNNING, fix)
    if not scene.has_pool:
        return
    stale = _stale_reasons(scene)
    for domain, clone in scene.clones():
        if not repair.is_abandoned(clone):
            try:
                yield from _clone(scene, domain, clone, stale.get(domain.name, ""))
            except MoltfleetError as error:
                scene.note(error)


def _finding(kind: str, subject: str, fact: str, why: str, fix: str) -> Finding:
    return Finding(kind, Area.FLEET, subject, fact, why, fix)


def _unreadable(name: str) -> Finding:
    fact = "its metadata was written by a newer moltfleet, or edited"
    fix = f"Update moltfleet; or look at it: virsh metadata {name} --uri urn:moltfleet:metadata:1"
    return _finding("unreadable", name, fact, _WHY_UNREADABLE, fix)


def _abandoned(scene: Scene, domain: Domain) -> Finding:
    record = domain.record
    if isinstance(record, GoldenRecord) and not record.deleting:
        numbers = ", ".join(f"g{generation.number}" for generation in record.going)
        return Finding(
            kind="unfinished",
            area=Area.FLEET,
            subject=domain.name,
            fact=f"the pruning of {numbers} was interrupted",
            why=_WHY_UNFINISHED,
            fix="Delete what there is of it.",
            remedy=Remedy.REPAIR,
            frees=scene.allocation(*(v for g in record.going for v in (g.volume, g.manifest))),
        )
    if isinstance(record, BuildRecord):
        what = f"the build of golden {record.golden!r} was interrupted"
    elif isinstance(record, CloneRecord) and record.phase is Phase.CREATING:
        what = "its creation was interrupted"
    else:
        what = "its deletion was interrupted"
    owned = record.volumes() if record else frozenset()
    return Finding(
        kind="unfinished",
        area=Area.FLEET,
        subject=domain.name,
        fact=what,
        why=_WHY_UNFINISHED,
        fix="Delete what there is of it.",
        remedy=Remedy.REPAIR,
        frees=scene.allocation(*owned),
    )


def _golden(scene: Scene, name: str, golden: GoldenRecord) -> Iterator[Finding]:
    for generation in golden.generations if scene.has_pool else ():
        volume = scene.volumes.get(generation.volume)
        if volume is None:
            fact = f"the image {generation.volume!r} of generation {generation.number} is gone"
            fix = f"Build it anew: moltfleet golden build {name}. Clones of that generation cannot be saved."
            yield _finding("missing-layer", name, fact, _WHY_MISSING, fix)
        elif (volume.mtime, volume.length.bytes) != (generation.stamp.mtime, generation.stamp.length):
            fact = f"the image {generation.volume!r} of generation {generation.number} was written to"
            fix = (
                f"Build the next generation: moltfleet golden build {name}. Save the work of its clones, and make new."
            )
            yield _finding("void", name, fact, _WHY_VOID, fix)


def _clone(scene: Scene, domain: Domain, clone: CloneRecord, stale: str) -> Iterator[Finding]:
    name = domain.name
    if clone.pending is not None:
        fix = "Finish it, or take it back, as the next command would; that may boot the guest."
        fact = f"a {clone.pending.verb} was interrupted"
        yield Finding("unfinished", Area.FLEET, name, fact, _WHY_UNFINISHED, fix, Remedy.REPAIR)
        return
    yield from _leftovers(scene, name, clone)
    gone = tuple(_missing(scene, domain, clone))
    yield from gone
    if clone.clean is not None and not any(finding.remedy is None for finding in gone):
        yield from _clean_point(scene, name, clone.clean, stale)
    yield from doctor_snapshots.examine(scene, name, clone)
    yield from _other_hands(scene, domain, clone)


def _leftovers(scene: Scene, name: str, clone: CloneRecord) -> Iterator[Finding]:
    needed = chains.needed(scene.fleet, clone) if clone.trash else frozenset()
    due = [volume for volume in clone.trash if volume not in needed]
    if due:
        yield Finding(
            kind="leftover",
            area=Area.FLEET,
            subject=name,
            fact=f"{', '.join(due)} should have been deleted",
            why=_WHY_LEFTOVER,
            fix="Delete them.",
            remedy=Remedy.REPAIR,
            frees=scene.allocation(*due),
        )
    replaced = find_epoch(clone.shed.replaced_at) if clone.shed else None
    hours = 0.0 if replaced is None else (scene.fleet.clock.now() - replaced) / 3600
    if clone.shed is not None and hours >= scene.fleet.config.shed_hours and clone.shed.volume in scene.volumes:
        yield Finding(
            kind="expired",
            area=Area.FLEET,
            subject=name,
            fact=f"its shed layer {clone.shed.volume!r} has stayed for {hours:.0f} hours",
            why=_WHY_EXPIRED,
            fix="Delete it; 'undo' is not possible then.",
            remedy=Remedy.REPAIR,
            frees=scene.allocation(clone.shed.volume),
        )


def _missing(scene: Scene, domain: Domain, clone: CloneRecord) -> Iterator[Finding]:
    """Tell what of the clone is gone from the pool, with the least that loses nothing more."""
    name = domain.name
    spare = [(clone.shed, "shed layer")] if clone.shed else []
    spare += [(layer, f"kept layer {layer.label!r}") for layer in clone.kept]
    for layer, what in spare:
        if layer.volume not in scene.volumes:
            fact, fix = f"its {what} ({layer.volume}) is gone", "Forget it: nothing else is lost."
            yield Finding(
                "missing-layer", Area.FLEET, name, fact, _WHY_MISSING, fix, Remedy.FORGET, layer.volume
            )  # fmt: skip
    frozen = [stamp.volume for stamp in clone.clean.stamps] if clone.clean else []
    base = [clone.golden_volume] if clone.linked else []
    lost = [volume for volume in (*frozen, *base) if volume not in scene.volumes]
    if lost:
        fact = f"{', '.join(lost)} under it is gone"
        fix = f"Its disk cannot be read without: moltfleet delete {name}, and create it anew."
        if domain.is_active:
            fix = f"It still runs, and not again once it stops: save its work now, then moltfleet delete {name}"
        yield _finding("missing-layer", name, fact, _WHY_MISSING, fix)
    elif clone.top not in scene.volumes:
        fact = f"its top layer {clone.top!r} is gone"
        back = f"moltfleet molt {name}" if clone.clean else f"moltfleet delete {name}, and create it anew"
        fix = f"It still runs: save its work now. Then: {back}" if domain.is_active else f"Back to clean: {back}"
        yield _finding("missing-layer", name, fact, _WHY_MISSING, fix)
    elif clone.seed and clone.seed not in scene.volumes:
        fix = f"It cannot be booted any more. Save its work, then moltfleet delete {name}, and create it anew."
        yield _finding("missing-layer", name, f"its seed {clone.seed!r} is gone", _WHY_MISSING, fix)


def _clean_point(scene: Scene, name: str, clean: CleanPoint, stale: str) -> Iterator[Finding]:
    try:
        layers.check_frozen(scene.fleet, name, clean)
    except WrongState as error:
        yield _finding("void", name, error.brief, _WHY_VOID, error.hint or "")
        return
    if clean.ram is not None and clean.ram not in scene.volumes:
        fact = f"its saved RAM ({clean.ram}) is gone"
        fix = f"Forget it: molts boot then, and moltfleet warm {name} saves it anew."
        yield Finding("missing-layer", Area.FLEET, name, fact, _WHY_MISSING, fix, Remedy.FORGET, clean.ram)
    elif stale:
        fix = f"moltfleet warm {name} (boots it clean; what it is now stays for 'undo'), or let the night do it."
        yield _finding("stale", name, stale, _WHY_STALE, fix)


def _stale_reasons(scene: Scene) -> dict[str, str]:
    """Say of each clone with saved RAM why that no longer fits, if it does not; all are asked about at once."""
    warm = {domain.name: clone.clean for domain, clone in scene.clones() if clone.clean and clone.clean.ram}
    try:
        now = scene.fleet.hypervisor.fingerprints(warm) if warm else {}
    except MoltfleetError as error:
        scene.note(error)
        return {}
    return {name: warm[name].stale_reason(told) for name, told in now.items()}


def _other_hands(scene: Scene, domain: Domain, clone: CloneRecord) -> Iterator[Finding]:
    try:
        foreign.check_untouched(scene.fleet, domain.name, way_out=f"moltfleet molt {domain.name} --discard-snapshots")
        if not domain.is_active:
            foreign.check_startable(scene.fleet, domain, clone)
    except WrongState as error:
        fact = error.brief.removeprefix(f"Clone {domain.name!r} ")
        fix = f"Delete them with virsh if they are not needed; or drop them: {error.hint}"
        yield _finding("foreign", domain.name, fact, _WHY_FOREIGN, fix)
