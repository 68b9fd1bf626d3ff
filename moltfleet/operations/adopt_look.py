"""Look at domains that somebody else made: which are a golden and its clones, and what keeps one from being adopted.

What a layer's head names is followed only where a domain is looked for; a layer is adopted only if its head names
nothing, or the very volume that it is to stand on.
"""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.domain import DomainState
from moltfleet.model.errors import HostUnavailable, InvalidInput, ToolFailed, WrongState
from moltfleet.model.layerhead import resolve_backing
from moltfleet.model.names import LONGEST_ADOPTED_NAME, check_name, printable

if TYPE_CHECKING:
    from moltfleet.model.layerhead import LayerHead
    from moltfleet.model.takeover import Foreign, Takeover
    from moltfleet.operations.fleet import Fleet

CLONE_PREFIX = "moltdown-clone-"
DEV_READY = "dev-ready"
# More layers than anybody has by hand; a chain that names itself ends there, too.
_DEEPEST = 32


class Refusal(WrongState):
    """Why a domain cannot be adopted; ``commands`` make that possible, to be run by a person in their order."""

    code = "not-adoptable"

    def __init__(self, brief: str, *, hint: str, commands: tuple[str, ...] = ()) -> None:
        super().__init__(brief, hint=hint)
        self.commands = commands


@dataclass(frozen=True, slots=True)
class Place:
    """Where our pool is, or would be made."""

    directory: str
    exists: bool

    def path_of(self, volume: str) -> str:
        """The path that a volume of this name has or would have."""
        return f"{self.directory}/{volume}"


def find_place(fleet: Fleet) -> Place:
    """Where our pool is; none is made."""
    if fleet.storage.find_size() is None:
        return Place(str(fleet.config.pool_path).rstrip("/"), exists=False)
    return Place(fleet.storage.path_of("-").removesuffix("/-"), exists=True)


def check_domain(foreign: Foreign, *, is_golden: bool) -> None:
    """Make sure that a definition is one that our operations can work on. Raises: Refusal."""
    name = foreign.name
    _check_name(name)
    if not foreign.is_persistent:
        raise Refusal(
            f"Domain {name!r} is transient", hint="It is gone when it stops: define it first, with virsh define."
        )
    if foreign.state not in (DomainState.SHUT_OFF, DomainState.CRASHED):
        raise Refusal(
            f"Domain {name!r} is {foreign.state}",
            hint=f"Shut it down: virsh shutdown {name}. Nothing is adopted alive.",
        )
    if foreign.has_managed_save:
        raise Refusal(
            f"Domain {name!r} has a managed save image, whose RAM would be lost",
            hint=f"Let it go on and shut down: virsh start {name}; virsh shutdown {name}.",
        )
    if foreign.snapshots and not is_golden:
        first = printable(foreign.snapshots[0], limit=60)
        raise Refusal(
            f"Clone {name!r} has {len(foreign.snapshots)} snapshot(s) of its own, the first {first!r}",
            hint=f"A molt would break them. Go to the one that counts, drop all: virsh snapshot-delete {name} NAME",
        )
    _check_disks(foreign)
    if foreign.card is None and not is_golden:
        raise Refusal(
            f"Clone {name!r} has no network card", hint=f"Give it one: virsh attach-interface {name} --config."
        )


def _check_name(name: str) -> None:
    try:
        check_name(name, what="domain", longest=LONGEST_ADOPTED_NAME)
    except InvalidInput as error:
        raise Refusal(error.brief, hint=f"Rename it: virsh domrename {shlex.quote(printable(name))} NAME.") from error


def _check_disks(foreign: Foreign) -> None:
    name = foreign.name
    if len(foreign.disks) != 1:
        raise Refusal(
            f"Domain {name!r} has {len(foreign.disks)} hard disks, and only one can be molted",
            hint=f"Take the others away first: virsh detach-disk {name} TARGET --config.",
        )
    disk = foreign.disks[0]
    if disk.path is None:
        raise Refusal(
            f"Disk of {name!r} is no file",
            hint="Only image files can be linked: block devices and network disks cannot.",
        )
    if disk.format != "qcow2":
        raise Refusal(
            f"Disk of {name!r} is {printable(disk.format)}, not qcow2",
            hint="What a guest writes into a raw disk can pose as another format: qemu-img convert -O qcow2.",
        )
    if disk.bus != "virtio":
        raise Refusal(
            f"Disk of {name!r} is on bus {printable(disk.bus)!r}, not virtio",
            hint=f"Change it where the guest allows that: virsh edit {name}.",
        )


def check_place(takeover: Takeover, place: Place, name: str, path: str) -> str:
    """The volume of our pool that a disk's file is; it may lie elsewhere, too, under a hard link.

    Raises: Refusal, with the command that puts it there without a copy.
    """
    volume = posixpath.basename(path)
    target = place.path_of(volume)
    if path == target or takeover.is_same_file(path, target):
        return volume
    is_near = takeover.is_on_file_system_of(path, place.directory)
    if is_near is None:
        raise Refusal(
            f"Disk of {name!r} is neither in the pool nor to be seen from here: {printable(path)}",
            hint="Is it missing, or in a directory that nobody else may enter? Of another host's: run this there.",
        )
    if not is_near:
        raise Refusal(
            f"Disk of {name!r} is on another file system than the pool: {printable(path)}",
            hint="A pool there needs no copy: set 'pool' (a new name) and 'pool_path' (there) in moltfleet.toml.",
        )
    raise Refusal(
        f"Disk of {name!r} is not in the pool: {printable(path)}",
        hint="A hard link puts it there without a copy, and the file stays where it is.",
        commands=(*make_directory(place), f"sudo ln {shlex.quote(path)} {shlex.quote(target)}"),
    )


def make_directory(place: Place) -> tuple[str, ...]:
    """What makes the pool's directory, as the pool would."""
    return () if place.exists else (f"sudo install -d -m 0711 {shlex.quote(place.directory)}",)


def read_head(takeover: Takeover, name: str, path: str, *, old: str = "") -> LayerHead:
    """The head of a layer that is to be adopted. Raises: Refusal for one that cannot be trusted.

    ``old`` is another path of the same file: before there is a pool of ours, libvirt knows the file only there.
    """
    try:
        head = takeover.head(path)
        if head is None and takeover.is_same_file(path, old):
            head = takeover.head(old)
    except HostUnavailable:
        raise
    except ToolFailed as error:
        raise Refusal(
            f"Disk of {name!r} cannot be read through libvirt: {printable(path)}", hint=f"{error.brief}."
        ) from error
    except InvalidInput as error:
        raise Refusal(
            f"Disk of {name!r} {error.brief}: {printable(path)}", hint="Look at it: qemu-img info, qemu-img check."
        ) from error
    if head is None:
        raise Refusal(
            f"Disk of {name!r} is missing: {printable(path)}",
            hint="No active pool of libvirt has such a file. Bring it back, or start the pool of its directory.",
        )
    if head.flaw:
        raise Refusal(
            f"Disk of {name!r} {head.flaw}: {printable(path)}",
            hint="Make a plain one of it: qemu-img convert -O qcow2.",
        )
    return head


def backing_path(name: str, path: str, head: LayerHead) -> str | None:
    """The path that a layer stands on, None for none. Raises: Refusal for anything but a qcow2 file, said to be one."""
    if head.backing is None:
        return None
    below = resolve_backing(path, head.backing)
    if below is None:
        raise Refusal(
            f"Disk of {name!r} names {printable(head.backing, limit=120)!r} as its backing file: no plain path",
            hint="Nobody opens that for you. Look at it: qemu-img info.",
        )
    if head.backing_format != "qcow2":
        found = "no format" if head.backing_format is None else f"format {printable(head.backing_format, limit=20)!r}"
        raise Refusal(
            f"Disk of {name!r} records {found} for its backing file",
            hint="libvirt takes it for raw. When it is qcow2, say so; nothing is copied.",
            commands=(f"sudo qemu-img rebase -u -F qcow2 -b {shlex.quote(below)} {shlex.quote(path)}",),
        )
    return below


def chain(takeover: Takeover, path: str) -> tuple[str, ...]:
    """Paths from a layer down as far as heads can be read; for finding who stands on whom, and nothing else."""
    found = [path]
    while len(found) < _DEEPEST:
        try:
            head = takeover.head(found[-1])
        except (InvalidInput, ToolFailed):
            # Whose disk cannot be read is no reason to refuse others.
            break
        below = resolve_backing(found[-1], head.backing) if head and head.backing else None
        if below is None or below in found:
            break
        found.append(below)
    return tuple(found)
