"""Host facts: what libvirt says, corrected where it is known to be wrong (KVM without CPU support, hot-plugged RAM)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import libvirt

from moltfleet.model.domain import HostFacts, VirtType
from moltfleet.model.size import Size

# Beyond a twentieth, the two speak of different memory.
_DISAGREES = 20


@dataclass(frozen=True, slots=True)
class LocalMachine:
    """What this machine says of itself; used only when the URI means this machine."""

    memory: Size
    cpus: int
    has_virtualization_flag: bool
    kernel: str
    boot_id: str = ""


def is_local(uri: str) -> bool:
    """Whether a libvirt URI means this machine."""
    return urlsplit(uri).netloc == "" and "+" not in uri.split(":", 1)[0]


def is_session(uri: str) -> bool:
    """Whether a URI means the unprivileged libvirt of a user."""
    return urlsplit(uri).path.rstrip("/").endswith("/session")


def read(connection: Any, *, uri: str, local: LocalMachine | None, wanted: str) -> HostFacts:
    """Read the facts over ``connection``; ``wanted`` is "auto", "kvm" or "qemu"."""
    virt_type, reason = _virt_type(connection, local, wanted)
    memory, origin = _memory(connection, local)
    return HostFacts(
        uri=uri,
        is_local=local is not None,
        is_session=is_session(uri),
        virt_type=virt_type,
        virt_reason=reason,
        libvirt_version=connection.getLibVersion(),
        qemu_version=_qemu_version(connection),
        memory=memory,
        memory_origin=origin,
        cpus=local.cpus if local else connection.getInfo()[2],
        name=_name(connection),
        memory_note="" if local is None else _disagreement(connection, local.memory),
        boot_id=local.boot_id if local else "",
    )


def _name(connection: Any) -> str:
    try:
        return str(connection.getHostname())
    except libvirt.libvirtError:  # the host cannot resolve its own name
        return ""


def _qemu_version(connection: Any) -> int:
    try:
        return int(connection.getVersion())
    except libvirt.libvirtError:  # the test driver of old versions has none
        return 0


def _virt_type(connection: Any, local: LocalMachine | None, wanted: str) -> tuple[VirtType, str]:
    if wanted != "auto":
        return VirtType(wanted), "virt_type in the configuration"
    try:
        connection.getDomainCapabilities(None, "x86_64", "q35", "kvm", 0)
    except libvirt.libvirtError:
        return VirtType.QEMU, "libvirt offers no KVM on this host"
    # /dev/kvm can exist on a host whose CPU cannot run a stock kernel: ask the CPU as well.
    if local is not None and not local.has_virtualization_flag:
        return VirtType.QEMU, "the CPU shows neither vmx nor svm"
    return VirtType.KVM, "libvirt offers KVM"


def _memory(connection: Any, local: LocalMachine | None) -> tuple[Size, str]:
    # libvirt's node info was seen reporting 7.3 of 23.5 GiB on a machine with hot-plugged memory.
    if local is not None:
        return local.memory, "/proc/meminfo"
    return _told_by_libvirt(connection)


def _told_by_libvirt(connection: Any) -> tuple[Size, str]:
    try:
        stats = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
        return Size(int(stats["total"]) * 1024), "libvirt node memory statistics"
    except libvirt.libvirtError:
        return Size.of_mib(connection.getInfo()[1]), "libvirt node information"


def _disagreement(connection: Any, counted: Size) -> str:
    """Say that libvirt tells another amount than the kernel; a few percent are the kernel's own."""
    told, origin = _told_by_libvirt(connection)
    if abs(told.bytes - counted.bytes) <= counted.bytes // _DISAGREES:
        return ""
    return f"{counted} of memory by /proc/meminfo, which counts, and {told} by {origin}"
