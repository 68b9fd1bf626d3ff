"""The memory of a remote host, as far as libvirt tells it; its pressure and its OOM kills nobody tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import libvirt

from moltfleet.model.load import HostLoad
from moltfleet.model.size import Size

if TYPE_CHECKING:
    from moltfleet.adapters.libvirt.gate import Gate

_REMOTE = "the host is remote, and libvirt does not tell it"


class RemoteMeter:
    """The ``Meter`` port over a libvirt connection."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def measure(self) -> HostLoad:
        """See the port."""
        return self._gate.call("measure the host", _read, repeatable=True)

    def peaks(self) -> Mapping[str, Size]:
        """See the port; libvirt does not tell it."""
        return {}

    def remember(self) -> None:
        """See the port; there is nothing to remember."""


def _read(connection: Any) -> HostLoad:
    try:
        measured = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    except libvirt.libvirtError:
        total, available, origin = Size.of_mib(connection.getInfo()[1]), None, "libvirt node information"
    else:
        total, available, origin = _size(measured["total"]), _available(measured), "libvirt node memory statistics"
    return HostLoad(
        total=total,
        total_origin=origin,
        available=available,
        available_origin=_REMOTE if available is None else f"free, buffers and cache, {origin}",
        pressure_origin=_REMOTE,
        oom_origin=_REMOTE,
    )


def _available(measured: Mapping[str, int]) -> Size | None:
    """Add up what the kernel can give: a little more than MemAvailable, which libvirt does not tell."""
    if "free" not in measured:
        return None
    return _size(measured["free"] + measured.get("buffers", 0) + measured.get("cached", 0))


def _size(kib: int) -> Size:
    return Size(int(kib) * 1024)
