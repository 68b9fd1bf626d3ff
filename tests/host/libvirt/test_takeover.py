"""Other people's domains on libvirt's test driver: looked at as they are, taken in, and given back without a trace."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from contract.host import Host, a_record
from fakes.scripts_made import CLONE, GOLDEN, domain_xml
from moltfleet.adapters.libvirt.gate import Gate
from moltfleet.adapters.libvirt.takeover import LibvirtTakeover
from moltfleet.model.domain import DomainState
from moltfleet.model.errors import NotFound, WrongState
from moltfleet.model.records import CloneRecord, Origin
from moltfleet.model.takeover import ForeignCard, ForeignDisk

DISK = f"/images/{CLONE}.qcow2"


@pytest.fixture
def takeover(gate: Gate) -> LibvirtTakeover:
    return LibvirtTakeover(gate, is_local=True)


def definition(gate: Gate, name: str) -> str:
    """All of it; where a namespace is declared makes no difference."""
    return ET.canonicalize(gate.call("describe", lambda c: c.lookupByName(name).XMLDesc(2)), strip_text=True)


def a_clone(origin: Origin) -> CloneRecord:
    record = a_record(f"{CLONE}.qcow2")
    assert isinstance(record, CloneRecord)
    return replace(record, adopted=origin)


def test_what_virt_install_made_is_described(
    gate: Gate, takeover: LibvirtTakeover, define: Callable[[str], None]
) -> None:
    define(domain_xml(GOLDEN, "/images/g.qcow2", uefi="yes", has_tpm="yes", iso="/images/seed.iso"))
    foreign = takeover.look(GOLDEN)
    assert foreign.disks == (ForeignDisk("vda", "virtio", "qcow2", "/images/g.qcow2"),)
    assert foreign.card == ForeignCard("52:54:00:aa:bb:01", "default")
    assert (foreign.state, foreign.memory, foreign.vcpus) == (DomainState.SHUT_OFF, 64 << 20, 4)
    assert (foreign.is_uefi, foreign.has_tpm, foreign.has_agent, foreign.has_graphics) == (True, True, False, True)
    assert (foreign.snapshots, foreign.has_managed_save, foreign.is_persistent) == ((), False, True)


def test_snapshots_a_managed_save_and_what_runs_are_seen(
    gate: Gate, host: Host, takeover: LibvirtTakeover, define: Callable[[str], None]
) -> None:
    define(domain_xml(CLONE, DISK, has_agent="yes"))
    host.make_snapshot(CLONE, "dev-ready")
    gate.call("start", lambda c: c.lookupByName(CLONE).create())
    assert takeover.look(CLONE).state is DomainState.RUNNING
    gate.call("save", lambda c: c.lookupByName(CLONE).managedSave(0))
    foreign = takeover.look(CLONE)
    assert (foreign.snapshots, foreign.has_managed_save, foreign.has_agent) == (("dev-ready",), True, True)


def test_what_is_not_there_is_not_found(takeover: LibvirtTakeover) -> None:
    with pytest.raises(NotFound):
        takeover.look("nope")
    assert takeover.head("/images/nope.qcow2") is None


@pytest.mark.parametrize("uefi", ["yes", ""])
@pytest.mark.parametrize("has_agent", ["yes", ""])
@pytest.mark.parametrize("moves", [True, False])
def test_a_domain_that_is_given_back_is_what_it_was(
    gate: Gate,
    host: Host,
    takeover: LibvirtTakeover,
    define: Callable[[str], None],
    uefi: str,
    has_agent: str,
    moves: bool,
) -> None:
    define(domain_xml(CLONE, DISK, uefi=uefi, has_agent=has_agent, has_tpm=uefi, iso="/images/seed.iso"))
    before = definition(gate, CLONE)
    origin = Origin(DISK, channel=not has_agent, readonly=True)
    takeover.take(CLONE, a_clone(origin), disk="/pool/other.qcow2" if moves else DISK)
    domain, during = host.hypervisor.get(CLONE), takeover.look(CLONE)
    assert domain.record == a_clone(origin)
    assert domain.inactive_disk == ("/pool/other.qcow2" if moves else DISK)
    assert (during.disks[0].is_readonly, during.has_agent, during.is_uefi) == (True, True, bool(uefi))
    assert "libosinfo" in definition(gate, CLONE)
    takeover.give_back(CLONE, origin, disk=DISK)
    assert host.hypervisor.get(CLONE).record is None
    assert definition(gate, CLONE) == before


def test_nothing_changes_hands_while_it_runs(
    gate: Gate, takeover: LibvirtTakeover, define: Callable[[str], None]
) -> None:
    define(domain_xml(CLONE, DISK))
    before = definition(gate, CLONE)
    gate.call("start", lambda c: c.lookupByName(CLONE).create())
    for act in (
        lambda: takeover.take(CLONE, a_clone(Origin(DISK)), disk=DISK),
        lambda: takeover.give_back(CLONE, Origin(DISK), disk=DISK),
    ):
        with pytest.raises(WrongState, match="was started meanwhile"):
            act()
    assert definition(gate, CLONE) == before


def test_what_is_ours_is_not_taken_twice(gate: Gate, takeover: LibvirtTakeover, define: Callable[[str], None]) -> None:
    define(domain_xml(CLONE, DISK))
    takeover.take(CLONE, a_clone(Origin(DISK)), disk=DISK)
    with pytest.raises(WrongState, match="already"):
        takeover.take(CLONE, a_clone(Origin("/elsewhere")), disk=DISK)


def test_a_hard_link_is_the_same_file_and_a_copy_is_not(gate: Gate, tmp_path: Path) -> None:
    one, link, copy = (tmp_path / name for name in ("one", "link", "copy"))
    one.write_bytes(b"a")
    copy.write_bytes(b"a")
    link.hardlink_to(one)
    local, remote = LibvirtTakeover(gate, is_local=True), LibvirtTakeover(gate, is_local=False)
    assert local.is_same_file(str(one), str(link))
    assert not local.is_same_file(str(one), str(copy))
    assert not local.is_same_file(str(one), str(tmp_path / "nope"))
    assert not remote.is_same_file(str(one), str(link))


def test_another_file_system_is_told_where_that_can_be_seen(gate: Gate, tmp_path: Path) -> None:
    file = tmp_path / "one"
    file.touch()
    local, remote = LibvirtTakeover(gate, is_local=True), LibvirtTakeover(gate, is_local=False)
    assert local.is_on_file_system_of(str(file), str(tmp_path / "not" / "made")) is True
    assert local.is_on_file_system_of(str(file), "/proc/self") is False
    assert local.is_on_file_system_of(str(tmp_path / "nope"), str(tmp_path)) is None
    assert remote.is_on_file_system_of(str(file), "/proc/self") is None
