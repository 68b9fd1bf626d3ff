"""What is the libvirt pool's own: the lock that it takes, and a domain whose record nobody can read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from contract.host import Host
from fakes import FakeLocks
from moltfleet.adapters.libvirt.gate import Gate
from moltfleet.adapters.libvirt.storage import LibvirtStorage
from moltfleet.model.errors import InUse, ToolFailed
from moltfleet.model.size import Size

UNREADABLE = """\
<domain type='test'>
  <name>newer</name><memory unit='MiB'>64</memory>
  <metadata>
    <m:clone xmlns:m='urn:moltfleet:metadata:1'>{{"layers": "{names}"}}</m:clone>
  </metadata>
  <os><type>hvm</type></os>
</domain>
"""


@pytest.mark.parametrize("act", ["create_overlay", "delete"])
def test_the_pool_lock_is_not_wanted_twice_when_there_is_no_pool_yet(
    bare_gate: Gate, locks: FakeLocks, act: str
) -> None:
    storage = LibvirtStorage(bare_gate, locks, pool="moltfleet", path="/pool")
    options = {"backing": "b.qcow2"} if act == "create_overlay" else {}
    # The test driver cannot make a pool; how far it comes is what counts.
    with pytest.raises(ToolFailed, match="define pool moltfleet"):
        getattr(storage, act)("a.qcow2", **options)


def test_what_an_unreadable_record_may_mean_is_kept(host: Host, define: Callable[[str], None]) -> None:
    disk = host.disk("a.qcow2")
    define(UNREADABLE.format(names=disk))
    with pytest.raises(InUse, match="newer"):
        host.storage.delete(disk)


def test_an_unreadable_record_keeps_nothing_that_it_does_not_name(host: Host, define: Callable[[str], None]) -> None:
    define(UNREADABLE.format(names="other.qcow2"))
    assert host.storage.delete(host.disk("a.qcow2")) is True


def test_looking_for_free_space_makes_no_pool(bare_gate: Gate, locks: FakeLocks) -> None:
    assert LibvirtStorage(bare_gate, locks, pool="moltfleet", path="/pool").find_free_space() is None
    assert bare_gate.call("list pools", lambda c: c.listAllStoragePools(0)) == []


def test_looking_for_free_space_starts_no_pool(gate: Gate, storage: LibvirtStorage) -> None:
    gate.call("stop the pool", lambda c: c.storagePoolLookupByName("moltfleet").destroy())
    assert storage.find_free_space() is None
    assert not gate.call("look", lambda c: c.storagePoolLookupByName("moltfleet").isActive())


def test_what_the_file_system_keeps_for_root_is_not_free(gate: Gate, locks: FakeLocks, storage: LibvirtStorage) -> None:
    told = storage.find_free_space()
    assert told is not None
    asked: list[str] = []

    def measure(path: str) -> Size:
        asked.append(path)
        return told - Size.of_mib(1)

    careful = LibvirtStorage(gate, locks, pool="moltfleet", path="/elsewhere", measure_space=measure)
    assert careful.find_free_space() == told - Size.of_mib(1)
    assert asked == ["/pool"]


def test_a_pool_that_cannot_be_looked_at_is_believed(gate: Gate, locks: FakeLocks, storage: LibvirtStorage) -> None:
    blind = LibvirtStorage(gate, locks, pool="moltfleet", path="/pool", measure_space=lambda path: None)
    assert blind.find_free_space() == storage.find_free_space()
