"""What is the libvirt hypervisor's own: recorded chains are dropped, other people's metadata stays, bad records."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from contract.host import Host, a_record
from moltfleet.adapters.libvirt import metadata
from moltfleet.adapters.libvirt.gate import Gate
from moltfleet.model.errors import WrongState

NESTED = """\
<backingStore type='file'>
  <format type='qcow2'/><source file='/pool/clean.qcow2' index='2'/>
  <backingStore type='file'>
    <format type='qcow2'/><source file='/pool/base.qcow2'/><backingStore/>
  </backingStore>
</backingStore>
"""
BAD_RECORDS = [
    '{"golden": "base"}',
    "not json",
    "[]",
    "",
    '{"phase": "a phase that only a newer version knows"}',
    '{"golden": 1e999}',
]


def document(gate: Gate, name: str) -> ET.Element:
    return ET.fromstring(gate.call("describe", lambda c: c.lookupByName(name).XMLDesc(2)))


def record_chain(gate: Gate, name: str) -> None:
    """Leave the definition as an external snapshot or a restart of libvirtd does."""
    tree = document(gate, name)
    disk = tree.find("devices/disk")
    assert disk is not None
    disk.append(ET.fromstring(NESTED))
    gate.call("define", lambda c: c.defineXML(ET.tostring(tree, encoding="unicode")))
    assert document(gate, name).find("devices/disk/backingStore/backingStore/source") is not None


@pytest.mark.parametrize("act", ["set_disk", "start"])
def test_a_recorded_chain_is_dropped_before_libvirt_can_believe_it(gate: Gate, host: Host, act: str) -> None:
    top = host.disk("a.qcow2")
    name = host.domain("a", top)
    record_chain(gate, name)
    assert document(gate, name).find("devices/disk/backingStore") is not None
    host.hypervisor.set_disk(name, top) if act == "set_disk" else host.hypervisor.start(name)
    tree = document(gate, name)
    assert tree.findall(".//backingStore") == []
    assert [s.get("file") for s in tree.iterfind("devices/disk/source")] == [host.storage.path_of(top)]


def test_a_recorded_chain_keeps_all_its_layers_from_deletion(gate: Gate, host: Host) -> None:
    from moltfleet.adapters.libvirt import domain_xml

    name = host.domain("a", host.disk("a.qcow2"))
    record_chain(gate, name)
    assert {"/pool/clean.qcow2", "/pool/base.qcow2"} <= domain_xml.disk_paths(document(gate, name))


def test_other_peoples_metadata_stays(gate: Gate, host: Host) -> None:
    disk = host.disk("a.qcow2")
    name = host.domain("a", disk)
    theirs = ("<app>theirs</app>", "other", "urn:other")
    gate.call("write", lambda c: c.lookupByName(name).setMetadata(2, *theirs, 2))
    host.hypervisor.write_record(name, a_record(disk))
    host.hypervisor.set_disk(name, disk)
    found = document(gate, name).find("metadata/{urn:other}app")
    assert found is not None and found.text == "theirs"


def test_a_seed_stays_where_it_is_when_the_disk_moves(gate: Gate, host: Host) -> None:
    name = host.domain("a", host.disk("a.qcow2"), seed=host.disk("seed.iso"))
    host.hypervisor.set_disk(name, host.disk("b.qcow2"))
    files = [s.get("file") for s in document(gate, name).iterfind("devices/disk/source")]
    assert files == [host.storage.path_of(host.name("b.qcow2")), host.storage.path_of(host.name("seed.iso"))]


@pytest.mark.parametrize("text", BAD_RECORDS)
def test_a_record_that_cannot_be_read_is_said_when_its_domain_is_asked_for(gate: Gate, host: Host, text: str) -> None:
    name = host.domain("a", host.disk("a.qcow2"))
    spoil(gate, name, text)
    with pytest.raises(WrongState, match=f"Metadata of domain '{name}' cannot be read") as caught:
        host.hypervisor.get(name)
    assert caught.value.hint and "newer moltfleet" in caught.value.hint


@pytest.mark.parametrize("text", BAD_RECORDS)
def test_a_record_that_cannot_be_read_does_not_hide_the_other_domains(gate: Gate, host: Host, text: str) -> None:
    name = host.domain("a", host.disk("a.qcow2"))
    other = host.domain("b", host.disk("b.qcow2"))
    spoil(gate, name, text)
    assert other in {domain.name for domain in host.hypervisor.domains()}


def spoil(gate: Gate, name: str, text: str) -> None:
    element = ET.Element("clone")
    element.text = text
    xml = ET.tostring(element, encoding="unicode")
    gate.call("write", lambda c: c.lookupByName(name).setMetadata(2, xml, "moltfleet", "urn:moltfleet:metadata:1", 2))


def newer(gate: Gate, host: Host) -> str:
    """A clone whose record a newer version wrote, with a field that this one does not know."""
    disk = host.disk("a.qcow2")
    name = host.domain("a", disk)
    text = metadata.to_element(a_record(disk), namespaced=False).text or ""
    spoil(gate, name, json.dumps(json.loads(text) | {"version": 2, "burrow": "deep"}))
    return name


def test_a_record_of_a_newer_version_is_not_taken_up_and_so_never_written_back(gate: Gate, host: Host) -> None:
    name = newer(gate, host)
    for look in (host.hypervisor.get, host.hypervisor.find):
        with pytest.raises(WrongState, match="was written by a newer moltfleet") as caught:
            look(name)
    assert caught.value.hint == "Update moltfleet on this machine."
    assert "burrow" in metadata.text_of(document(gate, name))


def test_a_domain_with_a_newer_record_is_listed_as_what_it_is(gate: Gate, host: Host) -> None:
    name = newer(gate, host)
    (seen,) = [domain for domain in host.hypervisor.domains() if domain.name == name]
    assert (seen.record, seen.unreadable, seen.is_clone) == (None, "clone", False)


def test_records_tell_their_version_and_those_without_one_are_the_first(gate: Gate, host: Host) -> None:
    disk = host.disk("a.qcow2")
    name = host.domain("a", disk)
    written = json.loads(metadata.text_of(document(gate, name)))
    assert written.pop("version") == 1
    spoil(gate, name, json.dumps(written))
    assert host.hypervisor.get(name).record == a_record(disk)


def test_capabilities_are_read_once(host: Host, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    name = host.domain("a", host.disk("a.qcow2"))
    host.hypervisor.fingerprint(name)
    calls: list[str] = []
    real = gate.call
    monkeypatch.setattr(gate, "call", lambda what, *a, **k: (calls.append(what), real(what, *a, **k))[1])
    host.hypervisor.fingerprint(name)
    assert "read capabilities" not in calls


def test_a_host_that_offers_no_kvm_emulates(host: Host) -> None:
    assert host.hypervisor.host().virt_type == "qemu"


def test_a_slot_is_not_given_out_while_any_domain_has_its_card(host: Host) -> None:
    first = host.networks.attach("moltfleet", "moltfleet", taken=[])
    host.domain("a", host.disk("a.qcow2"), attachment=first)
    assert host.networks.attach("moltfleet", "moltfleet", taken=[]) != first
