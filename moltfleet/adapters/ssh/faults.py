"""What can go wrong between this machine and a guest, in this project's words."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from moltfleet.model.errors import (
    DeadlinePassed,
    GuestUnreachable,
    HostKeyChanged,
    LoginRefused,
    WrongState,
)
from moltfleet.model.names import printable, printable_lines

if TYPE_CHECKING:
    from moltfleet.model.domain import Endpoint


def unreachable(endpoint: Endpoint, reason: BaseException) -> GuestUnreachable:
    """Nothing answers at the guest's address."""
    place = f"{endpoint.host}:{endpoint.port}"
    refused = isinstance(reason, ConnectionRefusedError)
    fact = f"refuses connections on {place}" if refused else f"does not answer on {place}"
    return GuestUnreachable(
        f"Guest {endpoint.name!r} {fact}",
        details=_said(reason),
        hint="It may still be booting, or its SSH server is down: `moltfleet status` shows the domain's state.",
    )


def not_ssh(endpoint: Endpoint, reason: BaseException | None) -> GuestUnreachable:
    """The handshake broke: garbage, a dropped connection, no common algorithm."""
    dropped = reason is None or isinstance(reason, (EOFError, OSError))
    fact = "dropped the SSH connection before the login" if dropped else "does not complete an SSH handshake"
    return GuestUnreachable(
        f"Guest {endpoint.name!r} {fact}",
        details=_said(reason),
        hint="Its SSH server may be overloaded or just starting; the details are shown with -v.",
    )


def no_way(endpoint: Endpoint, reason: BaseException | None) -> GuestUnreachable:
    """Nothing came back through the host of a remote libvirt."""
    return GuestUnreachable(
        f"Guest {endpoint.name!r} does not answer through the host of the libvirt URI",
        details=_said(reason),
        hint="It may still be booting. Else: ssh to that host has to work without a question (an agent, or a key "
        "without a passphrase), and its sshd has to allow TCP forwarding.",
    )


def too_slow(endpoint: Endpoint, step: str, timeout_s: float) -> DeadlinePassed:
    """The login's deadline passed during ``step``."""
    return DeadlinePassed(
        f"Guest {endpoint.name!r} did not {step} within {timeout_s:.3g} s",
        hint="An emulated or overloaded guest is slow; a hung one stays silent: `moltfleet status` tells them apart.",
    )


def refused(endpoint: Endpoint, key: Path) -> LoginRefused:
    """The key was not accepted."""
    return LoginRefused(
        f"Guest {endpoint.name!r} refused the fleet key for user {endpoint.user!r}",
        details=f"offered key: {key}",
        hint="It was made by somebody with another key, or its authorized_keys was changed; "
        f"`moltfleet molt {endpoint.name}` brings back what it was made with.",
    )


def changed(endpoint: Endpoint, shown: bytes | None) -> HostKeyChanged:
    """Another host key than the pinned one; ``shown`` is None when the server has none of a pinned type."""
    pinned = ", ".join(fingerprint(base64.b64decode(line.split()[1])) for line in endpoint.host_keys)
    found = fingerprint(shown) if shown else "no key of a pinned type"
    return HostKeyChanged(
        f"Guest {endpoint.name!r} shows a host key other than the pinned one",
        details=f"shown: {found}\npinned: {pinned}",
        hint=f"Another machine answers at {endpoint.host}, or something in the guest replaced its key; nothing was "
        f"sent to it. `moltfleet molt {endpoint.name}` brings the pinned key back.",
    )


def unpinned(endpoint: Endpoint, reason: BaseException | None = None) -> WrongState:
    """There is no host key to check against, so there is no login."""
    return WrongState(
        f"Guest {endpoint.name!r} has no usable pinned host key",
        details=_said(reason) if reason else None,
        hint="Its metadata is incomplete: `moltfleet doctor` shows what is missing.",
    )


def lost(name: str, reason: BaseException | None) -> GuestUnreachable:
    """An open session broke."""
    return GuestUnreachable(
        f"Guest {name!r} closed the SSH connection",
        details=_said(reason),
        hint="It may have rebooted, crashed or been molted meanwhile: `moltfleet status`.",
    )


def unfinished(name: str, timeout_s: float, output: bytes | bytearray) -> DeadlinePassed:
    """A command's deadline passed; ``output`` is what it had said until then."""
    said = printable_lines(output[-4000:].decode("utf-8", "replace"))
    return DeadlinePassed(
        f"Command in guest {name!r} did not finish within {timeout_s:.3g} s",
        details=f"its output so far:\n{said}" if said else None,
        hint="It may still be running in the guest.",
    )


def silent(name: str, seconds: float) -> DeadlinePassed:
    """A copy stands still."""
    return DeadlinePassed(f"Guest {name!r} sent nothing for {seconds:.3g} s during a copy")


def fingerprint(blob: bytes) -> str:
    """Say a public key as OpenSSH does."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def _said(reason: BaseException | None) -> str:
    if reason is None:
        return "connection closed"
    return printable(f"{type(reason).__name__}: {reason}", limit=400)
