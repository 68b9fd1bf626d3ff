"""Networks through libvirt: our own with a fixed MAC and address per slot, somebody's, or QEMU's user mode."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import libvirt

from moltfleet.model.errors import NoCapacity, NotFound, ToolFailed
from moltfleet.model.records import Attachment

if TYPE_CHECKING:
    from moltfleet.adapters.libvirt.gate import Gate
    from moltfleet.model.ports import Locks

# 52:54:00 is QEMU's own prefix; "mf" makes ours recognisable. The last octet is the slot's address.
_MAC_PREFIX = "52:54:00:6d:66"
_FIRST_SLOT, _LAST_SLOT = 2, 254
_BRIDGE = "moltfleet0"
_LOCK_WAIT_S = 60.0


class LibvirtNetworks:
    """The :class:`~moltfleet.model.ports.Networks` port."""

    def __init__(self, gate: Gate, locks: Locks, *, name: str, subnets: Sequence[str]) -> None:
        self._gate = gate
        self._locks = locks
        self._name = name
        self._subnets = tuple(subnets)

    def attach(self, kind: str, name: str, *, taken: Sequence[Attachment]) -> Attachment:
        """See the port."""
        if kind == "user":
            return Attachment(kind="user", name="", mac=random_mac(), ssh_port=_free_port(taken))
        if kind == "libvirt":
            self._require_active(name)
            return Attachment(kind="libvirt", name=name, mac=random_mac())
        slots = self._slots()
        used = {attachment.address for attachment in taken}
        # Also cards of domains that are not ours, or whose record cannot be read: the address follows from the MAC.
        cards = self._gate.call("list network cards", lambda c: _cards(c.listAllDomains(0)), repeatable=True)
        for mac, address in slots:
            if address not in used and mac not in cards:
                return Attachment(kind="moltfleet", name=self._name, mac=mac, address=address)
        raise NoCapacity(
            f"Network {self._name!r} has no free address: all {len(slots)} are taken",
            hint="Delete clones that are no longer needed.",
        )

    def gateway(self) -> str | None:
        """The host's address on our network; None before its first use."""
        document = self._gate.call("describe our network", self._document, repeatable=True)
        ip = None if document is None else document.find("ip")
        return None if ip is None else ip.get("address")

    def _slots(self) -> tuple[tuple[str, str], ...]:
        document = self._gate.call("describe our network", self._document, repeatable=True)
        if document is None:
            with self._locks.hold("network", verb="define", wait_s=_LOCK_WAIT_S):
                document = self._gate.call("describe our network", self._document, repeatable=True)
                document = document if document is not None else self._define()
        return tuple((h.attrib["mac"], h.attrib["ip"]) for h in document.iterfind("ip/dhcp/host"))

    def _document(self, connection: Any) -> ET.Element | None:
        try:
            network = connection.networkLookupByName(self._name)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_NETWORK:
                return None
            raise
        if not network.isActive():
            network.create()
        return ET.fromstring(network.XMLDesc(0))

    def _define(self) -> ET.Element:
        """Define and start our network on the first subnet that the host does not use."""
        reasons = []
        for subnet in self._subnets:
            xml = network_xml(self._name, subnet)
            try:
                self._gate.call(f"define network {self._name}", partial(_define_and_start, xml=xml))
            except ToolFailed as error:
                # libvirt's check comes at the start only, with a generic code and this text (measured on 9.0).
                if "already in use" not in (error.details or ""):
                    raise
                reasons.append(f"{subnet}: {error.details}")
                continue
            return ET.fromstring(
                self._gate.call("describe our network", lambda c: c.networkLookupByName(self._name).XMLDesc(0))
            )
        raise NoCapacity(
            f"No subnet is free for network {self._name!r}",
            details="\n".join(reasons),
            hint="Give others with 'subnets' in moltfleet.toml.",
        )

    def _require_active(self, name: str) -> None:
        def check(connection: Any) -> bool:
            return bool(connection.networkLookupByName(name).isActive())

        try:
            is_active = self._gate.call(f"look up network {name}", check, repeatable=True)
        except NotFound as error:
            raise NotFound(f"Network {name!r} does not exist", hint="'virsh net-list --all' lists them.") from error
        if not is_active:
            raise ToolFailed(f"Network {name!r} is not running", hint=f"Start it: 'virsh net-start {name}'.")


def _cards(domains: Sequence[Any]) -> frozenset[str]:
    """The MAC of every network card that any domain is defined with."""
    macs: set[str] = set()
    for domain in domains:
        # A transient one, or one that was undefined since the listing, has no definition.
        with contextlib.suppress(libvirt.libvirtError):
            document = ET.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            macs |= {card.get("address", "").lower() for card in document.iterfind("devices/interface/mac")}
    return frozenset(macs)


def _define_and_start(connection: Any, *, xml: str) -> None:
    network = connection.networkDefineXML(xml)
    try:
        network.create()
    except libvirt.libvirtError:
        network.undefine()
        raise
    network.setAutostart(1)


def network_xml(name: str, subnet: str) -> str:
    """Make our network: NAT, no spanning tree (it delays a restored guest by 3.5 s), one static slot per address.

    All slots stand in it from the start: a live update of a single one costs 0.4 s (measured on 9.0).
    """
    network = ipaddress.IPv4Network(subnet)
    root = ET.Element("network")
    ET.SubElement(root, "name").text = name
    forward = ET.SubElement(root, "forward", mode="nat")
    ET.SubElement(forward, "nat")
    ET.SubElement(root, "bridge", name=_BRIDGE, stp="off", delay="0")
    ip = ET.SubElement(root, "ip", address=str(network[1]), netmask=str(network.netmask))
    dhcp = ET.SubElement(ip, "dhcp")
    for mac, address in slots(network):
        ET.SubElement(dhcp, "host", mac=mac, ip=address)
    return ET.tostring(root, encoding="unicode")


def slots(network: ipaddress.IPv4Network) -> Iterator[tuple[str, str]]:
    """All (MAC, address) pairs of a /24, in order; the address follows from the MAC."""
    for number in range(_FIRST_SLOT, _LAST_SLOT + 1):
        yield f"{_MAC_PREFIX}:{number:02x}", str(network[number])


def random_mac() -> str:
    """A MAC in QEMU's range, outside of our slots."""
    tail = secrets.token_bytes(3)
    mac = ":".join(f"{octet:02x}" for octet in (0x52, 0x54, 0x00, *tail))
    return random_mac() if mac.startswith(_MAC_PREFIX) else mac


def _free_port(taken: Sequence[Attachment]) -> int:
    used = {attachment.ssh_port for attachment in taken if attachment.kind == "user"}
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in used:
            return port
    raise NoCapacity("No loopback port is free for user-mode networking")
