"""What a look at a host with many domains costs: seconds and memory of the installed command on libvirt's test driver.

The test driver reads its host from a file: a thousand clones, each with a volume and a record of its own, all running.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

POOL = "/pool"
HOST = """
<node><cpu><mhz>2000</mhz><model>x86_64</model><active>8</active><nodes>1</nodes><sockets>1</sockets><cores>8</cores>
<threads>1</threads></cpu><memory>134217728</memory></node>
"""
VOLUME = """
<volume><name>{name}</name><key>{pool}/{name}</key>
<capacity unit='GiB'>50</capacity><allocation unit='MiB'>300</allocation>
<target><path>{pool}/{name}</path><format type='qcow2'/></target></volume>
"""
ACTS = (("list",), ("list", "--json"), ("plan",), ("report",), ("survey",))


@dataclass(frozen=True, slots=True)
class Cost:
    """One run: processor seconds, seconds that passed, the most memory in MiB."""

    processor_s: float
    passed_s: float
    memory_mib: float


def host_with(domains: int) -> str:
    """The test driver's file."""
    host = ET.fromstring(HOST)
    pool = ET.SubElement(host, "pool", type="dir")
    ET.SubElement(pool, "name").text = "moltfleet"
    ET.SubElement(ET.SubElement(pool, "target"), "path").text = POOL
    for number in range(domains):
        host.append(clone(f"crab-{number}"))
        pool.append(ET.fromstring(VOLUME.format(name=volume_of(f"crab-{number}"), pool=POOL)))
    return ET.tostring(host, encoding="unicode")


def volume_of(name: str) -> str:
    return f"{name}.1.qcow2"


def clone(name: str) -> ET.Element:
    """A clone as moltfleet itself defines it."""
    from moltfleet.adapters.libvirt import domain_xml
    from moltfleet.model.domain import DomainSpec, VirtType
    from moltfleet.model.records import Attachment, CloneRecord, Phase
    from moltfleet.model.size import Size

    alone, top = Attachment(kind="none", name="", mac=""), volume_of(name)
    record = CloneRecord(
        golden="base",
        generation=1,
        golden_volume="base.g1.qcow2",
        phase=Phase.READY,
        linked=True,
        user="agent",
        attachment=alone,
        instance_id="iid-1",
        host_keys=("ssh-ed25519 AAAA",),
        seed="",
        top=top,
        created_at="2026-11-20T10:00:00Z",
    )
    spec = DomainSpec(
        name=name,
        uuid=str(uuid.uuid4()),
        title=f"{name}: clone of base",
        description="made by the benchmark",
        memory=Size.of_gib(16),
        vcpus=4,
        disk=top,
        seed=None,
        attachment=alone,
        record=record,
        virt_type=VirtType.QEMU,
    )
    document = ET.fromstring(domain_xml.build(spec, disk_path=f"{POOL}/{top}", seed_path=None))
    document.set("type", "test")
    return document


def measure(argv: list[str]) -> Cost:
    """Run a command in a process of its own. Exits when it fails."""
    begun = time.monotonic()
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(argv)}: exit {process.returncode}\n{said.decode()}")
    return Cost(used.ru_utime + used.ru_stime, time.monotonic() - begun, used.ru_maxrss / 1024)


def run(command: str, domains: int, rounds: int) -> str:
    """Measure, and return a table as Markdown. What the driver takes to read its file, is what virsh takes."""
    lines = ["| | domains | processor s | of it moltfleet's | seconds passed | MiB |", "|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory(prefix="moltfleet-many.") as folder:
        for count in (10, domains):
            path = Path(folder) / f"{count}.xml"
            path.write_text(host_with(count))
            peer = [measure(["virsh", "-q", "-c", f"test://{path}", "list", "--all"]) for _ in range(rounds)]
            lines.append(row("virsh list --all", count, peer))
            for act in ACTS:
                argv = [command, "-c", f"test://{path}", "-q", *act]
                costs = [measure(argv) for _ in range(rounds)]
                lines.append(row(f"moltfleet {' '.join(act)}", count, costs, driver_s=median(peer)))
    return "\n".join(lines)


def median(costs: list[Cost]) -> float:
    return statistics.median(cost.processor_s for cost in costs)


def row(what: str, domains: int, costs: list[Cost], *, driver_s: float | None = None) -> str:
    """One line of the table: medians, and the most memory."""
    seconds = [cost.processor_s for cost in costs]
    spread = f"{median(costs):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
    own = "" if driver_s is None else f"{median(costs) - driver_s:.2f}"
    passed = statistics.median(cost.passed_s for cost in costs)
    return f"| `{what}` | {domains} | {spread} | {own} | {passed:.2f} | {max(c.memory_mib for c in costs):.0f} |"
