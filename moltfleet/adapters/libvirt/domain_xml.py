"""Domain XML: built from a specification and edited as a tree, never by pattern. Pure; source: formatdomain.html."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from moltfleet.adapters.libvirt import metadata
from moltfleet.model.domain import DomainSpec, VirtType

if TYPE_CHECKING:
    from moltfleet.model.records import Attachment

QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
ET.register_namespace(metadata.PREFIX, metadata.NAMESPACE)
ET.register_namespace("qemu", QEMU_NAMESPACE)
# Bounds an emulator's translation cache (docs/adr/0007). Two Debian guests that booted side by side on two processors
# were ready after 187 s with 64 MiB, 89 s with 128, 74 s with 256; what is restored has its boot behind it.
_BOOT_CACHE_MIB = 256
_RESTORED_CACHE_MIB = 64
# Where a device on "user" networking sits; above the slots that libvirt gives out on q35's root complex.
_USER_NET_SLOT = "0x10"


def build(spec: DomainSpec, *, disk_path: str, seed_path: str | None) -> str:
    """Make the XML that a domain of ours is defined from."""
    domain = ET.Element("domain", type=str(spec.virt_type))
    _text(domain, "name", spec.name)
    _text(domain, "uuid", spec.uuid)
    _text(domain, "title", spec.title)
    _text(domain, "description", spec.description)
    metadata.put_into(domain, spec.record)
    _text(domain, "memory", str(spec.memory.kib), unit="KiB")
    _text(domain, "vcpu", str(spec.vcpus))
    _text(domain, "iothreads", "1")
    _add_machine(domain, spec)
    devices = ET.SubElement(domain, "devices")
    _add_disk(devices, disk_path, readonly=spec.is_disk_readonly)
    if seed_path is not None:
        _add_seed(devices, seed_path)
    _add_network(domain, devices, spec.attachment)
    _add_small_devices(devices, spec)
    return ET.tostring(domain, encoding="unicode")


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _add_machine(domain: ET.Element, spec: DomainSpec) -> None:
    is_emulated = spec.virt_type is VirtType.QEMU
    system = ET.SubElement(domain, "os", {} if spec.firmware is None else {"firmware": spec.firmware})
    _text(system, "type", "hvm", arch="x86_64", machine="q35")
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    if is_emulated:
        cache = ET.SubElement(features, "tcg")
        _text(cache, "tb-cache", str(_BOOT_CACHE_MIB), unit="MiB")
    ET.SubElement(domain, "genid")
    ET.SubElement(domain, "cpu", mode="maximum" if is_emulated else "host-passthrough")
    ET.SubElement(domain, "clock", offset="utc")
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "restart")
    _text(domain, "on_crash", "destroy")


def _add_disk(devices: ET.Element, path: str, *, readonly: bool) -> None:
    disk = ET.SubElement(devices, "disk", type="file", device="disk")
    ET.SubElement(disk, "driver", name="qemu", type="qcow2", discard="unmap", iothread="1")
    ET.SubElement(disk, "source", file=path)
    ET.SubElement(disk, "target", dev="vda", bus="virtio")
    if readonly:
        ET.SubElement(disk, "readonly")


def _add_seed(devices: ET.Element, path: str) -> None:
    # A virtio disk, as Debian's cloud kernel has no AHCI driver and would never see a CD-ROM.
    disk = ET.SubElement(devices, "disk", type="file", device="disk")
    ET.SubElement(disk, "driver", name="qemu", type="raw")
    ET.SubElement(disk, "source", file=path)
    ET.SubElement(disk, "target", dev="vdb", bus="virtio")
    ET.SubElement(disk, "readonly")


def _add_network(domain: ET.Element, devices: ET.Element, attachment: Attachment) -> None:
    if attachment.kind == "user":
        _add_user_network(domain, attachment)
        return
    if attachment.kind == "none":
        return
    interface = ET.SubElement(devices, "interface", type="network")
    ET.SubElement(interface, "mac", address=attachment.mac)
    ET.SubElement(interface, "source", network=attachment.name)
    ET.SubElement(interface, "model", type="virtio")
    if attachment.kind == "moltfleet":
        ET.SubElement(interface, "port", isolated="yes")


def _add_user_network(domain: ET.Element, attachment: Attachment) -> None:
    # libvirt 9.0 cannot forward a port with its own elements (passt came later), QEMU's slirp can.
    commandline = ET.SubElement(domain, f"{{{QEMU_NAMESPACE}}}commandline")
    arguments = (
        "-netdev",
        f"user,id=moltfleet,hostfwd=tcp:127.0.0.1:{attachment.ssh_port}-:22",
        "-device",
        f"virtio-net-pci,netdev=moltfleet,mac={attachment.mac},addr={_USER_NET_SLOT}",
    )
    for argument in arguments:
        ET.SubElement(commandline, f"{{{QEMU_NAMESPACE}}}arg", value=argument)


def _add_small_devices(devices: ET.Element, spec: DomainSpec) -> None:
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "target", port="0")
    channel = ET.SubElement(devices, "channel", type="unix")
    ET.SubElement(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    # freePageReporting gives freed guest memory back: QEMU's RSS 834 -> 398 MiB after a free (measured on 7.2).
    balloon = ET.SubElement(devices, "memballoon", model="virtio", freePageReporting="on")
    ET.SubElement(balloon, "stats", period="5")
    rng = ET.SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")
    ET.SubElement(devices, "panic", model="isa")
    if spec.desktop:
        _add_desktop(devices)


def _add_desktop(devices: ET.Element) -> None:
    graphics = ET.SubElement(devices, "graphics", type="spice")
    ET.SubElement(graphics, "listen", type="socket")
    ET.SubElement(graphics, "clipboard", copypaste="no")
    ET.SubElement(graphics, "filetransfer", enable="no")
    video = ET.SubElement(devices, "video")
    ET.SubElement(video, "model", type="virtio")
    ET.SubElement(devices, "input", type="tablet", bus="virtio")
    agent = ET.SubElement(devices, "channel", type="spicevmc")
    ET.SubElement(agent, "target", type="virtio", name="com.redhat.spice.0")


def first_disk(domain: ET.Element) -> ET.Element | None:
    """The first ``<disk device='disk'>``: in our domains the one that the guest's system is on."""
    return next((d for d in domain.iterfind("devices/disk") if d.get("device", "disk") == "disk"), None)


def first_disk_path(domain: ET.Element) -> str | None:
    """The source path of the first disk."""
    disk = first_disk(domain)
    source = None if disk is None else disk.find("source")
    return None if source is None else source.get("file")


def chain(domain: ET.Element) -> tuple[str, ...]:
    """Paths of the first disk's backing chain in a live document, active image first."""
    paths: list[str] = []
    layer = first_disk(domain)
    while layer is not None:
        source = layer.find("source")
        if source is None or source.get("file") is None:
            break
        paths.append(source.attrib["file"])
        layer = layer.find("backingStore")
    return tuple(paths)


def disk_paths(domain: ET.Element) -> frozenset[str]:
    """Every file that a document names on any disk, at any depth of a chain."""
    return frozenset(s.attrib["file"] for s in domain.iterfind("devices/disk//source") if s.get("file"))


def disk_snapshot(domain: ET.Element, overlay_path: str) -> str:
    """The XML of a snapshot of the first disk alone, whose new layer is at ``overlay_path``.

    Every other disk is named, as libvirt snapshots those that are not.
    """
    snapshot = ET.Element("domainsnapshot")
    disks = ET.SubElement(snapshot, "disks")
    first = first_disk(domain)
    for disk in domain.iterfind("devices/disk"):
        target = disk.find("target")
        name = "" if target is None else target.get("dev", "")
        if disk is not first:
            ET.SubElement(disks, "disk", name=name, snapshot="no")
            continue
        frozen = ET.SubElement(disks, "disk", name=name, snapshot="external", type="file")
        ET.SubElement(frozen, "driver", type="qcow2")
        ET.SubElement(frozen, "source", file=overlay_path)
    return ET.tostring(snapshot, encoding="unicode")


def put_disk(domain: ET.Element, path: str) -> None:
    """Point the first disk at ``path`` alone.

    Every ``<backingStore>`` goes and ``<source>`` is rebuilt: libvirt would otherwise trust the recorded chain over
    the qcow2 header and silently skip a layer (measured on 9.0 after a libvirtd restart).
    """
    disk = first_disk(domain)
    if disk is None:
        raise ValueError("document has no disk")
    for element in [*disk.iterfind("backingStore"), *disk.iterfind("source"), *disk.iterfind("mirror")]:
        disk.remove(element)
    driver = disk.find("driver")
    position = 0 if driver is None else list(disk).index(driver) + 1
    disk.insert(position, ET.Element("source", file=path))


def shrink_translation_cache(domain: ET.Element) -> None:
    """Give an emulator that goes on from a restore the small cache, unless somebody gave it one of their own size."""
    cache = domain.find("features/tcg/tb-cache")
    if cache is not None and _size_kib(cache) == _BOOT_CACHE_MIB * 1024:
        cache.set("unit", "MiB")
        cache.text = str(_RESTORED_CACHE_MIB)


def _size_kib(element: ET.Element) -> int | None:
    scale = {"KiB": 1, "MiB": 1024}.get(element.get("unit", "KiB"))
    text = (element.text or "").strip()
    return int(text) * scale if scale and text.isdigit() else None


def strip_backing(domain: ET.Element) -> None:
    """Drop every recorded backing chain, keeping the disks as they are."""
    for disk in domain.iterfind("devices/disk"):
        for element in disk.findall("backingStore"):
            disk.remove(element)
        source = disk.find("source")
        if source is not None:
            source.attrib.pop("index", None)


def definition_digest(domain: ET.Element) -> str:
    """Digest of what a person may have edited: all but metadata, titles, disk paths and the generation id."""
    for tag in ("metadata", "title", "description", "genid"):
        for element in domain.findall(tag):
            domain.remove(element)
    for disk in domain.iterfind("devices/disk"):
        for element in [*disk.findall("source"), *disk.findall("backingStore")]:
            disk.remove(element)
    text = ET.canonicalize(ET.tostring(domain, encoding="unicode"), strip_text=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
