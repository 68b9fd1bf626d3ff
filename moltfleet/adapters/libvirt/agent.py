"""The guest agent through libvirt. It belongs to the guest: whatever it says is bounded, checked, and may be a lie."""

from __future__ import annotations

import base64
import binascii
import json
import time
from dataclasses import dataclass
from typing import Any

import libvirt
import libvirt_qemu

from moltfleet.model.domain import CommandResult
from moltfleet.model.errors import DeadlinePassed, GuestUnreachable

# libvirt itself stops at 10 MiB; nothing that we ask for is near this.
_LARGEST_REPLY = 1 << 20
_POLL_S = (0.005, 0.01, 0.02, 0.04)
# An agent that runs is connected 0.1 s after a restore. One that is not there is waited for as long as this, or as this
# share of the time that its program may take.
_LEAST_PATIENCE_S = 2.0
_PATIENCE_SHARE = 8


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A program to run by agent; ``limit`` cuts each output, in bytes."""

    argv: tuple[str, ...]
    input: bytes
    timeout_s: float
    limit: int


def ask(domain: Any, request: dict[str, Any], *, timeout_s: int) -> Any:
    """Send one agent command and return its ``return`` value. Raises: libvirtError, GuestUnreachable (bad reply)."""
    reply = libvirt_qemu.qemuAgentCommand(domain, json.dumps(request), timeout_s, 0)
    if len(reply) > _LARGEST_REPLY:
        raise GuestUnreachable("Guest agent's reply is too long")
    try:
        return json.loads(reply)["return"]
    except (ValueError, KeyError, TypeError) as error:
        raise GuestUnreachable("Guest agent's reply cannot be read") from error


def run(domain: Any, request: ExecRequest) -> CommandResult:
    """Run a program and wait for it, polling at first every 5 ms: a short script is done in 30 to 100 ms."""
    deadline = time.monotonic() + request.timeout_s
    arguments: dict[str, Any] = {"path": request.argv[0], "arg": list(request.argv[1:]), "capture-output": True}
    if request.input:
        arguments["input-data"] = base64.b64encode(request.input).decode()
    patience = time.monotonic() + max(_LEAST_PATIENCE_S, request.timeout_s / _PATIENCE_SHARE)
    answer = _ask_until_connected(domain, {"execute": "guest-exec", "arguments": arguments}, min(deadline, patience))
    pid = answer.get("pid") if isinstance(answer, dict) else None
    if not isinstance(pid, int):
        raise GuestUnreachable("Guest agent started no process")
    for attempt in range(1_000_000):
        status = ask(domain, {"execute": "guest-exec-status", "arguments": {"pid": pid}}, timeout_s=5)
        if not isinstance(status, dict):
            raise GuestUnreachable("Guest agent's reply cannot be read")
        if status.get("exited"):
            return _result(status, request.limit)
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_S[min(attempt, len(_POLL_S) - 1)])
    raise DeadlinePassed(f"Program {request.argv[0]!r} did not end in the guest within {request.timeout_s:.0f} s")


def clock(domain: Any) -> float:
    """Read the guest's clock, in seconds since the epoch; no process is started for it, so it is read at once."""
    nanoseconds = ask(domain, {"execute": "guest-get-time"}, timeout_s=5)
    if not isinstance(nanoseconds, int):
        raise GuestUnreachable("Guest agent's reply cannot be read")
    return nanoseconds / 1e9


def _ask_until_connected(domain: Any, request: dict[str, Any], deadline: float) -> Any:
    # Right after a restore the channel answers within 60 to 130 ms; until then code 86 (measured on 9.0).
    while True:
        try:
            return ask(domain, request, timeout_s=5)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_AGENT_UNRESPONSIVE or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _result(status: dict[str, Any], limit: int) -> CommandResult:
    code = status.get("exitcode")
    signal = status.get("signal")
    exit_code = code if isinstance(code, int) else 128 + signal if isinstance(signal, int) else 1
    return CommandResult(exit_code, _decode(status, "out-data", limit), _decode(status, "err-data", limit))


def _decode(status: dict[str, Any], key: str, limit: int) -> bytes:
    text = status.get(key, "")
    if not isinstance(text, str):
        return b""
    try:
        return base64.b64decode(text)[:limit]
    except binascii.Error:
        return b""


def addresses(domain: Any) -> tuple[str, ...]:
    """IPv4 addresses by lease, else by agent; loopback left out."""
    for source in (
        libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
        libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
        libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP,
    ):
        found = _addresses_from(domain, source)
        if found:
            return found
    return ()


def _addresses_from(domain: Any, source: int) -> tuple[str, ...]:
    try:
        interfaces = domain.interfaceAddresses(source, 0) or {}
    except libvirt.libvirtError:
        return ()
    return tuple(
        address["addr"]
        for interface in interfaces.values()
        for address in interface.get("addrs") or ()
        if address["type"] == libvirt.VIR_IP_ADDR_TYPE_IPV4 and not address["addr"].startswith("127.")
    )
