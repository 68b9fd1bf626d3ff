"""Storage pool and volume XML, built and read as trees. Pure; source: formatstorage.html."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

from moltfleet.model.size import Size
from moltfleet.model.volumes import Volume


@dataclass(frozen=True, slots=True)
class NewVolume:
    """A volume to be made; ``backing`` is (path, format)."""

    name: str
    format: str
    capacity: Size | None
    backing: tuple[str, str] | None = None
    private: bool = False


def pool(name: str, path: str) -> str:
    """Define a directory pool whose directory only root lists, but QEMU may enter."""
    root = ET.Element("pool", type="dir")
    ET.SubElement(root, "name").text = name
    target = ET.SubElement(root, "target")
    ET.SubElement(target, "path").text = path
    permissions = ET.SubElement(target, "permissions")
    ET.SubElement(permissions, "mode").text = "0711"
    return ET.tostring(root, encoding="unicode")


def volume(new: NewVolume) -> str:
    """Make the XML for a new volume."""
    root = ET.Element("volume")
    ET.SubElement(root, "name").text = new.name
    if new.capacity is not None:
        ET.SubElement(root, "capacity", unit="bytes").text = str(new.capacity.bytes)
    target = ET.SubElement(root, "target")
    ET.SubElement(target, "format", type=new.format)
    if new.format == "qcow2":
        # libvirt's default, 0.10, cannot give back trimmed space (measured: 123 MiB against 3 MiB).
        ET.SubElement(target, "compat").text = "1.1"
    else:
        ET.SubElement(root, "allocation", unit="bytes").text = "0"
    permissions = ET.SubElement(target, "permissions")
    ET.SubElement(permissions, "mode").text = "0600" if new.private else "0644"
    if new.backing is not None:
        backing = ET.SubElement(root, "backingStore")
        ET.SubElement(backing, "path").text = new.backing[0]
        ET.SubElement(backing, "format", type=new.backing[1])
    return ET.tostring(root, encoding="unicode")


def read(xml: str) -> Volume:
    """Read what libvirt tells about a volume."""
    root = ET.fromstring(xml)
    form = root.find("target/format")
    return Volume(
        name=root.findtext("name", ""),
        path=root.findtext("target/path", ""),
        format="raw" if form is None else form.get("type", "raw"),
        capacity=Size(int(root.findtext("capacity", "0"))),
        allocation=Size(int(root.findtext("allocation", "0"))),
        length=Size(int(root.findtext("physical", "0"))),
        backing=root.findtext("backingStore/path"),
        mtime=root.findtext("target/timestamps/mtime", ""),
    )
