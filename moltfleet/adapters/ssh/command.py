"""Runs one command over an open transport: output handed on as it comes, nothing waited for without an end."""

from __future__ import annotations

import contextlib
import math
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import paramiko
from paramiko.channel import Channel

from moltfleet.adapters.ssh import faults
from moltfleet.model.domain import CommandResult

if TYPE_CHECKING:
    from moltfleet.adapters.ssh.transport import GuestTransport
    from moltfleet.model.errors import MoltfleetError

OnOutput = Callable[[bytes], None]

_CHUNK = 32 * 1024
# After a command's exit its output may still be on the way; a daemon that it started keeps the pipes open for ever.
_LINGER_S = 1.0
# Between the deadline and cutting the whole connection, when the channel alone cannot be closed.
_GRACE_S = 1.0
# How long a guest may take to start a command whose own duration has no limit.
_START_S = 60.0
# Data and the end of output wake the wait; this is only how often the deadline is looked at.
_POLL_MS = 100
# ssh(1) reports its own failures so; here: the command ended in a way that the guest did not tell.
_UNKNOWN_STATUS = 255


@dataclass(slots=True)
class Sink:
    """Keeps the first ``limit`` bytes and drops the rest, so that a guest cannot fill this machine's memory."""

    limit: int
    kept: bytearray = field(default_factory=bytearray)

    def take(self, chunk: bytes) -> None:
        """Accept a piece of output."""
        self.kept += chunk[: max(0, self.limit - len(self.kept))]


@contextlib.contextmanager
def cutoff(transport: GuestTransport, seconds: float) -> Iterator[threading.Event]:
    """Cut the connection when the body takes longer than ``seconds``; the event tells whether that happened.

    paramiko waits without a limit in several places (a reply to ``exec``, a full TCP window): this ends them all.
    """
    fired = threading.Event()

    def cut() -> None:
        fired.set()
        transport.abandon()

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield fired
    finally:
        timer.cancel()


def run(
    transport: GuestTransport, name: str, command: str, *, input: bytes, timeout_s: float, limit: int
) -> CommandResult:
    """Run ``command`` and return its output, cut at ``limit`` bytes each.

    Raises: DeadlinePassed, GuestUnreachable.
    """
    out, err = Sink(limit), Sink(limit)
    deadline = time.monotonic() + timeout_s
    with (
        _translated(name, lambda: faults.unfinished(name, timeout_s, out.kept + err.kept), deadline),
        cutoff(transport, timeout_s + _GRACE_S),
        _started(transport, command, input, timeout_s) as channel,
    ):
        for is_error, chunk in _chunks(channel, deadline):
            (err if is_error else out).take(chunk)
        code = _exit_code(transport, channel, max(0.0, deadline - time.monotonic()))
    return CommandResult(code, bytes(out.kept), bytes(err.kept))


def stream(
    transport: GuestTransport,
    name: str,
    command: str,
    on_stdout: OnOutput,
    on_stderr: OnOutput,
    *,
    timeout_s: float | None = None,
) -> int:
    """Run ``command`` until its output ends, as ssh(1) does, and return its exit status.

    With ``timeout_s`` a daemon that it leaves behind is not waited for. Raises: GuestUnreachable; DeadlinePassed, also
    when the guest does not even start it.
    """
    longest = math.inf if timeout_s is None else timeout_s
    start_s = min(_START_S, longest)
    end = time.monotonic() + longest

    def translated(overdue_s: float, deadline: float) -> contextlib.AbstractContextManager[None]:
        return _translated(name, lambda: faults.unfinished(name, overdue_s, b""), deadline)

    with contextlib.ExitStack() as stack:
        with translated(start_s, time.monotonic() + start_s), cutoff(transport, start_s):
            channel = stack.enter_context(_started(transport, command, b"", start_s))
        chunks = _chunks(channel, None if timeout_s is None else end)
        while True:
            # Apart from the callers' callbacks, whose own errors are not the guest's.
            with translated(longest, end):
                piece = next(chunks, None)
            if piece is None:
                break
            is_error, chunk = piece
            (on_stderr if is_error else on_stdout)(chunk)
        with translated(longest, end):
            return _exit_code(transport, channel, None if timeout_s is None else max(0.0, end - time.monotonic()))


@contextlib.contextmanager
def _translated(name: str, overdue: Callable[[], MoltfleetError], deadline: float) -> Iterator[None]:
    try:
        yield
    except (paramiko.SSHException, OSError, EOFError) as error:
        if time.monotonic() >= deadline:
            raise overdue() from error
        raise faults.lost(name, error) from error


@contextlib.contextmanager
def _started(transport: GuestTransport, command: str, input: bytes, timeout_s: float) -> Iterator[Channel]:
    channel = transport.open_session(timeout=timeout_s)
    try:
        channel.exec_command(command)
        if input:
            threading.Thread(target=_feed, args=(channel, input), daemon=True).start()
        else:
            channel.shutdown_write()
        yield channel
    finally:
        channel.close()


def _feed(channel: Channel, input: bytes) -> None:
    """Write standard input beside reading the output; a command that does not read it is no error."""
    with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
        channel.sendall(input)
        channel.shutdown_write()


def _chunks(channel: Channel, deadline: float | None) -> Iterator[tuple[bool, bytes]]:
    """Yield (is it stderr, bytes) until both streams end. Raises: TimeoutError past the deadline."""
    poller = select.poll()
    poller.register(channel.fileno(), select.POLLIN)
    exited_at: float | None = None
    while True:
        # Looked at before the buffers: what came before the end is then certainly read.
        ended = bool(channel.eof_received or channel.closed)
        before = time.monotonic()
        if deadline is not None and before >= deadline:
            raise TimeoutError
        has_moved = False
        for is_error, read in _ready(channel):
            has_moved = True
            yield is_error, read(_CHUNK)
        if has_moved:
            continue
        if ended or (deadline is not None and exited_at is not None and before - exited_at >= _LINGER_S):
            return
        if exited_at is None and channel.exit_status_ready():
            exited_at = before
        poller.poll(_POLL_MS)


def _ready(channel: Channel) -> Iterator[tuple[bool, Callable[[int], bytes]]]:
    if channel.recv_ready():
        yield False, channel.recv
    if channel.recv_stderr_ready():
        yield True, channel.recv_stderr


def _exit_code(transport: GuestTransport, channel: Channel, timeout_s: float | None) -> int:
    """Return the exit status, or 128+n for signal n. Raises: EOFError when the connection broke, TimeoutError."""
    if not channel.status_event.wait(timeout_s):
        raise TimeoutError
    if channel.exit_status >= 0:
        return min(channel.exit_status, _UNKNOWN_STATUS)
    name = transport.signals.pop(channel.chanid, None)
    if name is not None:
        return signal_status(name)
    if not transport.is_active():
        raise transport.get_exception() or EOFError()
    return _UNKNOWN_STATUS


def signal_status(name: str) -> int:
    """Return what a shell would report for an SSH signal name ("KILL", RFC 4254 §6.10)."""
    known = signal.Signals.__members__.get(f"SIG{name}")
    return 128 + known if known else _UNKNOWN_STATUS
