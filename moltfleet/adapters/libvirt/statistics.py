"""What domains do and use, from libvirt's bulk statistics: one call for all of them, which waits behind no job."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import libvirt

from moltfleet.adapters.libvirt.states import STATES
from moltfleet.model.domain import DomainState
from moltfleet.model.load import DomainUse
from moltfleet.model.size import Size

_WANTED = libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_BALLOON | libvirt.VIR_DOMAIN_STATS_VCPU
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
