"""Records in a domain's ``<metadata>``: one element per domain, named for its role, holding validated JSON."""

from __future__ import annotations

import functools
import json
import xml.etree.ElementTree as ET
from typing import Any

from pydantic import TypeAdapter, ValidationError

from moltfleet.model.errors import WrongState
from moltfleet.model.records import VERSION, BuildRecord, CloneRecord, GoldenRecord, Record

NAMESPACE = "urn:moltfleet:metadata:1"
PREFIX = "moltfleet"
# Beyond it each call gets slow (1 MB = 58 ms, measured on libvirt 9.0).
_LARGEST = 16 * 1024
_ROLES: dict[str, type[Record]] = {"clone": CloneRecord, "golden": GoldenRecord, "build": BuildRecord}


@functools.cache
def _adapter(role: str) -> TypeAdapter[Any]:
    return TypeAdapter(_ROLES[role])


def role_of(record: Record) -> str:
    """The element's name for a record."""
    return next(role for role, kind in _ROLES.items() if isinstance(record, kind))


def to_element(record: Record, *, namespaced: bool) -> ET.Element:
    """Make the element: without namespace for ``setMetadata`` (libvirt adds it), with one for whole documents."""
    role = role_of(record)
    element = ET.Element(f"{{{NAMESPACE}}}{role}" if namespaced else role)
    text = _adapter(role).dump_json(record, exclude_none=True).decode()
    if len(text) > _LARGEST:
        raise WrongState(
            f"Record of a {role} is larger than {_LARGEST} bytes", hint="Delete kept layers or old generations."
        )
    element.text = text
    return element


def to_text(record: Record) -> str:
    """The element as text for ``setMetadata``."""
    return ET.tostring(to_element(record, namespaced=False), encoding="unicode")


def from_domain(domain: ET.Element) -> Record | None:
    """Read the record out of a whole domain document; None when the domain is not ours.

    Raises: WrongState when it is ours and cannot be read (a newer version, or edited by hand).
    """
    for element in _ours(domain):
        local = element.tag.rpartition("}")[2]
        if local in _ROLES:
            return _parse(local, element.text or "", domain.findtext("name", ""))
    return None


def text_of(domain: ET.Element) -> str:
    """All that stands in our namespace, as it is: for what must be known of a record that cannot be read."""
    return "".join("".join(element.itertext()) for element in _ours(domain))


def _ours(domain: ET.Element) -> list[ET.Element]:
    return [element for element in domain.iterfind("metadata/*") if element.tag.startswith("{" + NAMESPACE + "}")]


def role_in(domain: ET.Element) -> str | None:
    """The role that a whole domain document tells, also when its record cannot be read; None when it is not ours."""
    roles = (element.tag.rpartition("}")[2] for element in _ours(domain))
    return next((role for role in roles if role in _ROLES), None)


def _parse(role: str, text: str, name: str) -> Record:
    if _version(text) > VERSION:
        # Fields that are not known here would be dropped when it is written back.
        raise WrongState(
            f"Metadata of domain {name!r} was written by a newer moltfleet", hint="Update moltfleet on this machine."
        )
    try:
        return _adapter(role).validate_json(text)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise WrongState(
            f"Metadata of domain {name!r} cannot be read",
            details=str(error),
            hint="A newer moltfleet wrote it, or it was edited by hand.",
        ) from error


def _version(text: str) -> int:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return 0
    version = document.get("version") if isinstance(document, dict) else None
    return version if isinstance(version, int) else 0


def put_into(domain: ET.Element, record: Record) -> None:
    """Replace our element in a whole domain document, other people's metadata untouched."""
    remove_from(domain)
    metadata = domain.find("metadata")
    if metadata is None:
        metadata = ET.SubElement(domain, "metadata")
    metadata.append(to_element(record, namespaced=True))


def remove_from(domain: ET.Element) -> None:
    """Take our elements out of a whole domain document, other people's metadata untouched."""
    for metadata in domain.findall("metadata"):
        for element in _ours(domain):
            metadata.remove(element)
