"""The one tree of errors a user may see, and the exit codes they lead to; bugs keep their own types and tracebacks."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process returns. Documented in docs/cli.md and never renumbered."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    WRONG_STATE = 4
    NO_CAPACITY = 5
    TIMEOUT = 6
    TOOL_FAILED = 7
    INTERRUPTED = 130


class MoltfleetError(Exception):
    """An expected failure: ``brief`` is one line that states the fact, ``hint`` says what to do next.

    ``details`` (several lines, shown with ``-v``) keeps what the failing tool said; ``excerpt`` are lines that are
    always shown, such as the end of a guest's log, already safe for a terminal.
    ``code`` is the stable word in ``moltfleet.error/1``.
    """

    exit_code = ExitCode.FAILED
    code = "failed"

    def __init__(
        self, brief: str, *, details: str | None = None, hint: str | None = None, excerpt: str | None = None
    ) -> None:
        super().__init__(brief)
        self.brief = brief
        self.details = details
        self.excerpt = excerpt
        self.hint = hint


class InvalidInput(MoltfleetError):
    """What was asked for can never work, whatever the host's state."""

    exit_code = ExitCode.USAGE
    code = "invalid-input"


class NotFound(MoltfleetError):
    """A named thing does not exist."""

    exit_code = ExitCode.NOT_FOUND
    code = "not-found"


class WrongState(MoltfleetError):
    """The thing exists, but not in the state that the act needs."""

    exit_code = ExitCode.WRONG_STATE
    code = "wrong-state"


class AlreadyExists(WrongState):
    """A name is taken."""

    code = "already-exists"


class Busy(WrongState):
    """Somebody else holds the lock."""

    code = "busy"


class AlreadyRunning(WrongState):
    """Somebody else has started the domain that was to be started or restored."""

    code = "already-running"


class InUse(WrongState):
    """Something else stands on the thing that was to go."""

    code = "in-use"


class NoCapacity(MoltfleetError):
    """The host cannot carry it: memory, addresses or disk."""

    exit_code = ExitCode.NO_CAPACITY
    code = "no-capacity"


class NoSpace(NoCapacity):
    """The storage pool is full."""

    code = "no-space"


class DeadlinePassed(MoltfleetError):
    """A wait ended without what it waited for."""

    exit_code = ExitCode.TIMEOUT
    code = "timeout"


class ToolFailed(MoltfleetError):
    """libvirt, a guest, a download or a program answered with a failure."""

    exit_code = ExitCode.TOOL_FAILED
    code = "tool-failed"


class HostUnavailable(ToolFailed):
    """The hypervisor host or its libvirt cannot be reached or refuses access."""

    code = "host-unavailable"


class GuestFailed(ToolFailed):
    """A guest reported a failure of its own (cloud-init, a script, a missing command)."""

    code = "guest-failed"


class GuestUnreachable(ToolFailed):
    """A guest could not be talked to: no route, connection refused or lost."""

    code = "guest-unreachable"


class LoginRefused(GuestUnreachable):
    """The guest's SSH server did not accept the offered key."""

    code = "login-refused"


class HostKeyChanged(GuestUnreachable):
    """The guest showed a host key other than the pinned one."""

    code = "host-key-changed"


class ChecksumMismatch(ToolFailed):
    """Downloaded or stored bytes are not the expected ones."""

    code = "checksum-mismatch"
