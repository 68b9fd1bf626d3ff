"""The guard of the unit tests: no subprocess, no socket, no libvirt, unless a test is marked to be allowed it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

# Events of https://docs.python.org/3/library/audit_events.html by what a test would have to be allowed.
_EVENTS = {
    "subprocess.Popen": "subprocess",
    "os.exec": "subprocess",
    "os.fork": "subprocess",
    "os.forkpty": "subprocess",
    "os.posix_spawn": "subprocess",
    "os.system": "subprocess",
    "pty.spawn": "subprocess",
    "socket.__new__": "socket",
    "socket.bind": "socket",
    "socket.connect": "socket",
    "socket.getaddrinfo": "socket",
    "socket.gethostbyname": "socket",
}
_OPENERS = ("open", "openAuth", "openReadOnly")


class ReachedOutside(BaseException):
    """A unit test touched the world; not an Exception, so that no handler under test can swallow it."""


class _Guard:
    """What the running test may reach; None between tests, when pytest itself may do anything."""

    def __init__(self) -> None:
        self.allowed: frozenset[str] | None = None

    def check(self, what: str, event: str) -> None:
        if self.allowed is not None and what not in self.allowed:
            raise ReachedOutside(f"{event}: mark the test with @pytest.mark.allow({what!r}) if it has to")


_GUARD = _Guard()


def _audit(event: str, _: tuple[object, ...]) -> None:
    if event in _EVENTS:
        _GUARD.check(_EVENTS[event], event)


# Cannot be removed again, hence once per process and with a state of its own.
sys.addaudithook(_audit)


@pytest.fixture(autouse=True)
def _stay_inside(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    allowed = frozenset(what for mark in request.node.iter_markers("allow") for what in mark.args)
    if "libvirt" not in allowed:
        _close_libvirt(monkeypatch)
    _GUARD.allowed = allowed
    yield
    _GUARD.allowed = None


def _close_libvirt(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its connections are made in C, where no audit event tells.
    import libvirt

    def refuse(*_: object) -> None:
        raise ReachedOutside("libvirt: mark the test with @pytest.mark.allow('libvirt') if it has to")

    for opener in _OPENERS:
        monkeypatch.setattr(libvirt, opener, refuse)
