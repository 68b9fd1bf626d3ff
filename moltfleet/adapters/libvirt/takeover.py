"""Other people's domains and disk images through libvirt: looked at, and made ours, or theirs again, by one definition.

A definition changes hands as a whole: whatever interrupts that, the domain is entirely the one thing or the other.
"""

from __future__ import annotations

import posixpath
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libvirt

from moltfleet.adapters.libvirt import domain_xml, metadata
from moltfleet.adapters.libvirt.states import STATES
from moltfleet.adapters.libvirt.storage import receive_bytes
from moltfleet.model.domain import DomainState
from moltfleet.model.errors import WrongState
from moltfleet.model.layerhead import HEAD_BYTES, LayerHead, parse_head
from moltfleet.model.takeover import Foreign, ForeignCard, ForeignDisk

if TYPE_CHECKING:
    from moltfleet.adapters.libvirt.gate import Gate
    from moltfleet.model.records import CloneRecord, GoldenRecord, Origin

_INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
_AGENT = "org.qemu.guest_agent.0"
# What virt-install writes into each domain stays as it wrote it.
ET.register_namespace("libosinfo", "http://libosinfo.org/xmlns/libvirt/domain/1.0")


class LibvirtTakeover:
    """The :class:`~moltfleet.model.takeover.Takeover` port. ``is_local`` lets it look at paths of this machine."""

    def __init__(self, gate: Gate, *, is_local: bool) -> None:
        self._gate = gate
        self._is_local = is_local

    # Looking

    def look(self, name: str) -> Foreign:
        """See the port."""
        return self._gate.call(f"describe {name}", lambda c: _describe(c.lookupByName(name)), repeatable=True)

    def head(self, path: str) -> LayerHead | None:
        """See the port."""
        start = self._gate.call(f"read the head of {path}", lambda c: _read_head(c, path), repeatable=True)
        return None if start is None else parse_head(start)

    def is_same_file(self, one: str, other: str) -> bool:
        """See the port."""
        try:
            return self._is_local and Path(one).samefile(other)
        except OSError:
            return False

    def is_on_file_system_of(self, path: str, directory: str) -> bool | None:
        """See the port. A directory that is not there yet would be made in the one above it."""
        if not self._is_local:
            return None
        try:
            made = Path(directory)
            existing = next(parent for parent in (made, *made.parents) if parent.is_dir())
            return Path(path).stat().st_dev == existing.stat().st_dev
        except OSError:
            return None

    # Changing hands

    def take(self, name: str, record: CloneRecord | GoldenRecord, *, disk: str) -> None:
        """See the port."""
        if record.adopted is None:
            raise ValueError("no origin to go back to")
        origin = record.adopted

        def edit(document: ET.Element) -> None:
            if metadata.role_in(document) is not None:
                raise WrongState(f"Domain {name!r} is moltfleet's already")
            _point(document, disk)
            if origin.readonly:
                ET.SubElement(_disk(document), "readonly")
            if origin.channel:
                _add_channel(document)
            metadata.put_into(document, record)

        self._redefine(name, "adopt", edit)

    def give_back(self, name: str, origin: Origin, *, disk: str) -> None:
        """See the port."""

        def edit(document: ET.Element) -> None:
            metadata.remove_from(document)
            _drop_empty(document, "metadata")
            _point(document, disk)
            if origin.readonly:
                _drop(_disk(document), "readonly")
            if origin.channel:
                _drop_channel(document)

        self._redefine(name, "give back", edit)

    def _redefine(self, name: str, verb: str, edit: Any) -> None:
        def act(connection: Any) -> None:
            domain = connection.lookupByName(name)
            if domain.isActive():
                raise WrongState(f"Domain {name!r} was started meanwhile", hint="Shut it down, and try again.")
            document = ET.fromstring(domain.XMLDesc(_INACTIVE))
            edit(document)
            connection.defineXML(ET.tostring(document, encoding="unicode"))

        self._gate.call(f"{verb} {name}", act)


def _describe(domain: Any) -> Foreign:
    document = ET.fromstring(domain.XMLDesc(_INACTIVE if domain.isPersistent() else 0))
    system = document.find("os")
    is_uefi = system is not None and (
        system.get("firmware") == "efi" or system.find("loader[@type='pflash']") is not None
    )
    return Foreign(
        name=domain.name(),
        uuid=domain.UUIDString(),
        state=STATES.get(domain.state(0)[0], DomainState.UNKNOWN),
        memory=int(document.findtext("memory", "0")) * 1024,
        vcpus=int(document.findtext("vcpu", "1")),
        disks=tuple(_read_disk(d) for d in document.iterfind("devices/disk") if d.get("device", "disk") == "disk"),
        card=_read_card(document),
        snapshots=tuple(domain.snapshotListNames(0)),
        is_persistent=bool(domain.isPersistent()),
        has_managed_save=bool(domain.hasManagedSaveImage(0)),
        has_agent=_find_channel(document) is not None,
        has_graphics=document.find("devices/graphics") is not None,
        is_uefi=is_uefi,
        has_tpm=document.find("devices/tpm") is not None,
    )


def _read_disk(disk: ET.Element) -> ForeignDisk:
    driver, source, target = disk.find("driver"), disk.find("source"), disk.find("target")
    return ForeignDisk(
        target="" if target is None else target.get("dev", ""),
        bus="" if target is None else target.get("bus", ""),
        format="raw" if driver is None else driver.get("type", "raw"),
        path=None if source is None else source.get("file"),
        is_readonly=disk.find("readonly") is not None,
    )


def _read_card(document: ET.Element) -> ForeignCard | None:
    card = document.find("devices/interface")
    mac, source = (None, None) if card is None else (card.find("mac"), card.find("source"))
    if mac is None:
        return None
    network = "" if source is None else source.get("network") or source.get("bridge") or ""
    return ForeignCard(mac.get("address", ""), network)


def _read_head(connection: Any, path: str) -> bytes | None:
    volume = _find_volume(connection, path)
    if volume is None:
        return None
    stream = connection.newStream(0)
    volume.download(stream, 0, HEAD_BYTES, 0)
    return receive_bytes(stream, HEAD_BYTES)


def _find_volume(connection: Any, path: str) -> Any | None:
    """The volume of whatever active pool has that path; a pool of its directory is looked at again first."""
    for again in (False, True):
        if again:
            _refresh(connection, posixpath.dirname(path))
        try:
            return connection.storageVolLookupByPath(path)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise
    return None


def _refresh(connection: Any, directory: str) -> None:
    for pool in connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
        try:
            if ET.fromstring(pool.XMLDesc(0)).findtext("target/path", "").rstrip("/") == directory:
                pool.refresh(0)
        except libvirt.libvirtError:
            # A build in it is running, or it was stopped since: what is known of it has to do.
            continue


def _disk(document: ET.Element) -> ET.Element:
    disk = domain_xml.first_disk(document)
    if disk is None:
        raise WrongState("Domain has no disk any more")
    return disk


def _point(document: ET.Element, path: str) -> None:
    """Put the first disk at ``path``; where it is there already, its source stays as somebody wrote it."""
    domain_xml.strip_backing(document)
    if domain_xml.first_disk_path(document) != path:
        domain_xml.put_disk(document, path)


def _find_channel(document: ET.Element) -> ET.Element | None:
    return next(
        (c for c in document.iterfind("devices/channel") if c.find(f"target[@name='{_AGENT}']") is not None), None
    )


def _add_channel(document: ET.Element) -> None:
    devices = document.find("devices")
    if devices is not None and _find_channel(document) is None:
        channel = ET.SubElement(devices, "channel", type="unix")
        ET.SubElement(channel, "target", type="virtio", name=_AGENT)


def _drop_channel(document: ET.Element) -> None:
    devices, channel = document.find("devices"), _find_channel(document)
    if devices is not None and channel is not None:
        devices.remove(channel)


def _drop_empty(parent: ET.Element, tag: str) -> None:
    for element in parent.findall(tag):
        if not len(element):
            parent.remove(element)


def _drop(parent: ET.Element, tag: str) -> None:
    for element in parent.findall(tag):
        parent.remove(element)
