"""Volumes of the pool that nobody needs: what no record explains, and what was not uploaded to its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from moltfleet.model.doctor import Area, Finding, Remedy
from moltfleet.model.records import CloneRecord
from moltfleet.model.volumes import Volume, is_image_volume, is_named_as_ours, marked_volume
from moltfleet.operations import base_images, poolparts

if TYPE_CHECKING:
    from moltfleet.operations.doctor_scene import Scene

_WHY_ORPHAN = (
    "Its domain is gone, and nothing else names it; it takes room until the pool is full, which pauses guests."
)
_WHY_UPLOAD = "An interrupted upload left it; it is never used, as nothing says that it is whole."
_WHY_GOLDEN = "Clones stand on it and go on to work, but no new ones can be made, and 'golden delete' cannot free it."


def examine(scene: Scene) -> Iterator[Finding]:
    """Look at every volume."""
    yield from _orphans(scene)
    yield from _unfinished_uploads(scene)


def _orphans(scene: Scene) -> Iterator[Finding]:
    unreadable = scene.unreadable()
    if unreadable:
        scene.notes.append(f"Volumes are not judged, as the metadata of {unreadable[0]!r} may explain any of them")
        return
    bases, ours = _bases(scene), {volume.name for volume in orphans(scene)}
    theirs = []
    for volume in poolparts.unexplained(scene.domains, scene.volumes.values()):
        if volume.name in bases:
            yield _lost_golden(volume, bases[volume.name])
        elif volume.name in ours:
            yield _orphan(volume)
        elif not is_named_as_ours(volume.name):
            theirs.append(volume.name)
    if theirs:
        names = ", ".join(theirs[:3]) + (", …" if len(theirs) > 3 else "")
        scene.notes.append(f"The pool holds {scene.allocation(*theirs)} of somebody's, which are left alone: {names}")


def orphans(scene: Scene) -> tuple[Volume, ...]:
    """The volumes that this program made, that no record explains, and that nothing else uses or stands on.

    None while a record cannot be read, as it may explain any of them.
    """
    if scene.unreadable():
        return ()
    bases = _bases(scene)
    manifests = {base.removesuffix(".qcow2") + ".json" for base in bases}
    used = {domain.inactive_disk for domain in scene.domains} | {domain.active_disk for domain in scene.domains}
    found = {
        volume.path: volume
        for volume in poolparts.unexplained(scene.domains, scene.volumes.values())
        if is_named_as_ours(volume.name) and volume.name not in (bases.keys() | manifests) and volume.path not in used
    }
    while spared := {v.backing for v in scene.volumes.values() if v.path not in found and v.backing in found}:
        found = {path: volume for path, volume in found.items() if path not in spared}
    return tuple(found.values())


def _bases(scene: Scene) -> dict[str, list[str]]:
    """The volumes that linked clones stand on, with the clones' names."""
    found: dict[str, list[str]] = {}
    for domain in scene.domains:
        if isinstance(domain.record, CloneRecord) and domain.record.linked:
            found.setdefault(domain.record.golden_volume, []).append(domain.name)
    return found


def _orphan(volume: Volume) -> Finding:
    return Finding(
        kind="orphan",
        area=Area.FLEET,
        subject=volume.name,
        fact="no record explains it",
        why=_WHY_ORPHAN,
        fix="Delete the volume, with whatever was written to it.",
        remedy=Remedy.DELETE,
        volume=volume.name,
        frees=volume.allocation,
    )


def _lost_golden(volume: Volume, clones: list[str]) -> Finding:
    return Finding(
        kind="lost-golden",
        area=Area.FLEET,
        subject=volume.name,
        fact=f"its golden's domain is gone, and {len(clones)} clone(s) stand on it",
        why=_WHY_GOLDEN,
        fix=f"Build the golden anew; when {', '.join(clones[:3])} are deleted, this one can go.",
    )


def _unfinished_uploads(scene: Scene) -> Iterator[Finding]:
    images = {name for name in scene.volumes if is_image_volume(name)}
    images |= {marked for name in scene.volumes if (marked := marked_volume(name)) and marked not in scene.volumes}
    for name in sorted(images):
        if scene.fleet.locks.is_held(name) or base_images.read_marker(scene.fleet, name) is not None:
            continue
        if any(child.backing == scene.fleet.storage.path_of(name) for child in scene.volumes.values()):
            continue
        yield Finding(
            kind="unfinished-upload",
            area=Area.FLEET,
            subject=name,
            fact="it was not uploaded to its end, or was changed since",
            why=_WHY_UPLOAD,
            fix="Delete it; the next build uploads it anew.",
            remedy=Remedy.CLEAR,
            volume=name,
            frees=scene.allocation(name, f"{name}.json"),
        )
