"""The way to guests of another host: through it, by the user's own ssh, as libvirt's qemu+ssh goes there."""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from moltfleet.adapters.openssh import quoted
from moltfleet.adapters.run import converse
from moltfleet.model.errors import InvalidInput, ToolFailed

# Host, port and seconds to a connected socket. Raises: OSError.
Dial = Callable[[str, int, float], socket.socket]

_SSH_TRANSPORTS = ("ssh", "libssh", "libssh2")
_JUMP = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.@:%\[\]-]*")


def way_to_host(uri: str) -> tuple[str, ...] | None:
    """Return the words after ``ssh`` that lead to the host of ``uri``.

    Empty when it is this machine; None when the URI names another one and no way there by ssh. Raises: InvalidInput.
    """
    parts = urlsplit(uri)
    if not parts.netloc:
        return ()
    if parts.scheme.partition("+")[2] not in _SSH_TRANSPORTS:
        return None
    if not _JUMP.fullmatch(parts.netloc):
        raise InvalidInput("The libvirt URI names a host that cannot stand in ssh's configuration")
    key = parse_qs(parts.query).get("keyfile")
    # Not -i, which looks for the file before it expands "%".
    identity = ("-o", f"IdentityFile={quoted(Path(key[0]))}") if key else ()
    return (*identity, f"ssh://{parts.netloc}")


def proxy_command(way: tuple[str, ...]) -> str:
    """Return the setting by which another ssh goes that way. Raises: InvalidInput."""
    *options, host = way
    # The ssh that reads this expands "%" once more.
    command = shlex.join(("ssh", *options)).replace("%", "%%")
    if not command.isprintable():
        raise InvalidInput("The libvirt URI names a key file that cannot stand in ssh's configuration")
    return f"ProxyCommand={command} -W [%h]:%p {host.replace('%', '%%')}"


@dataclass(frozen=True, slots=True)
class Jump:
    """Dials guests through the host that ``way`` leads to; nobody is asked for a password or passphrase."""

    way: tuple[str, ...]
    connect_timeout_s: int = 15

    def __call__(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """See :data:`Dial`. A host that cannot be reached shows as a connection that ends at once."""
        limit = max(1, min(self.connect_timeout_s, int(timeout_s)))
        options = ("-o", "BatchMode=yes", "-o", f"ConnectTimeout={limit}", "-o", "ForwardAgent=no")
        try:
            connected = converse(("ssh", *options, "-W", f"[{host}]:{port}", *self.way))
        except ToolFailed as error:
            raise OSError(error.brief) from error
        connected.settimeout(timeout_s)
        return connected


def dial_for(uri: str) -> Dial:
    """Return how guests of ``uri`` are dialled: through its host where ssh leads there, else straight.

    Raises: InvalidInput.
    """
    way = way_to_host(uri)
    return Jump(way) if way else straight


def straight(host: str, port: int, timeout_s: float) -> socket.socket:
    """See :data:`Dial`: from this machine."""
    return socket.create_connection((host, port), timeout=timeout_s)
