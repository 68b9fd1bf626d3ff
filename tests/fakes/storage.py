"""A storage pool in memory: backing chains, what each layer itself holds, times, sizes, a full pool, the guard."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from fakes.clock import FakeClock
from moltfleet.model.errors import AlreadyExists, InUse, InvalidInput, NoSpace, NotFound, ToolFailed
from moltfleet.model.ports import OnBytes
from moltfleet.model.size import Size
from moltfleet.model.volumes import Volume

POOL = "/pool"
_HEADER = 196_608
_BLOCK = 65_536
_QCOW2 = b"QFI\xfb"


@dataclass(slots=True)
class Disk:
    """One file. ``written`` is what a guest wrote into this very layer, by name; ``data`` what was uploaded.

    ``is_known`` is False for a file that libvirt itself made beside the pool (a save image), until a refresh.
    """

    name: str
    format: str
    capacity: int
    backing: str | None = None
    is_private: bool = False
    is_known: bool = True
    mtime: float = 0.0
    written: dict[str, str] = field(default_factory=dict)
    data: bytes = b""

    @property
    def path(self) -> str:
        return f"{POOL}/{self.name}"

    @property
    def length(self) -> int:
        return (_HEADER if self.format == "qcow2" else 0) + _BLOCK * len(self.written) + len(self.data)


class FakeStorage:
    """The Storage port. ``users`` tells who uses a path, for the deletion guard: (path, name, owner) to a phrase."""

    def __init__(self, clock: FakeClock) -> None:
        self.disks: dict[str, Disk] = {}
        self.free = Size.of_gib(100)
        self.size = self.free
        self.has_pool = True
        self.refusals: list[str] = []
        self.users: Callable[[str, str, str | None], str | None] = lambda path, name, owner: None
        self._clock = clock

    # What tests look at and do behind everybody's back

    def at(self, path: str) -> Disk | None:
        """The file at a path, known to the pool or not."""
        return self.disks.get(path.removeprefix(f"{POOL}/")) if path.startswith(f"{POOL}/") else None

    def chain(self, path: str) -> tuple[str, ...]:
        """The chain that the headers tell, top first. Raises: ToolFailed as QEMU does when one is missing."""
        found: list[str] = []
        step: str | None = path
        while step is not None:
            disk = self.at(step)
            if disk is None:
                raise ToolFailed(f"Cannot access storage file '{step}': No such file or directory")
            found.append(step)
            step = disk.backing
        return tuple(found)

    def view(self, chain: Sequence[str]) -> dict[str, str]:
        """What a guest reads through the layers of ``chain``, top first."""
        seen: dict[str, str] = {}
        for path in reversed(chain):
            disk = self.at(path)
            seen.update(disk.written if disk else {})
        return seen

    def content(self, name: str) -> dict[str, str]:
        """What is read through the whole chain of a volume."""
        return self.view(self.chain(self.path_of(name)))

    def write(self, path: str, key: str, text: str) -> None:
        """Write into one layer, as a guest or another hand does."""
        disk = self.at(path)
        if disk is None:
            raise AssertionError(f"{path} is gone under its writer")
        disk.written[key] = text
        disk.mtime = self._clock.now()

    def put(self, disk: Disk) -> Disk:
        """Add a file."""
        disk.mtime = self._clock.now()
        self.disks[disk.name] = disk
        return disk

    def names(self) -> frozenset[str]:
        """Every file in the pool."""
        return frozenset(self.disks)

    # The port

    def volumes(self) -> tuple[Volume, ...]:
        return tuple(_volume(disk) for disk in list(self.disks.values()) if disk.is_known)

    def refresh(self) -> None:
        for disk in list(self.disks.values()):
            disk.is_known = True

    def find(self, name: str) -> Volume | None:
        self.refresh()
        disk = self.disks.get(name)
        return None if disk is None else _volume(disk)

    def get(self, name: str) -> Volume:
        volume = self.find(name)
        if volume is None:
            raise NotFound(f"Volume {name!r} does not exist in pool 'moltfleet'")
        return volume

    def path_of(self, name: str) -> str:
        return f"{POOL}/{name}"

    def create_overlay(self, name: str, *, backing: str, capacity: Size | None = None) -> Volume:
        base = self.get(backing)
        if capacity is not None and capacity < base.capacity:
            raise InvalidInput(f"Disk of {capacity} is smaller than its image of {base.capacity}")
        return self._create(Disk(name, "qcow2", (capacity or base.capacity).bytes, backing=base.path))

    def create_empty(self, name: str, *, capacity: Size, format: str, private: bool = False) -> Volume:
        return self._create(Disk(name, format, capacity.bytes, is_private=private))

    def _create(self, disk: Disk) -> Volume:
        if disk.name in self.disks:
            raise AlreadyExists(f"libvirt failed to create volume {disk.name}: exists already")
        self.require_space(disk.length)
        disk.mtime = self._clock.now()
        # Of two at once one gets the name, as with libvirt.
        if self.disks.setdefault(disk.name, disk) is not disk:
            raise AlreadyExists(f"libvirt failed to create volume {disk.name}: exists already")
        return _volume(disk)

    def require_space(self, length: int) -> None:
        """Refuse what the pool has no room for."""
        if self.free_space().bytes < length:
            raise NoSpace("Storage is full")

    def upload(self, name: str, source: BinaryIO, *, length: int, on_bytes: OnBytes | None = None) -> None:
        disk = self.disks.get(name)
        if disk is None:
            raise NotFound(f"Volume {name!r} does not exist in pool 'moltfleet'")
        self.require_space(length)
        disk.data, disk.mtime = source.read(length), self._clock.now()
        if disk.data.startswith(_QCOW2) and len(disk.data) >= 32:
            disk.format, disk.capacity = "qcow2", struct.unpack(">Q", disk.data[24:32])[0]
        if on_bytes is not None:
            on_bytes(length)

    def read(self, name: str, *, limit: int) -> bytes:
        self.get(name)
        return self.disks[name].data[:limit]

    def copy_flat(
        self, source: str, target: str, *, capacity: Size | None = None, on_bytes: OnBytes | None = None
    ) -> Volume:
        size = max(self.get(source).capacity.bytes, capacity.bytes if capacity else 0)
        made = Disk(target, "qcow2", size, written=self.content(source), data=self.disks[source].data)
        if on_bytes is not None:
            on_bytes(made.length)
        return self._create(made)

    def delete(self, name: str, *, owner: str | None = None) -> bool:
        volume = self.find(name)
        if volume is None:
            return False
        user = self._child_of(volume.path) or self.users(volume.path, name, owner)
        if user is not None:
            self.refusals.append(name)
            raise InUse(f"Volume {name!r} is in use by {user}")
        del self.disks[name]
        return True

    def _child_of(self, path: str) -> str | None:
        children = sorted(disk.name for disk in list(self.disks.values()) if disk.backing == path)
        return f"volume {children[0]!r}" if children else None

    def free_space(self) -> Size:
        return self.free - Size(sum(disk.length for disk in list(self.disks.values())))

    def find_free_space(self) -> Size | None:
        return self.free_space() if self.has_pool else None

    def find_size(self) -> Size | None:
        return self.size if self.has_pool else None

    def fill(self) -> None:
        """Leave no room for even an empty overlay."""
        self.free = Size(sum(disk.length for disk in list(self.disks.values())) + _HEADER - 1)

    def children(self, path: str) -> Iterator[Disk]:
        """Layers that stand on a path."""
        return (disk for disk in list(self.disks.values()) if disk.backing == path)


def _volume(disk: Disk) -> Volume:
    return Volume(
        name=disk.name,
        path=disk.path,
        format=disk.format,
        capacity=Size(disk.capacity),
        allocation=Size(disk.length),
        length=Size(disk.length),
        backing=disk.backing,
        mtime=f"{disk.mtime:.6f}",
    )


def qcow2_image(*, capacity: Size) -> bytes:
    """The first bytes of a qcow2 image, enough for whoever looks at its header."""
    return _QCOW2 + struct.pack(">IQIIQ", 3, 0, 0, 16, capacity.bytes)
