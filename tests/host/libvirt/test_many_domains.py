"""A thousand domains are told in one listing, whoever they belong to."""

from __future__ import annotations

from dataclasses import replace

from contract.host import Host, a_record
from moltfleet.adapters.libvirt import domain_xml
from moltfleet.adapters.libvirt.gate import Gate
from moltfleet.model.domain import DomainState
from moltfleet.model.records import CloneRecord


def test_a_thousand_domains_are_listed_with_their_records_and_states(host: Host, gate: Gate) -> None:
    disk = host.disk("a.qcow2")
    record = a_record(disk)
    assert isinstance(record, CloneRecord)
    specs = [host.spec(f"crab-{n}", disk, record=replace(record, generation=n)) for n in range(1000)]
    documents = [domain_xml.build(s, disk_path=host.storage.path_of(disk), seed_path=None) for s in specs]
    # Not one by one through the port, which has each document validated.
    gate.call("define", lambda c: [c.defineXML(document) for document in documents])
    host.hypervisor.start(host.name("crab-7"))
    listed = {domain.name: domain for domain in host.hypervisor.domains()}
    assert len(listed) == 1000
    generations = {d.record.generation for d in listed.values() if isinstance(d.record, CloneRecord)}
    assert generations == set(range(1000))
    running = [name for name, domain in listed.items() if domain.state is DomainState.RUNNING]
    assert running == [host.name("crab-7")]
