"""paramiko's transport, hardened against a hostile server: bounded packets, bounded talk before the login.

It also keeps what paramiko drops: the signal that ended a command.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Sequence
from typing import Any

import paramiko
from paramiko.channel import Channel
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA, MSG_CHANNEL_REQUEST
from paramiko.message import Message
from paramiko.packet import Packetizer

# OpenSSH's own PACKET_MAX_SIZE; paramiko would allocate whatever length the server announces.
LARGEST_PACKET = 256 * 1024
# A handshake takes about 3 KiB; paramiko would collect an endless first line.
LARGEST_HANDSHAKE = 256 * 1024
# Twice paramiko's default window.
LARGEST_BUFFER = 4 * 2**20

# One order for every guest, cheapest first. Measured with sshd 9.2 under qemu-user (TCG): the three elliptic key
# exchanges differ by less than the noise (47 to 64 ms), the post-quantum ones cost more on both sides and protect
# nothing on a bridge of this host; AES-GCM moves 45 MB/s at half of paramiko's CPU time, AES-CTR 34 MB/s.
_KEX = ("curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384")
_CIPHERS = ("aes128-gcm@openssh.com", "aes128-ctr", "aes256-gcm@openssh.com", "aes256-ctr")
_MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
# The signatures that an RSA host key makes; "ssh-rsa" itself would mean SHA-1.
_SIGNATURES = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
_PARAMIKO_HANDLERS: dict[int, Any] = paramiko.Transport._channel_handler_table  # type: ignore[attr-defined]


class BoundedSocket(socket.socket):
    """A connected socket that gives up when the other side talks too much before the login."""

    budget: int | None = LARGEST_HANDSHAKE

    @classmethod
    def adopt(cls, connected: socket.socket) -> BoundedSocket:
        """Take over the descriptor of ``connected``."""
        return cls(connected.family, connected.type, connected.proto, fileno=connected.detach())

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive as usual. Raises: ConnectionAbortedError past the budget."""
        data = super().recv(bufsize, flags)
        if self.budget is not None:
            self.budget -= len(data)
            if self.budget < 0:
                raise ConnectionAbortedError(f"more than {LARGEST_HANDSHAKE} bytes before the login")
        return data


class _BoundedPacketizer(Packetizer):
    def read_all(self, n: int, check_rekey: bool = False) -> bytes:  # noqa: FBT001 (paramiko's signature)
        if n > LARGEST_PACKET:
            raise paramiko.SSHException(f"packet of {n} bytes announced")
        return super().read_all(n, check_rekey)

    def start_handshake(self, timeout: float) -> None:
        """Start no timer: its thread would outlive a failed login and delay the end of the process."""


def _handle_request(channel: Channel, message: Message) -> None:
    """Note an ``exit-signal`` on the way to paramiko's own handler, which forgets it."""
    start = message.packet.tell()
    if message.get_text() == "exit-signal" and isinstance(channel.transport, GuestTransport):
        message.get_boolean()
        channel.transport.signals[channel.chanid] = message.get_text()
    message.packet.seek(start)
    _PARAMIKO_HANDLERS[MSG_CHANNEL_REQUEST](channel, message)


def _bounded(message_type: int) -> Callable[[Channel, Message], None]:
    """Wrap paramiko's handler for data, which buffers more than the window that the server was given."""

    def handle(channel: Channel, message: Message) -> None:
        if len(channel.in_buffer) + len(channel.in_stderr_buffer) > LARGEST_BUFFER:
            raise paramiko.SSHException("more data than the channel's window allows")
        _PARAMIKO_HANDLERS[message_type](channel, message)

    return handle


class GuestTransport(paramiko.Transport):
    """A client transport; ``signals`` maps channel numbers to the signal that ended their command."""

    _channel_handler_table = {  # noqa: RUF012 (paramiko's)
        **_PARAMIKO_HANDLERS,
        MSG_CHANNEL_REQUEST: _handle_request,
        MSG_CHANNEL_DATA: _bounded(MSG_CHANNEL_DATA),
        MSG_CHANNEL_EXTENDED_DATA: _bounded(MSG_CHANNEL_EXTENDED_DATA),
    }

    def __init__(self, connected: BoundedSocket) -> None:
        self.bounded = connected
        self.signals: dict[int, str] = {}
        super().__init__(connected, packetizer_class=_BoundedPacketizer)

    def get_exception(self) -> Exception | None:
        """Return what broke the transport, as an SSHException when a hostile packet tripped paramiko's parser."""
        error = super().get_exception()
        if error is None or isinstance(error, (paramiko.SSHException, OSError, EOFError)):
            return error
        return paramiko.SSHException(f"{type(error).__name__}: {error}")

    def prefer(self, key_types: frozenset[str]) -> None:
        """Negotiate only host keys of these types, and the algorithms above.

        Raises: ValueError when paramiko knows none of them.
        """
        options = self.get_security_options()
        signatures = {signature for kind in key_types for signature in _SIGNATURES.get(kind, (kind,))}
        options.key_types = _required([name for name in options.key_types if name in signatures], key_types)
        options.kex = _required([name for name in _KEX if name in options.kex], _KEX)
        options.ciphers = _required([name for name in _CIPHERS if name in options.ciphers], _CIPHERS)
        options.digests = _required([name for name in _MACS if name in options.digests], _MACS)

    def abandon(self) -> None:
        """Drop the connection now, from any thread, whatever this side's threads wait for."""
        self.close()
        self.bounded.close()


def _required(chosen: Sequence[str], wanted: Collection[str]) -> Sequence[str]:
    if not chosen:
        raise ValueError(f"paramiko knows none of {', '.join(sorted(wanted))}")
    return tuple(chosen)
