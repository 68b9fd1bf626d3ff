"""libvirt's errors as the fleet's own, by error code; what libvirt said stays in the details."""

from __future__ import annotations

import libvirt

from moltfleet.model.errors import (
    AlreadyExists,
    AlreadyRunning,
    DeadlinePassed,
    GuestUnreachable,
    HostUnavailable,
    InUse,
    MoltfleetError,
    NoCapacity,
    NoSpace,
    NotFound,
    ToolFailed,
    WrongState,
)

_NO_SPACE = ("No space left on device", "Disk quota exceeded", "not enough free space")
_RUNNING = ("is already active", "is already running")
_NO_MEMORY = ("cannot set up guest memory", "Cannot allocate memory")


def translate(error: libvirt.libvirtError, *, what: str) -> MoltfleetError:
    """Build our error for what libvirt said while doing ``what``."""
    said = str(error)
    brief = f"libvirt failed to {what}: {first_line(said)}"
    if any(text in said for text in _NO_SPACE):
        return NoSpace(
            f"Storage is full, libvirt failed to {what}",
            details=said,
            hint="Free space in the pool: 'moltfleet delete' clones, or let shed layers go with 'moltfleet cleanup'.",
        )
    if any(text in said for text in _NO_MEMORY):
        return NoCapacity(f"Host has not enough memory to {what}", details=said, hint="See 'moltfleet plan'.")
    kind = _kind(error.get_error_code(), said)
    if kind is HostUnavailable:
        return HostUnavailable(
            f"No permission to {what}", details=said, hint="Members of group libvirt may; see 'id' and libvirtd.conf."
        )
    return kind(brief, details=said)


def _kind(code: int, said: str) -> type[MoltfleetError]:
    # Defining a domain under a taken name is the general "operation failed" (measured on 9.0).
    if code == libvirt.VIR_ERR_OPERATION_FAILED and "already exists" in said:
        return AlreadyExists
    if code == libvirt.VIR_ERR_OPERATION_INVALID and any(text in said for text in _RUNNING):
        return AlreadyRunning
    return _BY_CODE.get(code, ToolFailed)


def first_line(said: str) -> str:
    """The first line of a libvirt message without its trailing detail."""
    return said.splitlines()[0][:300] if said else "unknown error"


_BY_CODE: dict[int, type[MoltfleetError]] = {
    libvirt.VIR_ERR_NO_DOMAIN: NotFound,
    libvirt.VIR_ERR_NO_STORAGE_POOL: NotFound,
    libvirt.VIR_ERR_NO_STORAGE_VOL: NotFound,
    libvirt.VIR_ERR_NO_NETWORK: NotFound,
    libvirt.VIR_ERR_DOM_EXIST: AlreadyExists,
    libvirt.VIR_ERR_STORAGE_VOL_EXIST: AlreadyExists,
    libvirt.VIR_ERR_NETWORK_EXIST: AlreadyExists,
    libvirt.VIR_ERR_OPERATION_INVALID: WrongState,
    libvirt.VIR_ERR_OPERATION_TIMEOUT: DeadlinePassed,
    libvirt.VIR_ERR_RESOURCE_BUSY: InUse,
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE: GuestUnreachable,
    libvirt.VIR_ERR_AGENT_UNSYNCED: GuestUnreachable,
    libvirt.VIR_ERR_ACCESS_DENIED: HostUnavailable,
    libvirt.VIR_ERR_AUTH_FAILED: HostUnavailable,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE: HostUnavailable,
}
