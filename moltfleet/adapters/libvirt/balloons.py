"""Memory balloons of running domains, ours and foreign ones."""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

import libvirt

from moltfleet.adapters.libvirt.gate import Gate


def free_page_reporting(uri: str) -> Mapping[str, bool]:
    """For each running domain, by name: whether its balloon reports free pages. Raises: as the gate."""
    gate = Gate(uri)
    try:
        return gate.call("read balloons", _read)
    finally:
        gate.close()


def _read(connection: Any) -> dict[str, bool]:
    reporting = {}
    for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        # It may have ended since the listing.
        with contextlib.suppress(libvirt.libvirtError):
            balloon = ET.fromstring(domain.XMLDesc(0)).find("devices/memballoon")
            reporting[domain.name()] = balloon is not None and balloon.get("freePageReporting") == "on"
    return reporting
