"""Opens SSH logins to guests: the pinned host key or nothing, the one fleet key or nothing, all before a deadline."""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko

from moltfleet.adapters.ssh import faults
from moltfleet.adapters.ssh.session import SshSession
from moltfleet.adapters.ssh.transport import BoundedSocket, GuestTransport
from moltfleet.adapters.sshjump import straight
from moltfleet.model.errors import ToolFailed
from moltfleet.model.names import printable

if TYPE_CHECKING:
    from moltfleet.adapters.sshjump import Dial
    from moltfleet.model.domain import Endpoint

# How long sent bytes may stay unacknowledged before the kernel gives the connection up: it ends a wait for a paused
# or vanished guest, which TCP by itself continues for a quarter of an hour (tcp(7), TCP_USER_TIMEOUT).
UNACKNOWLEDGED_S = 60
KEEPALIVE_S = 15


@contextlib.contextmanager
def login(endpoint: Endpoint, key_path: Path, *, timeout_s: float, dial: Dial = straight) -> Iterator[SshSession]:
    """Log in to ``endpoint`` with the key at ``key_path``; see the port."""
    # paramiko logs every refused login with a traceback; what matters of it becomes an error's details.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    attempt = _Attempt(endpoint, key_path, timeout_s, time.monotonic() + timeout_s, dial)
    session = SshSession(attempt.connect(), endpoint.name)
    try:
        yield session
    finally:
        session.close()


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One try to log in; every step takes what is left until ``deadline``."""

    endpoint: Endpoint
    key_path: Path
    timeout_s: float
    deadline: float
    dial: Dial

    def connect(self) -> GuestTransport:
        """Return an authenticated transport."""
        pinned = pinned_keys(self.endpoint)
        key = _load_key(self.key_path)
        transport = GuestTransport(self._open_socket())
        try:
            self._negotiate(transport, frozenset(pinned.values()))
            self._check_host_key(transport, frozenset(pinned))
            self._authenticate(transport, key)
        except BaseException:
            transport.abandon()
            raise
        transport.bounded.budget = None
        transport.set_keepalive(KEEPALIVE_S)
        return transport

    def _open_socket(self) -> BoundedSocket:
        try:
            connected = self.dial(self.endpoint.host, self.endpoint.port, self._remaining())
        except TimeoutError as error:
            raise faults.too_slow(self.endpoint, "accept a connection", self.timeout_s) from error
        except OSError as error:
            raise faults.unreachable(self.endpoint, error) from error
        if connected.family != socket.AF_UNIX:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_S * 1000)
        return BoundedSocket.adopt(connected)

    def _negotiate(self, transport: GuestTransport, key_types: frozenset[str]) -> None:
        try:
            transport.prefer(key_types)
        except ValueError as error:
            raise faults.unpinned(self.endpoint, error) from error
        # Ours is the one deadline; paramiko's own banner timer only must not come first.
        transport.banner_timeout = self._remaining()
        done = threading.Event()
        transport.start_client(event=done)
        if not done.wait(self._remaining()):
            raise faults.too_slow(self.endpoint, "complete an SSH handshake", self.timeout_s)
        if not transport.is_active():
            raise self._broken_handshake(transport)

    def _broken_handshake(self, transport: GuestTransport) -> Exception:
        error = transport.get_exception()
        # paramiko 3.4 to 5.1 say it only in the text of IncompatiblePeer.
        if isinstance(error, paramiko.SSHException) and "no acceptable host key" in str(error):
            return faults.changed(self.endpoint, None)
        if self._remaining() <= _TICK_S and transport.remote_version == "":
            return faults.too_slow(self.endpoint, "send an SSH identification", self.timeout_s)
        if self.dial is not straight and transport.remote_version == "":
            return faults.no_way(self.endpoint, error)
        return faults.not_ssh(self.endpoint, error)

    def _check_host_key(self, transport: GuestTransport, pinned: frozenset[bytes]) -> None:
        try:
            shown = transport.get_remote_server_key().asbytes()
        except paramiko.SSHException as error:
            raise faults.not_ssh(self.endpoint, transport.get_exception() or error) from error
        if shown not in pinned:
            raise faults.changed(self.endpoint, shown)

    def _authenticate(self, transport: GuestTransport, key: paramiko.PKey) -> None:
        done = threading.Event()
        try:
            transport.auth_publickey(self.endpoint.user, key, event=done)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise faults.not_ssh(self.endpoint, error) from error
        if not done.wait(self._remaining()):
            raise faults.too_slow(self.endpoint, "answer the login", self.timeout_s)
        if transport.is_authenticated():
            return
        reason = transport.get_exception()
        # A plain refusal leaves no exception, only a connection that is still open.
        if isinstance(reason, paramiko.AuthenticationException) or (reason is None and transport.is_active()):
            raise faults.refused(self.endpoint, self.key_path)
        raise faults.not_ssh(self.endpoint, reason)

    def _remaining(self) -> float:
        return max(_TICK_S, self.deadline - time.monotonic())


# A zero timeout would make a socket non-blocking.
_TICK_S = 0.001


def pinned_keys(endpoint: Endpoint) -> dict[bytes, str]:
    """Map the key blob of each pinned host key to its type.

    Raises: WrongState when there is none, or one is not "type base64".
    """
    try:
        lines = [line.split() for line in endpoint.host_keys]
        pinned = {base64.b64decode(words[1], validate=True): words[0] for words in lines}
    except (IndexError, binascii.Error) as error:
        raise faults.unpinned(endpoint, error) from error
    if not pinned:
        raise faults.unpinned(endpoint)
    return pinned


def _load_key(path: Path) -> paramiko.PKey:
    try:
        return paramiko.Ed25519Key.from_private_key_file(str(path))
    except (paramiko.SSHException, OSError, ValueError) as error:
        raise ToolFailed(
            f"Fleet key {path} cannot be read",
            details=printable(str(error)),
            hint="It must be an OpenSSH Ed25519 key without a passphrase.",
        ) from error
