"""Adopting on libvirt's test driver, with layers that the real qemu-img made as the scripts do, and hostile ones."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import World, a_world
from fakes.scripts_made import CLONE, GOLDEN, domain_xml
from moltfleet.adapters.libvirt import storage_xml
from moltfleet.adapters.libvirt.domains import LibvirtHypervisor
from moltfleet.adapters.libvirt.gate import Gate
from moltfleet.adapters.libvirt.storage import LibvirtStorage
from moltfleet.adapters.libvirt.storage_xml import NewVolume
from moltfleet.adapters.libvirt.takeover import LibvirtTakeover
from moltfleet.model.adoption import AdoptRequest
from moltfleet.model.layerhead import HEAD_BYTES, LayerHead, parse_head
from moltfleet.model.records import CloneRecord, GoldenRecord
from moltfleet.model.size import Size
from moltfleet.operations import adopt, adopt_plan, adopt_undo
from moltfleet.operations.fleet import Fleet


class LocalHeads(LibvirtTakeover):
    """The real adapter, but that files are read as they lie here: the test driver has no downloads."""

    def head(self, path: str) -> LayerHead | None:
        if not Path(path).is_file():
            return None
        with Path(path).open("rb") as file:
            return parse_head(file.read(HEAD_BYTES))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


@pytest.fixture
def pool(bare_gate: Gate, tmp_path: Path) -> Path:
    """Our pool, in a directory that is there; what the test driver lists in it are names that were made there."""
    (tmp_path / "pool").mkdir()
    xml = storage_xml.pool("moltfleet", str(tmp_path / "pool"))
    bare_gate.call("make the pool", lambda c: c.storagePoolDefineXML(xml, 0).create(0))
    return tmp_path / "pool"


@pytest.fixture
def fleet(bare_gate: Gate, locks, pool: Path) -> Fleet:
    world: World = a_world(golden=None)
    storage = LibvirtStorage(bare_gate, locks, pool="moltfleet", path=str(pool))
    hypervisor = LibvirtHypervisor(bare_gate, storage, None, "qemu")
    return replace(world.fleet, hypervisor=hypervisor, storage=storage)


@pytest.fixture
def takeover(bare_gate: Gate) -> LibvirtTakeover:
    return LocalHeads(bare_gate, is_local=True)


@pytest.fixture
def define(bare_gate: Gate, images: Path) -> Callable[..., None]:
    """Define a domain as virt-install and virt-clone do, with its disk in `images`."""

    def act(name: str, **changes: str) -> None:
        xml = domain_xml(name, str(images / f"{name}.qcow2"), **changes)  # type: ignore[arg-type]
        bare_gate.call("define", lambda c: c.defineXML(xml))

    return act


@pytest.fixture
def left(images: Path, define: Callable[..., None]) -> None:
    """What `setup_cloud.sh`, `snapshot_manager.sh golden` and `clone_manager.sh create --linked` leave."""
    golden = images / f"{GOLDEN}.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", golden, "1G")
    qemu_img("snapshot", "-c", "dev-ready", golden)
    qemu_img("create", "-q", "-f", "qcow2", "-b", golden, "-F", "qcow2", images / f"{CLONE}.qcow2")
    define(GOLDEN, uefi="yes", has_tpm="yes", iso=str(images / "seed.iso"))
    define(CLONE, uefi="yes", has_tpm="yes", uuid="c7a5fdbd-edaf-9455-926a-d65c16db0002", mac="52:54:00:aa:bb:02")


def qemu_img(*words: str | Path) -> None:
    subprocess.run(("qemu-img", *words), check=True, capture_output=True)


def definition(gate: Gate, name: str) -> str:
    return ET.canonicalize(gate.call("describe", lambda c: c.lookupByName(name).XMLDesc(2)), strip_text=True)


def outcomes(fleet: Fleet, takeover: LibvirtTakeover) -> dict[str, str]:
    plan = adopt_plan.plan_adopt(fleet, takeover, AdoptRequest((GOLDEN,)))
    return {row.name: row.error.brief if row.error else row.outcome for row in plan.rows}


def do_as_told(gate: Gate, fleet: Fleet, takeover: LibvirtTakeover) -> list[str]:
    """Run the commands of the plan, and let the test driver know the names that appeared in the pool."""
    rows = adopt_plan.plan_adopt(fleet, takeover, AdoptRequest((GOLDEN,))).rows
    commands = list(dict.fromkeys(command.removeprefix("sudo ") for row in rows for command in row.commands))
    subprocess.run(["sh", "-ec", "\n".join(commands)], check=True, capture_output=True)
    for name in (GOLDEN, CLONE):
        if fleet.storage.find(f"{name}.qcow2") is None:
            xml = storage_xml.volume(NewVolume(f"{name}.qcow2", "qcow2", Size.of_gib(1)))
            gate.call("make", lambda c, xml=xml: c.storagePoolLookupByName("moltfleet").createXML(xml, 0))
    return commands


@pytest.mark.usefixtures("left")
def test_what_the_plan_tells_to_run_is_all_that_is_needed_and_both_go_back_as_they_were(
    bare_gate: Gate, fleet: Fleet, takeover: LibvirtTakeover, images: Path, pool: Path
) -> None:
    before = {name: definition(bare_gate, name) for name in (GOLDEN, CLONE)}
    assert len(do_as_told(bare_gate, fleet, takeover)) == 3
    assert outcomes(fleet, takeover) == {GOLDEN: "adoptable", CLONE: "adoptable"}
    assert (images / f"{GOLDEN}.qcow2").samefile(pool / f"{GOLDEN}.qcow2")
    content = {path: path.read_bytes() for path in (*images.iterdir(), *pool.iterdir())}
    assert {name: definition(bare_gate, name) for name in (GOLDEN, CLONE)} == before

    rows = adopt.adopt(fleet, takeover, AdoptRequest((GOLDEN,)))
    assert [(row.name, row.outcome) for row in rows] == [(GOLDEN, "adopted"), (CLONE, "adopted")]
    golden, clone = (fleet.hypervisor.get(name) for name in (GOLDEN, CLONE))
    assert isinstance(golden.record, GoldenRecord) and golden.record.firmware == "efi"
    assert isinstance(clone.record, CloneRecord) and clone.record.attachment.name == "default"
    assert clone.inactive_disk == str(pool / f"{CLONE}.qcow2")
    assert "libosinfo" in definition(bare_gate, CLONE) and "nvram" in definition(bare_gate, CLONE)

    assert {row.outcome for row in adopt_undo.undo(fleet, takeover, ())} == {"returned"}
    assert {name: definition(bare_gate, name) for name in (GOLDEN, CLONE)} == before
    assert {path: path.read_bytes() for path in content} == content


@pytest.mark.usefixtures("left")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-u", "-F", "qcow2", "-b", "/etc/hostname"), "stands on /etc/hostname, which is no disk of its golden"),
        (("-u", "-F", "raw", "-b", "{golden}"), "records format 'raw' for its backing file"),
        (("-u", "-F", "qcow2", "-b", 'json:{{"driver":"file","filename":"/etc/hostname"}}'), "no plain path"),
        (("-u", "-F", "qcow2", "-b", f"{GOLDEN}.qcow2"), "adoptable"),
    ],
)
def test_a_rewritten_head_is_followed_only_to_the_golden(
    bare_gate: Gate, fleet: Fleet, takeover: LibvirtTakeover, pool: Path, words: tuple[str, ...], said: str
) -> None:
    do_as_told(bare_gate, fleet, takeover)
    spelled = [word.format(golden=pool / f"{GOLDEN}.qcow2") for word in words]
    qemu_img("rebase", *spelled, pool / f"{CLONE}.qcow2")
    assert said in outcomes(fleet, takeover)[CLONE]


@pytest.mark.usefixtures("left")
def test_a_golden_that_keeps_its_data_elsewhere_is_refused_with_its_clones(
    bare_gate: Gate, fleet: Fleet, takeover: LibvirtTakeover, images: Path
) -> None:
    do_as_told(bare_gate, fleet, takeover)
    golden = images / f"{GOLDEN}.qcow2"
    options = f"data_file={images / 'theirs.raw'}"
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, images / "evil.qcow2", "1G")
    # In place, so that the hard link has it, too.
    golden.write_bytes((images / "evil.qcow2").read_bytes())
    told = outcomes(fleet, takeover)
    assert "keeps its data in another file" in told[GOLDEN]
    assert "cannot be adopted" in told[CLONE]
