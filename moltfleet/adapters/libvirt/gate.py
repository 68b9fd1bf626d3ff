"""The one gate for libvirt calls: each runs under a deadline, is logged, and has its errors translated once.

A call runs in a thread of its own, because libvirt blocks in C: so Ctrl-C works inside a long save, and a hanging
libvirtd costs a deadline instead of a hung terminal.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import libvirt

from moltfleet.adapters.libvirt.translate import translate
from moltfleet.model.errors import DeadlinePassed, HostUnavailable, MoltfleetError

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
DEFAULT_TIMEOUT_S = 30.0
# What libvirt raises on a connection that has gone (measured on 9.0: once code 38, then code 1).
_LOST = ("client socket is closed", "End of file", "Cannot recv data", "Cannot write data", "internal client error")


class Gate:
    """A lazily opened connection; reopened once when libvirtd was restarted, and after a call that did not come back.

    Such a call waits for a QEMU that stands still, and later calls on its connection would wait behind it (measured on
    9.0); on another they do not. It is left to the thread that waits.
    """

    def __init__(self, uri: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.uri = uri
        self.timeout_s = timeout_s
        self._connection: Any = None
        self._opening = threading.Lock()
        libvirt.registerErrorHandler(lambda _context, _error: None, None)

    def call(
        self, what: str, function: Callable[[Any], _T], *, timeout_s: float | None = None, repeatable: bool = False
    ) -> _T:
        """Run ``function(connection)``; ``what`` names the act for the log and for errors ("start crab-1").

        A ``repeatable`` call is tried once more when the connection turns out to be dead.

        Raises: DeadlinePassed, HostUnavailable, or what the libvirt error translates to.
        """
        started = time.monotonic()
        try:
            return self._attempt(what, function, timeout_s or self.timeout_s)
        except HostUnavailable:
            if not repeatable:
                raise
            return self._attempt(what, function, timeout_s or self.timeout_s)
        finally:
            _LOG.debug("libvirt: %s (%.1f ms)", what, (time.monotonic() - started) * 1000)

    def _attempt(self, what: str, function: Callable[[Any], _T], timeout_s: float) -> _T:
        def work() -> _T:
            return function(self._connect())

        try:
            return in_thread(work, what=what, timeout_s=timeout_s)
        except libvirt.libvirtError as error:
            if is_connection_lost(error):
                self.close()
                raise HostUnavailable(
                    f"Connection to libvirt at {self.uri} was lost during: {what}",
                    details=str(error),
                    hint="libvirtd was restarted or has died; the next command reconnects.",
                ) from error
            raise translate(error, what=what) from error
        except DeadlinePassed:
            self._connection = None
            raise

    def _connect(self) -> Any:
        with self._opening:
            if self._connection is not None and not self._connection.isAlive():
                self._connection = None
            if self._connection is None:
                self._connection = open_connection(self.uri)
            return self._connection

    def close(self) -> None:
        """Forget the connection; the next call opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(libvirt.libvirtError):
                connection.close()


def in_thread(work: Callable[[], _T], *, what: str, timeout_s: float) -> _T:
    """Run ``work`` in a daemon thread and wait for it, interruptibly, at most ``timeout_s``.

    Raises: DeadlinePassed; the thread is left behind, as a C call cannot be cancelled.
    """
    outcome: list[tuple[bool, Any]] = []
    done = threading.Event()

    def run() -> None:
        try:
            outcome.append((True, work()))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, whatever it is
            outcome.append((False, error))
        finally:
            done.set()

    threading.Thread(target=run, name=f"libvirt {what}", daemon=True).start()
    if not done.wait(timeout_s):
        raise DeadlinePassed(
            f"libvirt did not answer within {timeout_s:.0f} s: {what}",
            hint="Is libvirtd alive? 'systemctl status libvirtd' and 'virsh list' tell.",
        )
    succeeded, value = outcome[0]
    if succeeded:
        return value  # type: ignore[no-any-return]
    raise value


def open_connection(uri: str) -> Any:
    """Open ``uri``. Raises: HostUnavailable, which tells apart "not running" and "not permitted"."""
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError as error:
        raise _unavailable(uri, error) from error
    return connection


def _unavailable(uri: str, error: libvirt.libvirtError) -> MoltfleetError:
    said = str(error)
    if "ermission denied" in said or "authentication" in said.lower():
        return HostUnavailable(
            f"No permission to use libvirt at {uri}",
            details=said,
            hint="Join the group: 'sudo usermod -aG libvirt $USER', then log in again; or use -c qemu:///session.",
        )
    if "No such file" in said or "Connection refused" in said:
        return HostUnavailable(
            f"libvirt is not running at {uri}",
            details=said,
            hint="Start it: 'sudo systemctl start libvirtd' (package libvirt-daemon-system).",
        )
    return HostUnavailable(f"libvirt cannot be reached at {uri}", details=said, hint="Check the URI given with -c.")


def is_connection_lost(error: libvirt.libvirtError) -> bool:
    """Whether the error is about the connection and not about the call."""
    message = str(error)
    return any(text in message for text in _LOST) and error.get_error_code() in (
        libvirt.VIR_ERR_INTERNAL_ERROR,
        libvirt.VIR_ERR_SYSTEM_ERROR,
        libvirt.VIR_ERR_RPC,
    )
