"""Reads an SSH server's identification line without logging in, so that waiting costs the guest no cryptography."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

from moltfleet.adapters.sshjump import straight

if TYPE_CHECKING:
    from moltfleet.adapters.sshjump import Dial

# RFC 4253 §4.2: the identification line has at most 255 characters, with CR LF.
LONGEST_LINE = 255


def read_banner(host: str, port: int, *, timeout_s: float, dial: Dial = straight) -> str | None:
    """Return the identification line; None when nothing, or something else than SSH, answers in time."""
    deadline = time.monotonic() + timeout_s
    try:
        with dial(host, port, max(timeout_s, 0.001)) as connection:
            received = _read_line(connection, deadline)
    except OSError:
        return None
    return identification(received)


def identification(received: bytes) -> str | None:
    """Return the identification line that ``received`` starts with; None unless it is complete, SSH and printable."""
    line, newline, _ = received[:LONGEST_LINE].partition(b"\n")
    text = line.removesuffix(b"\r").decode("ascii", "replace")
    is_ssh = newline and text.startswith("SSH-") and text.isascii() and text.isprintable()
    return text if is_ssh else None


def _read_line(connection: socket.socket, deadline: float) -> bytes:
    received = b""
    while b"\n" not in received and len(received) < LONGEST_LINE:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            break
        connection.settimeout(remaining)
        chunk = connection.recv(LONGEST_LINE - len(received))
        if not chunk:
            break
        received += chunk
    # sshd logs a reset as an error; an orderly end of our side is "connection closed".
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
    return received
