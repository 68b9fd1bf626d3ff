"""A report with something of everything in it, names included that nobody should trust."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from moltfleet.model import findings, headroom, rightsize
from moltfleet.model.admission import decide
from moltfleet.model.domain import DomainState, HostFacts, VirtType
from moltfleet.model.forecast import Verdict
from moltfleet.model.load import Candidate, DomainUse, HostLoad, Reservation, Situation
from moltfleet.model.outlook import Forecast, Outlook
from moltfleet.model.report import CloneUse, DiskUse, GenerationUse, GoldenUse, PoolPart, Report
from moltfleet.model.results import CloneView
from moltfleet.model.size import Size

GIB, MIB = Size.of_gib, Size.of_mib
# libvirt takes such names; none of it may act in a page, a drawing, a terminal.
HOSTILE = "<script>alert(1)</script>|`*$x^2$\x1b[31m\u202e](http://evil.example)"
DEFAULT = Candidate("", GIB(16), 4, False, disk_growth=GIB(1))
HOST = HostFacts(
    uri="qemu:///system",
    is_local=True,
    is_session=False,
    virt_type=VirtType.KVM,
    virt_reason="libvirt offers KVM",
    libvirt_version=9_000_000,
    qemu_version=7_002_022,
    memory=GIB(125.5),
    memory_origin="/proc/meminfo",
    cpus=16,
    name="forge",
)
LOAD = HostLoad(
    total=GIB(125.5),
    total_origin="/proc/meminfo",
    available=GIB(88),
    available_origin="MemAvailable, /proc/meminfo",
    pressure=0.4,
    pressure_origin="/proc/pressure/memory",
    oom_kills=0,
    oom_origin="last 10 minutes, /proc/vmstat",
)


def a_clone(name: str, *, taken: Size | None = None, disk: DiskUse | None = None, **changes: Any) -> CloneUse:
    """Make a clone of 16 GiB that runs, and takes ``taken``."""
    fields: dict[str, Any] = {
        "name": name,
        "golden": "base",
        "generation": 2,
        "latest_generation": 2,
        "state": DomainState.RUNNING,
        "endpoint": None,
        "memory": GIB(16),
        "vcpus": 4,
        "disk_allocation": GIB(2),
        "warm": "warm",
        "health": "ok",
    }
    view = CloneView(**fields | changes)
    is_active = view.state is not DomainState.SHUT_OFF
    return CloneUse(
        view=view,
        promised=use_of(view, taken).promised if is_active else Size(0),
        resident=taken if is_active else None,
        disk=disk or DiskUse(clean=MIB(420), ram_image=MIB(910), written=MIB(700)),
        disk_capacity=GIB(50),
    )


def use_of(view: CloneView, taken: Size | None) -> DomainUse:
    """What libvirt tells of an active clone."""
    return DomainUse(view.name, view.state, view.memory, view.vcpus, taken, emulated=False)


CLONES = (
    a_clone("base-1", taken=GIB(3.1), disk=DiskUse(MIB(420), MIB(910), GIB(2.4), GIB(1.2), GIB(3.5), MIB(40))),
    a_clone("base-2", taken=GIB(2.2), generation=1),
    a_clone("base-3", state=DomainState.SHUT_OFF, health="off", warm="none"),
    a_clone("base-4", taken=GIB(1.4), state=DomainState.PAUSED, health="paused", warm="stale"),
    a_clone("newer", golden="?", generation=0, latest_generation=None, health="unreadable", warm="none"),
)
OTHERS = (
    DomainUse(HOSTILE, DomainState.RUNNING, GIB(8), 4, GIB(6.5), emulated=False),
    DomainUse("office", DomainState.RUNNING, GIB(4), 2, None, emulated=False),
)
GOLDENS = (
    GoldenUse(
        name="base",
        profile="agent",
        source="https://images.example.org/ubuntu-24.04.img",
        generations=(
            GenerationUse(1, "2026-11-01T08:00:00Z", GIB(4.1), 1),
            GenerationUse(2, "2026-11-19T08:00:00Z", GIB(4.4), 3),
        ),
        running=3,
    ),
    GoldenUse("lean", "minimal", "debian-12", (GenerationUse(1, "2026-11-19T09:30:00Z", MIB(640), 0),), 0),
)
POOL = (
    PoolPart("goldens", GIB(9.1), 6),
    PoolPart("clean points", GIB(1.6), 8),
    PoolPart("saved RAM", GIB(3.5), 4),
    PoolPart("written since", GIB(4.5), 4),
    PoolPart("shed layers", GIB(1.2), 1),
    PoolPart("kept layers", GIB(3.5), 1),
    PoolPart("unexplained", MIB(30), 2),
)


OUTLOOK = Outlook(
    forecasts=(
        Forecast("base-2", "claude", Verdict.CRITICAL, GIB(6.1), GIB(7), 640.0),
        Forecast("base-1", "", Verdict.GROWING, GIB(2.5), GIB(15), None),
    ),
    steady=("base-3",),
    silent=("<b>base-4",),
)


def a_report(
    *, clones: tuple[CloneUse, ...] = CLONES, others: tuple[DomainUse, ...] = OTHERS, **changes: Any
) -> Report:
    """Make a report about clones and other domains, judged as a gathered one is; ``changes`` are of its fields."""
    active = [use_of(clone.view, clone.resident) for clone in clones if clone.is_active]
    situation = Situation(
        host=LOAD,
        reserve=GIB(10),
        reserve_origin="default",
        domains=(*active, *others),
        reservations=(Reservation("base-9", GIB(8), "ann", 7, 0.0),),
        pool_free=GIB(120),
        pool_origin="pool 'moltfleet'",
    )
    situation = changes.pop("situation", situation)
    fields: dict[str, Any] = {
        "taken_at": "2026-11-20T18:00:00Z",
        "version": "0.1.0",
        "host": HOST,
        "situation": situation,
        "clones": clones,
        "others": others,
        "goldens": GOLDENS,
        "pool": POOL,
        "headroom": headroom.rows(situation, DEFAULT),
        "largest": decide(situation, DEFAULT).largest,
        "advice": rightsize.advise(situation, clones, DEFAULT),
    }
    report = Report(**fields | changes)
    return replace(report, findings=findings.find_all(report, growth=GIB(1)))


def with_load(report: Report, **changes: Any) -> Report:
    """The same report on a host that was measured otherwise."""
    situation = replace(report.situation, host=replace(report.situation.host, **changes))
    return a_report(clones=report.clones, others=report.others, situation=situation)
