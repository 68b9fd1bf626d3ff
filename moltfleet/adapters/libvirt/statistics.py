"""What domains do and use, from libvirt's bulk statistics: one call for all of them, which waits behind no job."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import libvirt

from moltfleet.adapters.libvirt.states import REASONS, STATES
from moltfleet.model.domain import DomainState
from moltfleet.model.load import DomainUse
from moltfleet.model.size import Size
from moltfleet.model.vitals import Balloon, Reason, Vitals

_WANTED = libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_BALLOON | libvirt.VIR_DOMAIN_STATS_VCPU
_VITAL = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
# Active is what libvirt holds a process for: that of a crashed guest whose memory is preserved counts as well.
_FLAGS = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT


def read_states(connection: Any) -> dict[str, DomainState]:
    """Look up the states of all domains, active or not, by UUID."""
    flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    told = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, flags)
    return {domain.UUIDString(): _state(measured) for domain, measured in told}


def _state(measured: Mapping[str, Any]) -> DomainState:
    return STATES.get(int(measured["state.state"]), DomainState.UNKNOWN)


def read_use(connection: Any, *, emulated: bool) -> tuple[DomainUse, ...]:
    """Measure all active domains; ``emulated`` is what the host does, as statistics do not tell a domain's type."""
    return tuple(_read_all(connection, emulated=emulated))


def _read_all(connection: Any, *, emulated: bool) -> Iterator[DomainUse]:
    for domain, measured in connection.getAllDomainStats(_WANTED, _FLAGS):
        # Some drivers know no balloon; and what has ended since the call counts no more.
        with contextlib.suppress(libvirt.libvirtError):
            yield _read(domain, measured, emulated=emulated)


def _read(domain: Any, measured: Mapping[str, Any], *, emulated: bool) -> DomainUse:
    if "balloon.maximum" in measured and "vcpu.current" in measured:
        maximum, vcpus = int(measured["balloon.maximum"]), int(measured["vcpu.current"])
    else:
        _, maximum, _, vcpus, _ = domain.info()
    resident = measured.get("balloon.rss")
    return DomainUse(
        name=domain.name(),
        state=_state(measured),
        memory=Size(maximum * 1024),
        vcpus=vcpus,
        resident=None if resident is None else Size(int(resident) * 1024),
        emulated=emulated,
    )


def read_vitals(connection: Any) -> tuple[Vitals, ...]:
    """Look at all domains once: at the states of all, which asks no QEMU, then at what the active ones use."""
    flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    all_states = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, flags)
    found = {domain.UUIDString(): _vitals(domain, told) for domain, told in all_states}
    active = connection.getAllDomainStats(_VITAL, _FLAGS)
    found |= {domain.UUIDString(): _vitals(domain, told) for domain, told in active}
    return tuple(found.values())


def _vitals(domain: Any, told: Mapping[str, Any]) -> Vitals:
    state, number = _state(told), domain.ID()
    resident, cpu_ns = told.get("balloon.rss"), told.get("cpu.time")
    # libvirt fills in what QEMU says is allocated; of a driver that does not, the file's length is no measure.
    disk = told.get("block.0.physical")
    return Vitals(
        name=domain.name(),
        state=state,
        reason=REASONS.get(state, {}).get(int(told.get("state.reason", 0)), Reason.OTHER),
        # libvirt numbers whatever it starts, and goes on counting after its own restart.
        life="" if number < 0 else str(number),
        balloon=_balloon(told),
        resident=None if resident is None else Size(int(resident) * 1024),
        cpu_s=None if cpu_ns is None else int(cpu_ns) / 1e9,
        disk=None if disk is None else Size(int(disk)),
    )


def _balloon(told: Mapping[str, Any]) -> Balloon | None:
    """Read what the balloon driver told; None without a driver, and before it told for the first time."""
    total, usable, at = (told.get(f"balloon.{key}") for key in ("available", "usable", "last-update"))
    if not total or usable is None or not at:
        return None
    return Balloon(Size(int(total) * 1024), Size(min(int(usable), int(total)) * 1024), float(at))
