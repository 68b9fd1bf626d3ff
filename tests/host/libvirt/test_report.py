"""The report of a thousand domains: gathered by few calls, in a moment, and as long as a page."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from contract.host import Host, a_record
from fakes import a_world
from moltfleet.adapters.libvirt import domain_xml
from moltfleet.adapters.libvirt.gate import Gate
from moltfleet.cli.report import markdown, page
from moltfleet.model.overhead import footprint
from moltfleet.model.records import CleanPoint, CloneRecord
from moltfleet.model.size import Size
from moltfleet.model.volumes import Stamp
from moltfleet.operations.fleet import Fleet
from moltfleet.operations.report import gather

# Of processor time, libvirt's own in it; drawing comes on top.
SECONDS = 2.0
RUNNING = 900


@pytest.fixture
def fleet(host: Host) -> Fleet:
    """A fleet on libvirt's test driver."""
    return replace(a_world(golden=None).fleet, hypervisor=host.hypervisor, storage=host.storage)


@pytest.fixture
def thousand(host: Host, gate: Gate, define: Callable[[str], None]) -> None:
    """Clones that all have saved RAM, so that each is asked whether that still fits; most of them run."""
    disk = host.disk("a.qcow2")
    record = a_record(disk)
    assert isinstance(record, CloneRecord)
    clean = CleanPoint((Stamp(disk, "1.0", 1),), "2026-11-20T09:00:00Z", ram="a.ram", fingerprint="{}")
    specs = [host.spec(f"crab-{n}", disk, record=replace(record, clean=clean)) for n in range(1000)]
    documents = [domain_xml.build(s, disk_path=host.storage.path_of(disk), seed_path=None) for s in specs]

    def make(connection: object) -> None:
        for number, document in enumerate(documents):
            domain = connection.defineXML(document)  # type: ignore[attr-defined]
            if number < RUNNING:
                domain.create()

    gate.call("define", make, timeout_s=60)


@pytest.mark.usefixtures("thousand")
def test_a_thousand_domains_are_gathered_in_a_moment(fleet: Fleet) -> None:
    seconds = []
    for _ in range(2):
        began = time.process_time()
        report = gather(fleet)
        seconds.append(time.process_time() - began)
    assert (len(report.clones), len(report.active)) == (1000, RUNNING)
    assert {clone.view.warm for clone in report.clones} == {"stale"}
    assert report.memory.clones_promised == footprint(Size.of_mib(64), vcpus=1, emulated=True) * RUNNING
    # The lesser of two: the first one also loads what is loaded once.
    assert min(seconds) <= SECONDS


@pytest.mark.usefixtures("thousand")
def test_a_thousand_domains_are_still_one_page(fleet: Fleet) -> None:
    text = markdown.render(page.build(gather(fleet)))
    assert "The 40 that take most memory are listed, of 1000." in text
    assert len(text.splitlines()) < 200


def test_an_empty_host_is_reported_as_it_is(host: Host, bare_gate: Gate) -> None:
    report = gather(replace(a_world(golden=None).fleet, hypervisor=host.hypervisor, storage=host.storage))
    assert (report.clones, report.others, report.goldens) == ((), (), ())
    assert report.host.name
