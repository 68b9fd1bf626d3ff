"""What must hold of a fleet whenever no command runs, read from libvirt alone."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

from .conftest import Lab

NAMESPACE = "{urn:moltfleet:metadata:1}"
# Kept on purpose between builds.
REUSABLE = ("image.", "stage.")


@dataclass(frozen=True, slots=True)
class Seen:
    """A domain of ours as virsh tells it."""

    name: str
    role: str
    record: dict[str, Any]
    disks: frozenset[str]


def look(lab: Lab) -> list[Seen]:
    """All domains of ours."""
    found = []
    names = sorted(lab.domains())
    inactives = lab.virsh_each(*(f"dumpxml --inactive {name}" for name in names))
    actives = lab.virsh_each(*(f"dumpxml {name}" for name in names))
    for name, inactive, active in zip(names, map(ET.fromstring, inactives), map(ET.fromstring, actives), strict=True):
        element = next((e for e in inactive.iterfind("metadata/*") if e.tag.startswith(NAMESPACE)), None)
        if element is None:
            continue
        disks = {first_disk(document) for document in (inactive, active)}
        found.append(
            Seen(name, element.tag.removeprefix(NAMESPACE), json.loads(element.text or "{}"), frozenset(disks))
        )
    return found


def first_disk(document: ET.Element) -> str:
    """The volume name of a document's first disk."""
    source = document.find("devices/disk/source")
    return "" if source is None else source.attrib["file"].rsplit("/", 1)[-1]


def backings(lab: Lab) -> dict[str, str]:
    """Each volume and the one that it stands on, if any."""
    volumes = sorted(lab.volumes())
    documents = lab.virsh_each(*(f"vol-dumpxml {volume} moltfleet" for volume in volumes))
    return {
        volume: (ET.fromstring(document).findtext("backingStore/path") or "").rsplit("/", 1)[-1]
        for volume, document in zip(volumes, documents, strict=True)
    }


def volumes_of(record: dict[str, Any]) -> set[str]:
    """Every volume that a record explains: all strings in it that end like a volume's name."""
    names: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, str) and value.endswith((".qcow2", ".iso", ".ram", ".json")):
            names.add(value)
        elif isinstance(value, dict):
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(record)
    return names


def check(lab: Lab) -> None:
    """Fail unless the fleet is sound."""
    domains = look(lab)
    standing_on = backings(lab)
    parents = {backing for backing in standing_on.values() if backing}
    explained: set[str] = set()
    for domain in domains:
        explained |= volumes_of(domain.record)
        assert domain.role in ("clone", "golden"), f"{domain.name} is left over"
        for disk in domain.disks:
            assert disk in standing_on, f"{domain.name} points at {disk}, which is missing"
            assert domain.role == "golden" or disk not in parents, f"{domain.name} would write the frozen {disk}"
        if domain.role == "clone":
            assert domain.record.get("pending") is None, domain.record["pending"]
            assert domain.record["phase"] in ("ready", "defined")
            assert not domain.record.get("trash"), domain.record["trash"]
    unexplained = {v for v in standing_on if not v.startswith(REUSABLE)} - explained
    assert not unexplained, f"nobody explains {sorted(unexplained)}"
    for volume, backing in standing_on.items():
        assert not backing or backing in standing_on, f"{volume} stands on {backing}, which is missing"
