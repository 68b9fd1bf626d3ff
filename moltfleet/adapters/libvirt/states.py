"""libvirt's domain states, and its reasons for them, by their numbers."""

from __future__ import annotations

from collections.abc import Mapping

import libvirt

from moltfleet.model.domain import DomainState
from moltfleet.model.vitals import Reason

STATES: Mapping[int, DomainState] = {
    libvirt.VIR_DOMAIN_RUNNING: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: DomainState.BLOCKED,
    libvirt.VIR_DOMAIN_PAUSED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: DomainState.SHUTTING_DOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: DomainState.SHUT_OFF,
    libvirt.VIR_DOMAIN_CRASHED: DomainState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: DomainState.SUSPENDED,
}
# By state, as the same number means something else in each.
REASONS: Mapping[DomainState, Mapping[int, Reason]] = {
    DomainState.PAUSED: {
        libvirt.VIR_DOMAIN_PAUSED_USER: Reason.BY_HAND,
        libvirt.VIR_DOMAIN_PAUSED_IOERROR: Reason.IO_ERROR,
        libvirt.VIR_DOMAIN_PAUSED_CRASHED: Reason.CRASHED,
    },
    DomainState.SHUT_OFF: {
        libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: Reason.POWERED_OFF,
        libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: Reason.CUT,
        libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: Reason.CRASHED,
        libvirt.VIR_DOMAIN_SHUTOFF_FAILED: Reason.CRASHED,
    },
    DomainState.CRASHED: {libvirt.VIR_DOMAIN_CRASHED_PANICKED: Reason.CRASHED},
}
