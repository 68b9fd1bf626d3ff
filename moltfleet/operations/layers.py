"""The layers of a clone: frozen ones are checked, overlays are made on them, live chains are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moltfleet.model.errors import InUse, MoltfleetError, WrongState
from moltfleet.model.volumes import Stamp, next_overlay_number, overlay_volume

if TYPE_CHECKING:
    from moltfleet.model.records import CleanPoint, CloneRecord
    from moltfleet.operations.fleet import Fleet


def stamp(fleet: Fleet, volume: str) -> Stamp:
    """Note what a layer looks like at the moment it is frozen."""
    seen = fleet.storage.get(volume)
    return Stamp(volume=volume, mtime=seen.mtime, length=seen.length.bytes)


def check_frozen(fleet: Fleet, name: str, clean: CleanPoint) -> None:
    """Make sure that nobody wrote to a frozen layer (``virsh blockcommit`` can). Raises: WrongState."""
    for noted in clean.stamps:
        seen = fleet.storage.find(noted.volume)
        if seen is None:
            raise WrongState(f"Clean point of {name!r} is void: layer {noted.volume!r} is gone", hint=_VOID_HINT)
        if (seen.mtime, seen.length.bytes) != (noted.mtime, noted.length):
            raise WrongState(
                f"Clean point of {name!r} is void: layer {noted.volume!r} was written to",
                details=f"noted {noted.mtime} {noted.length}, found {seen.mtime} {seen.length.bytes}",
                hint=_VOID_HINT,
            )


_VOID_HINT = "Save the clone's work, then delete and create it anew."


def new_overlay_name(fleet: Fleet, name: str, record: CloneRecord) -> tuple[str, int]:
    """Choose an overlay name that was never used, and say which number comes next."""
    known = [volume.name for volume in fleet.storage.volumes()]
    number = next_overlay_number(name, known, at_least=record.next_number)
    return overlay_volume(name, number), number + 1


def check_live_chain(fleet: Fleet, name: str, record: CloneRecord, top: str) -> None:
    """Compare the chain that QEMU has open with the expected one. Raises: WrongState (DESIGN D5a).

    libvirt builds a wrong one silently when a document carries a recorded chain. Such a guest is cut off at once: what
    it would write into its top layer fits no other chain.
    """
    expected = _chain_below(fleet, top)
    live = list(fleet.hypervisor.live_chain(name))
    try:
        _check_same(name, expected, live)
        _check_stands_on_its_own(fleet, record, top, expected)
    except WrongState:
        fleet.hypervisor.destroy(name)
        raise


def _check_same(name: str, expected: list[str], live: list[str]) -> None:
    if live != expected:
        raise WrongState(
            f"Clone {name!r} runs on other layers than it should",
            details="expected " + " -> ".join(expected) + "\nfound    " + " -> ".join(live),
            hint="Its power was cut at once; nothing was lost. Start or molt it again.",
        )


def _chain_below(fleet: Fleet, top: str) -> list[str]:
    """The paths from ``top`` down, as the headers of the layers say; libvirt reads them from the files for the pool."""
    backings = {volume.path: volume.backing for volume in fleet.storage.volumes()}
    chain = [fleet.storage.path_of(top)]
    while (below := backings.get(chain[-1])) is not None and below not in chain:
        chain.append(below)
    return chain


def _check_stands_on_its_own(fleet: Fleet, record: CloneRecord, top: str, chain: list[str]) -> None:
    """Make sure that what the headers say is what was recorded. Raises: WrongState.

    A layer right above the clean point has all its frozen layers in order below it; an older one may have others of
    the clone's. A linked clone then stands on its golden, with an older layer perhaps on an older generation of it.
    """
    path_of = fleet.storage.path_of
    frozen = [path_of(noted.volume) for noted in record.clean.stamps] if record.clean else []
    if frozen and chain[1:2] == frozen[:1] and chain[1 : len(frozen) + 1] != frozen:
        raise WrongState(
            f"Layer {top!r} does not stand on all frozen layers of its clean point",
            details="expected " + " -> ".join(frozen) + "\nfound    " + " -> ".join(chain[1:]),
            hint=_VOID_HINT,
        )
    own = {path_of(volume) for volume in record.volumes()}
    bases = {path_of(volume) for volume in (record.golden_volume, *record.bases)}
    alone = {path_of(volume) for volume in record.alone}
    if record.linked and chain[-1] not in alone and next((path for path in chain if path not in own), "") not in bases:
        raise WrongState(f"Layer {top!r} does not stand on the golden's {record.golden_volume!r}", hint=_VOID_HINT)


def delete_layers(fleet: Fleet, name: str, volumes: tuple[str, ...]) -> tuple[str, ...]:
    """Delete volumes of a clone that it no longer needs, each before the one that it stands on.

    One that somebody else stands on, or that cannot be deleted now, stays and is said; returns those.
    """
    left = []
    for volume in top_down(fleet, volumes):
        try:
            fleet.storage.delete(volume, owner=name)
        except MoltfleetError as error:
            fleet.progress.warn(f"{error.brief}: {volume!r} is left alone")
            left.append(volume)
    return tuple(left)


def top_down(fleet: Fleet, volumes: tuple[str, ...]) -> list[str]:
    """Order volumes so that each comes before the one that it stands on."""
    backings = {volume.path: volume.backing for volume in fleet.storage.volumes()}

    def depth(volume: str) -> int:
        step, found = backings.get(fleet.storage.path_of(volume)), 0
        while step is not None and found < len(backings):
            step, found = backings.get(step), found + 1
        return found

    return sorted(volumes, key=depth, reverse=True)


def check_childless(fleet: Fleet, what: str, own: frozenset[str]) -> None:
    """Make sure that only volumes of ``own`` stand on one of ``own``. Raises: InUse."""
    paths = {fleet.storage.path_of(volume) for volume in own}
    for volume in fleet.storage.volumes():
        if volume.backing in paths and volume.name not in own:
            raise InUse(f"Volume {volume.name!r} stands on {what}", hint="Delete what uses it first.")
