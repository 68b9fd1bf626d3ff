"""The XML of every kind of domain, word for word, and defined on libvirt's test driver, which checks the schema."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

import pytest

from contract.host import a_record
from moltfleet.adapters.libvirt import domain_xml, metadata
from moltfleet.adapters.libvirt.domains import LibvirtHypervisor
from moltfleet.model.domain import DomainSpec, VirtType
from moltfleet.model.records import Attachment, BuildRecord, Generation, GoldenRecord
from moltfleet.model.size import Size
from moltfleet.model.volumes import Stamp

OWN = Attachment("moltfleet", "moltfleet", "52:54:00:6d:66:02", "192.168.150.2")
OTHER = Attachment("libvirt", "default", "52:54:00:00:00:01")
USER = Attachment("user", "", "52:54:00:00:00:01", ssh_port=40001)
NONE = Attachment("none", "", "")
CLONE = DomainSpec(
    name="crab-1",
    uuid="6f2b0c1e-0000-4000-8000-000000000001",
    title="crab-1: clone of base",
    description="moltfleet clone of golden base",
    memory=Size.of_gib(2),
    vcpus=2,
    disk="crab-1.clean.qcow2",
    seed="crab-1.seed.iso",
    attachment=OWN,
    record=a_record("crab-1.clean.qcow2", golden_volume="base.g1.qcow2"),
    virt_type=VirtType.KVM,
)
GENERATION = Generation(
    1, "base.g1.qcow2", "base.g1.json", "2026-11-20T09:00:00Z", 1 << 30, 1 << 27, Stamp("base.g1.qcow2", "1.0", 9)
)
GOLDEN = replace(
    CLONE,
    name="base",
    title="base: golden",
    description="moltfleet golden image; clones stand on its disk",
    disk="base.g1.qcow2",
    seed=None,
    attachment=NONE,
    record=GoldenRecord("minimal", "debian-12", "agent", 1 << 31, 2, 10 << 30, (GENERATION,)),
    is_disk_readonly=True,
)
BUILD = replace(
    CLONE,
    name="base.build",
    title="base.build: build of golden base",
    disk="base.build.1.qcow2",
    seed="base.build.seed.iso",
    record=BuildRecord("base", OWN, ("ssh-ed25519 AAAA",), "2026-11-20T09:00:00Z", ("base.build.1.qcow2",)),
)
VARIANTS = {
    "clone": CLONE,
    "clone-emulated": replace(CLONE, virt_type=VirtType.QEMU),
    "clone-other-network": replace(CLONE, attachment=OTHER),
    "clone-user-network": replace(CLONE, attachment=USER),
    "clone-desktop": replace(CLONE, desktop=True),
    "clone-uefi": replace(CLONE, firmware="efi"),
    "clone-hostile": replace(CLONE, title="<&\"'>]]>", description="ä 😀 <!-- -->"),
    "golden": GOLDEN,
    "golden-desktop": replace(GOLDEN, desktop=True),
    "build": BUILD,
}


def built(spec: DomainSpec) -> ET.Element:
    seed = None if spec.seed is None else f"/pool/{spec.seed}"
    return ET.fromstring(domain_xml.build(spec, disk_path=f"/pool/{spec.disk}", seed_path=seed))


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_kind_of_domain_reads_as_it_was_agreed(variant: str, golden: Callable[[str, str], None]) -> None:
    document = built(VARIANTS[variant])
    ET.indent(document)
    golden(f"xml/{variant}.xml", ET.tostring(document, encoding="unicode") + "\n")


@pytest.mark.parametrize("variant", VARIANTS)
def test_libvirt_takes_each_kind_and_tells_it_back(variant: str, hypervisor: LibvirtHypervisor) -> None:
    # The test driver emulates; that a host offers KVM is not its business.
    spec = VARIANTS[variant]
    hypervisor.define(spec)
    domain = hypervisor.get(spec.name)
    assert (domain.name, domain.uuid, domain.memory, domain.vcpus) == (spec.name, spec.uuid, spec.memory, spec.vcpus)
    assert domain.record == spec.record


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_amount_of_memory_carries_its_unit(variant: str) -> None:
    memory = built(VARIANTS[variant]).findall(".//memory")
    assert memory and all(element.get("unit") == "KiB" for element in memory)


def test_a_golden_cannot_be_written_and_reaches_no_network() -> None:
    document = built(GOLDEN)
    assert document.find("devices/disk/readonly") is not None
    assert document.find("devices/interface") is None


def test_only_on_our_network_a_port_is_isolated() -> None:
    isolated = {name for name, spec in VARIANTS.items() if built(spec).find("devices/interface/port") is not None}
    assert isolated == {"clone", "clone-emulated", "clone-desktop", "clone-uefi", "clone-hostile", "build"}


def test_a_desktop_listens_on_a_socket_alone() -> None:
    graphics = built(VARIANTS["clone-desktop"]).find("devices/graphics")
    assert graphics is not None and graphics.find("listen").attrib == {"type": "socket"}  # type: ignore[union-attr]


def test_a_definition_without_a_disk_cannot_be_pointed_anywhere() -> None:
    with pytest.raises(ValueError, match="no disk"):
        domain_xml.put_disk(ET.fromstring("<domain><devices/></domain>"), "/pool/a")


def test_pointing_the_disk_elsewhere_drops_chain_index_and_mirror() -> None:
    document = ET.fromstring(
        "<domain><devices><disk device='disk'><driver name='qemu'/><source file='/a' index='1'/>"
        "<backingStore><source file='/b'/><backingStore><source file='/c'/></backingStore></backingStore>"
        "<mirror><source file='/d'/></mirror><target dev='vda'/></disk></devices></domain>"
    )
    domain_xml.put_disk(document, "/new")
    assert domain_xml.disk_paths(document) == {"/new"}
    assert domain_xml.chain(document) == ("/new",)
    disk = domain_xml.first_disk(document)
    assert disk is not None and [child.tag for child in disk] == ["driver", "source", "target"]


def test_the_digest_of_a_definition_follows_what_a_person_edits_and_nothing_else() -> None:
    before = domain_xml.definition_digest(built(CLONE))
    moved = replace(CLONE, disk="crab-1.9.qcow2", title="other", record=a_record("crab-1.9.qcow2"))
    assert domain_xml.definition_digest(built(moved)) == before
    assert domain_xml.definition_digest(built(replace(CLONE, memory=Size.of_gib(3)))) != before


def test_a_record_too_large_for_metadata_is_refused() -> None:
    record = a_record("top", record_of=tuple(f"crab-1.{n}.qcow2" for n in range(2000)))
    with pytest.raises(Exception, match="larger than 16384 bytes"):
        metadata.to_text(record)


@pytest.mark.parametrize(
    ("unit", "before", "after"),
    [("KiB", "262144", "64"), ("MiB", "256", "64"), ("MiB", "300", "300"), ("GiB", "1", "1")],
)
def test_what_is_restored_has_a_small_translation_cache_unless_somebody_chose_its_size(
    unit: str, before: str, after: str
) -> None:
    domain = ET.fromstring(
        f"<domain><features><tcg><tb-cache unit='{unit}'>{before}</tb-cache></tcg></features></domain>"
    )

    domain_xml.shrink_translation_cache(domain)

    assert domain.findtext("features/tcg/tb-cache") == after


def test_a_snapshot_names_every_disk_and_takes_the_first_alone() -> None:
    disk = "<disk device='{}'><target dev='{}'/></disk>"
    disks = "".join(disk.format(*each) for each in (("cdrom", "sda"), ("disk", "vda"), ("disk", "vdb")))
    document = ET.fromstring(f"<domain><devices>{disks}</devices></domain>")
    snapshot = ET.fromstring(domain_xml.disk_snapshot(document, "/pool/new.qcow2"))
    found = [(disk.get("name"), disk.get("snapshot")) for disk in snapshot.iterfind("disks/disk")]
    assert found == [("sda", "no"), ("vda", "external"), ("vdb", "no")]
    assert [source.get("file") for source in snapshot.iterfind("disks/disk/source")] == ["/pool/new.qcow2"]
