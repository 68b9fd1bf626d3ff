"""What is made of libvirt's bulk statistics, as QEMU's driver and as others tell them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import libvirt

from moltfleet.adapters.libvirt.statistics import read_vitals
from moltfleet.model.domain import DomainState
from moltfleet.model.size import Size
from moltfleet.model.vitals import Balloon, Reason, Vitals

KIB = 1024
RUNNING = {"state.state": libvirt.VIR_DOMAIN_RUNNING, "state.reason": libvirt.VIR_DOMAIN_RUNNING_BOOTED}
# As libvirt 9.0 told of a clone in use, the rest left out.
TOLD = {
    **RUNNING,
    "cpu.time": 61_500_000_000,
    "balloon.current": 2_097_152,
    "balloon.maximum": 2_097_152,
    "balloon.unused": 900_000,
    "balloon.available": 2_004_000,
    "balloon.usable": 1_500_000,
    "balloon.last-update": 1_795_168_790,
    "balloon.rss": 800_000,
    "block.count": 2,
    "block.0.name": "vda",
    "block.0.path": "/pool/crab-1.2.qcow2",
    "block.0.allocation": 123,
    "block.0.physical": 78_905_344,
    "block.1.physical": 376_832,
}


@dataclass
class FakeDomain:
    """A domain as the binding has it."""

    name_: str = "crab-1"
    number: int = 7

    def name(self) -> str:
        return self.name_

    def UUIDString(self) -> str:
        return f"uuid of {self.name_}"

    def ID(self) -> int:
        return self.number


@dataclass
class FakeConnection:
    """Statistics of active domains in full, and of all their states."""

    active: dict[str, Any] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    number: int = 7

    def getAllDomainStats(self, wanted: int, flags: int) -> list[tuple[FakeDomain, dict[str, Any]]]:
        # Nothing here may wait behind a job.
        assert flags & libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        told = self.active if flags & libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE else self.states
        return [(FakeDomain(number=self.number), told)] if told else []


def read(told: dict[str, Any], **options: Any) -> Vitals:
    (vitals,) = read_vitals(FakeConnection(active=told, states=RUNNING, **options))
    return vitals


def test_a_clone_in_use_is_told_in_full() -> None:
    assert read(TOLD) == Vitals(
        name="crab-1",
        state=DomainState.RUNNING,
        life="7",
        balloon=Balloon(Size(2_004_000 * KIB), Size(1_500_000 * KIB), 1_795_168_790.0),
        resident=Size(800_000 * KIB),
        cpu_s=61.5,
        disk=Size(78_905_344),
    )


def test_without_a_balloon_driver_there_is_no_memory_to_tell() -> None:
    for missing in ("balloon.available", "balloon.usable", "balloon.last-update"):
        assert read({key: value for key, value in TOLD.items() if key != missing}).balloon is None
    # As it is until the driver told for the first time.
    assert read(TOLD | {"balloon.last-update": 0}).balloon is None


def test_a_balloon_that_tells_nonsense_is_bounded_by_what_there_is() -> None:
    balloon = read(TOLD | {"balloon.usable": 99_000_000}).balloon
    assert balloon is not None and balloon.available == balloon.total


def test_a_job_under_way_leaves_the_state() -> None:
    assert read(dict(RUNNING)) == Vitals("crab-1", DomainState.RUNNING, life="7")


def test_why_it_is_paused_or_off_is_told_by_the_state_it_belongs_to() -> None:
    paused = {"state.state": libvirt.VIR_DOMAIN_PAUSED, "state.reason": libvirt.VIR_DOMAIN_PAUSED_IOERROR}
    assert read(TOLD | paused).reason is Reason.IO_ERROR
    off = {"state.state": libvirt.VIR_DOMAIN_SHUTOFF, "state.reason": libvirt.VIR_DOMAIN_SHUTOFF_CRASHED}
    (vitals,) = read_vitals(FakeConnection(states=off, number=-1))
    assert (vitals.state, vitals.reason, vitals.life) == (DomainState.SHUT_OFF, Reason.CRASHED, "")
    new = {"state.state": libvirt.VIR_DOMAIN_PAUSED, "state.reason": 999}
    assert read(TOLD | new).reason is Reason.OTHER
