"""The real adapters on libvirt's own test driver, which gives a fresh host for every connection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt
import pytest

from contract.host import Host
from fakes import FakeClock, FakeLocks
from moltfleet.adapters.libvirt import gate as gate_module
from moltfleet.adapters.libvirt import storage_xml
from moltfleet.adapters.libvirt.domains import LibvirtHypervisor
from moltfleet.adapters.libvirt.gate import Gate
from moltfleet.adapters.libvirt.networks import LibvirtNetworks
from moltfleet.adapters.libvirt.storage import LibvirtStorage

POOL = "/pool"
HOST_XML = """\
<node>
  <cpu>
    <mhz>2000</mhz><model>x86_64</model><active>4</active>
    <nodes>1</nodes><sockets>1</sockets><cores>4</cores><threads>1</threads>
  </cpu>
  <memory>16777216</memory>
</node>
"""
FOREIGN_XML = """\
<domain type='test'>
  <name>{name}</name><memory unit='MiB'>64</memory>
  <metadata><other:app xmlns:other='urn:other'>theirs</other:app></metadata>
  <os><type>hvm</type></os>
</domain>
"""
_UNDEFINE = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA


class _Snapshot:
    """A snapshot, of which there is nothing but metadata here."""

    def __init__(self, snapshot: Any) -> None:
        self._snapshot = snapshot

    def delete(self, _: int) -> int:
        return int(self._snapshot.delete(0))


class _Domain:
    """A domain without the flags that the test driver does not know; none of them changes what is tested."""

    def __init__(self, domain: Any) -> None:
        self._domain = domain

    def __getattr__(self, name: str) -> Any:
        return getattr(self._domain, name)

    def createWithFlags(self, _: int) -> int:
        return int(self._domain.create())

    def undefineFlags(self, flags: int) -> int:
        return int(self._domain.undefineFlags(flags & _UNDEFINE))

    def listAllSnapshots(self, flags: int) -> list[_Snapshot]:
        return [_Snapshot(snapshot) for snapshot in self._domain.listAllSnapshots(flags)]

    def shutdownFlags(self, _: int) -> int:
        return int(self._domain.shutdown())


class TestDriver:
    """A connection that gives out such domains."""

    __test__ = False

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def lookupByName(self, name: str) -> _Domain:
        return _Domain(self._connection.lookupByName(name))

    def listAllDomains(self, flags: int) -> list[_Domain]:
        return [_Domain(domain) for domain in self._connection.listAllDomains(flags)]


@pytest.fixture
def host_file(tmp_path: Path) -> Path:
    path = tmp_path / "host.xml"
    path.write_text(HOST_XML)
    return path


@pytest.fixture
def bare_gate(host_file: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A gate to a host that has nothing at all."""
    real = gate_module.open_connection
    monkeypatch.setattr(gate_module, "open_connection", lambda uri: TestDriver(real(uri)))
    return Gate(f"test://{host_file}")


@pytest.fixture
def gate(bare_gate: Gate) -> Gate:
    """A gate to a host with our pool; the test driver knows no flags for making one."""

    def make_pool(connection: Any) -> None:
        connection.storagePoolDefineXML(storage_xml.pool("moltfleet", POOL), 0).create(0)

    bare_gate.call("make the pool", make_pool)
    return bare_gate


@pytest.fixture
def locks() -> FakeLocks:
    return FakeLocks(FakeClock())


@pytest.fixture
def storage(gate: Gate, locks: FakeLocks) -> LibvirtStorage:
    return LibvirtStorage(gate, locks, pool="moltfleet", path=POOL)


@pytest.fixture
def hypervisor(gate: Gate, storage: LibvirtStorage) -> LibvirtHypervisor:
    return LibvirtHypervisor(gate, storage, None, "qemu")


@pytest.fixture
def networks(gate: Gate, locks: FakeLocks) -> LibvirtNetworks:
    return LibvirtNetworks(gate, locks, name="moltfleet", subnets=("192.168.150.0/24", "192.168.151.0/24"))


@pytest.fixture
def define(gate: Gate) -> Callable[[str], None]:
    """Define a domain from XML behind the adapters' back."""

    def act(xml: str) -> None:
        gate.call("define", lambda connection: connection.defineXML(xml))

    return act


@pytest.fixture
def host(
    gate: Gate,
    hypervisor: LibvirtHypervisor,
    storage: LibvirtStorage,
    networks: LibvirtNetworks,
    define: Callable[[str], None],
) -> Host:
    def make_snapshot(name: str, label: str) -> None:
        xml = f"<domainsnapshot><name>{label}</name></domainsnapshot>"
        gate.call("snapshot", lambda connection: connection.lookupByName(name).snapshotCreateXML(xml, 0))

    return Host(
        hypervisor=hypervisor,
        storage=storage,
        networks=networks,
        prefix="contract-",
        define_foreign=lambda name: define(FOREIGN_XML.format(name=name)),
        make_snapshot=make_snapshot,
    )
