"""Our storage pool through libvirt: overlays, uploads, copies, and the one guard against deleting what is in use."""

from __future__ import annotations

import contextlib
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import libvirt

from moltfleet.adapters.libvirt import domain_xml, metadata, storage_xml
from moltfleet.adapters.libvirt.storage_xml import NewVolume
from moltfleet.model.errors import (
    DeadlinePassed,
    HostUnavailable,
    InUse,
    InvalidInput,
    MoltfleetError,
    NotFound,
    WrongState,
)
from moltfleet.model.records import CloneRecord
from moltfleet.model.size import Size

if TYPE_CHECKING:
    from moltfleet.adapters.libvirt.gate import Gate
    from moltfleet.model.ports import Locks, OnBytes
    from moltfleet.model.volumes import Volume

_T = TypeVar("_T")
# A refresh fails with a generic code 1 as long as anybody builds a volume in the pool: it is tried again.
_REFRESH_FOR_S = 10.0
_LOCK_WAIT_S = 60.0
# A transfer slower than this is a hang.
_SLOWEST_BYTES_PER_S = 1 << 20


class LibvirtStorage:
    """The :class:`~moltfleet.model.ports.Storage` port on a directory pool, which is made on first use.

    ``measure_space`` tells what is free below a path of this machine, None when the pool is not on it: libvirt counts
    what the file system keeps back for root as free, and QEMU is not root.
    """

    def __init__(
        self,
        gate: Gate,
        locks: Locks,
        *,
        pool: str,
        path: str,
        measure_space: Callable[[str], Size | None] | None = None,
    ) -> None:
        self._gate = gate
        self._locks = locks
        self._pool_name = pool
        self._path = path.rstrip("/")
        self._measure_space = measure_space
        self._is_ensured = False

    # Looking

    def volumes(self) -> tuple[Volume, ...]:
        """See the port."""
        self._ensure()
        return self._call("list volumes", lambda p: tuple(_read_all(p)), repeatable=True)

    def refresh(self) -> None:
        """See the port. Never fails for the sake of somebody's running build: the listing is then merely old."""
        self._ensure()
        deadline = time.monotonic() + _REFRESH_FOR_S
        while True:
            try:
                self._call("refresh the pool", lambda p: p.refresh(0))
                return
            except (HostUnavailable, DeadlinePassed):
                raise
            except MoltfleetError:
                if time.monotonic() > deadline:
                    return
                time.sleep(0.05)

    def find(self, name: str) -> Volume | None:
        """See the port."""
        self._ensure()
        found = self._lookup(name)
        if found is None:
            self.refresh()
            found = self._lookup(name)
        return found

    def _lookup(self, name: str) -> Volume | None:
        def look(pool: Any) -> Volume | None:
            try:
                return storage_xml.read(pool.storageVolLookupByName(name).XMLDesc(0))
            except libvirt.libvirtError as error:
                if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL:
                    return None
                raise

        return self._call(f"look up volume {name}", look, repeatable=True)

    def get(self, name: str) -> Volume:
        """See the port."""
        volume = self.find(name)
        if volume is None:
            raise NotFound(f"Volume {name!r} does not exist in pool {self._pool_name!r}")
        return volume

    def path_of(self, name: str) -> str:
        """See the port."""
        self._ensure()
        return f"{self._path}/{name}"

    def find_free_space(self) -> Size | None:
        """See the port."""
        found = self._gate.call("look at the pool's free space", self._look_at_space, repeatable=True)
        if found is None:
            return None
        told, path = found
        measured = self._measure_space(path) if self._measure_space else None
        return told if measured is None else min(told, measured)

    def find_size(self) -> Size | None:
        """See the port."""

        def look(connection: Any) -> Size | None:
            pool = _find_pool(connection, self._pool_name)
            return Size(int(pool.info()[1])) if pool is not None and pool.isActive() else None

        return self._gate.call("look at the pool's size", look, repeatable=True)

    def _look_at_space(self, connection: Any) -> tuple[Size, str] | None:
        pool = _find_pool(connection, self._pool_name)
        if pool is None or not pool.isActive():
            return None
        # What guests have written since the last refresh is not counted; a running build makes that fail.
        with contextlib.suppress(libvirt.libvirtError):
            pool.refresh(0)
        return Size(int(pool.info()[3])), ET.fromstring(pool.XMLDesc(0)).findtext("target/path", self._path)

    # Making

    def create_overlay(self, name: str, *, backing: str, capacity: Size | None = None) -> Volume:
        """See the port."""
        self._ensure()
        with self._locks.hold("pool", verb="create", wait_s=_LOCK_WAIT_S):
            base = self.get(backing)
            if capacity is not None and capacity < base.capacity:
                raise InvalidInput(
                    f"Disk of {capacity} is smaller than its image of {base.capacity}",
                    hint=f"Ask for --disk {base.capacity.mib}M or more.",
                )
            new = NewVolume(name, "qcow2", capacity or base.capacity, backing=(base.path, base.format))
            return self._create(new)

    def create_empty(self, name: str, *, capacity: Size, format: str, private: bool = False) -> Volume:
        """See the port."""
        self._ensure()
        return self._create(NewVolume(name, format, capacity, private=private))

    def _create(self, new: NewVolume) -> Volume:
        xml = storage_xml.volume(new)
        return self._call(f"create volume {new.name}", lambda p: storage_xml.read(p.createXML(xml, 0).XMLDesc(0)))

    def upload(self, name: str, source: BinaryIO, *, length: int, on_bytes: OnBytes | None = None) -> None:
        """See the port."""

        def send(connection: Any) -> None:
            volume = connection.storagePoolLookupByName(self._pool_name).storageVolLookupByName(name)
            stream = connection.newStream(0)
            volume.upload(stream, 0, length, 0)
            _send(stream, source, on_bytes)

        self._gate.call(f"upload to volume {name}", send, timeout_s=_transfer_timeout_s(length))
        self.refresh()

    def read(self, name: str, *, limit: int) -> bytes:
        """See the port."""

        def receive(connection: Any) -> bytes:
            volume = connection.storagePoolLookupByName(self._pool_name).storageVolLookupByName(name)
            stream = connection.newStream(0)
            volume.download(stream, 0, limit, 0)
            return receive_bytes(stream, limit)

        self._ensure()
        return self._gate.call(f"read volume {name}", receive, repeatable=True)

    def copy_flat(
        self, source: str, target: str, *, capacity: Size | None = None, on_bytes: OnBytes | None = None
    ) -> Volume:
        """See the port. libvirt tells no progress and cannot cancel; the growing target is looked at instead."""
        volume = self.get(source)
        xml = storage_xml.volume(NewVolume(target, "qcow2", volume.capacity))

        def copy(pool: Any) -> Volume:
            made = pool.createXMLFrom(xml, pool.storageVolLookupByName(source), 0)
            if capacity is not None and capacity > volume.capacity:
                made.resize(capacity.bytes, 0)
            return storage_xml.read(made.XMLDesc(0))

        done = threading.Event()
        if on_bytes is not None:
            threading.Thread(target=self._watch_growth, args=(target, on_bytes, done), daemon=True).start()
        try:
            return self._call(f"copy volume {source}", copy, timeout_s=_transfer_timeout_s(volume.capacity.bytes))
        finally:
            done.set()

    def _watch_growth(self, name: str, on_bytes: OnBytes, done: threading.Event) -> None:
        while not done.wait(0.3):
            with contextlib.suppress(MoltfleetError):
                growing = self._lookup(name)
                if growing is not None:
                    on_bytes(growing.allocation.bytes)

    # Deleting

    def delete(self, name: str, *, owner: str | None = None) -> bool:
        """See the port."""
        self._ensure()
        with self._locks.hold("pool", verb="delete", wait_s=_LOCK_WAIT_S):
            volume = self.find(name)
            if volume is None:
                return False
            user = self._find_user(volume, owner)
            if user is not None:
                raise InUse(f"Volume {name!r} is in use by {user}")
            self._call(f"delete volume {name}", lambda p: p.storageVolLookupByName(name).delete(0))
            return True

    def _find_user(self, volume: Volume, owner: str | None) -> str | None:
        """Say who stands on the volume: another volume, a domain's disk (active, inactive), another's record."""
        children = [v.name for v in self.volumes() if v.backing == volume.path]
        if children:
            return f"volume {children[0]!r}"
        return self._gate.call(
            f"look for users of volume {volume.name}",
            lambda c: _domain_using(c.listAllDomains(0), volume, owner),
            repeatable=True,
        )

    # The pool itself

    def _ensure(self) -> None:
        if self._is_ensured:
            return
        self._path = self._gate.call("look up the pool", self._find_or_start, repeatable=True) or self._define_pool()
        self._is_ensured = True

    def _find_or_start(self, connection: Any) -> str | None:
        pool = _find_pool(connection, self._pool_name)
        if pool is None:
            return None
        if not pool.isActive():
            pool.create(libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)
        return ET.fromstring(pool.XMLDesc(0)).findtext("target/path", self._path)

    def _define_pool(self) -> str:
        with self._locks.hold("pool", verb="define", wait_s=_LOCK_WAIT_S):
            known = self._gate.call("look up the pool", self._find_or_start)
            if known:
                return known
            xml = storage_xml.pool(self._pool_name, self._path)

            def define(connection: Any) -> None:
                pool = connection.storagePoolDefineXML(xml, 0)
                pool.setAutostart(1)
                pool.create(libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)

            self._gate.call(f"define pool {self._pool_name}", define)
            return self._path

    def _call(
        self, what: str, function: Callable[[Any], _T], *, timeout_s: float | None = None, repeatable: bool = False
    ) -> _T:
        return self._gate.call(
            what,
            lambda c: function(c.storagePoolLookupByName(self._pool_name)),
            timeout_s=timeout_s,
            repeatable=repeatable,
        )


def _find_pool(connection: Any, name: str) -> Any | None:
    try:
        return connection.storagePoolLookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_POOL:
            return None
        raise


def _read_all(pool: Any) -> list[Volume]:
    volumes = []
    for volume in pool.listAllVolumes(0):
        try:
            volumes.append(storage_xml.read(volume.XMLDesc(0)))
        except libvirt.libvirtError as error:  # deleted since the listing
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise
    return volumes


def _domain_using(domains: list[Any], volume: Volume, owner: str | None) -> str | None:
    for domain in domains:
        try:
            name = domain.name()
            documents = [ET.fromstring(domain.XMLDesc(0))] if domain.isActive() else []
            inactive = ET.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)) if domain.isPersistent() else None
        except libvirt.libvirtError:  # undefined since the listing
            continue
        if inactive is not None and name != owner:
            documents.append(inactive)
            if _is_recorded(inactive, volume):
                return f"domain {name!r}"
        if any(volume.path in domain_xml.disk_paths(document) for document in documents):
            return f"domain {name!r}"
    return None


def _is_recorded(domain: ET.Element, volume: Volume) -> bool:
    """Whether a domain's record names the volume; one that cannot be read may mean any volume that stands in it."""
    try:
        record = metadata.from_domain(domain)
    except WrongState:
        return volume.name in metadata.text_of(domain)
    if record is None:
        return False
    return volume.name in record.volumes() or (isinstance(record, CloneRecord) and record.golden_volume == volume.name)


def _send(stream: Any, source: BinaryIO, on_bytes: OnBytes | None) -> None:
    moved = 0

    def read(_stream: Any, size: int, _opaque: Any) -> bytes:
        nonlocal moved
        chunk = source.read(size)
        moved += len(chunk)
        if on_bytes is not None:
            on_bytes(moved)
        return chunk

    try:
        stream.sendAll(read, None)
    except libvirt.libvirtError:
        _abort(stream)
        raise
    stream.finish()


def receive_bytes(stream: Any, limit: int) -> bytes:
    """What a download sends, up to ``limit`` bytes; a broken stream is put away."""
    content = bytearray()

    def write(_stream: Any, chunk: bytes, _opaque: Any) -> int:
        content.extend(chunk)
        return len(chunk)

    try:
        stream.recvAll(write, None)
    except libvirt.libvirtError:
        _abort(stream)
        raise
    stream.finish()
    return bytes(content[:limit])


def _abort(stream: Any) -> None:
    try:
        stream.abort()
    except libvirt.libvirtError:
        # The stream is already broken; the first error is the one to tell.
        return


def _transfer_timeout_s(length: int) -> float:
    return 120.0 + length / _SLOWEST_BYTES_PER_S
