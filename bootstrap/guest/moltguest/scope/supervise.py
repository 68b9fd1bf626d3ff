"""Runs one program in a scope from beginning to end, from outside of it: proven inside, kept inside, its end told."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from moltguest.limits import MIB, Levels
from moltguest.scope import crashes
from moltguest.scope.child import Child
from moltguest.scope.contain import NotContained, Scope, contain, why_not_inside
from moltguest.scope.watch import Observed, has_been_read, observe, open_events
from moltguest.watchdog.cgroups import Cgroups

# After the start, closely: programs that leave their scope were seen to do it within two seconds.
CHECKS_S = (0.5, 1.0, 3.0, 10.0)
EVERY_S = 10.0
_MOST_RETURNS = 3
_RESTS_S = 0.05


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run. ``name`` is what messages call it."""

    name: str
    argv: tuple[str, ...]
    program: str
    environment: Mapping[str, str]
    levels: Levels


def run(job: Job) -> tuple[int, int]:
    """Run it to its end. Returns its exit status as a shell shows it, and the signal that ended it or 0.

    Raises: NotContained; then nothing has run.
    """
    scope = Scope(unit_name(job.name), f"{job.name}, at most {job.levels.max // MIB} MiB", job.levels)
    child = Child(job.argv, job.program, job.environment)
    try:
        contain(child.pid, scope)
    except BaseException:
        child.give_up()
        raise
    observed = _accompany(child, scope)
    _tell(job, child, observed)
    return child.code, child.killed_by


def unit_name(name: str) -> str:
    """Return a name that no other scope has."""
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)[:40] or "program"
    return f"{plain}-{os.getpid()}-{time.monotonic_ns():x}.scope"


def _accompany(child: Child, scope: Scope) -> Observed:
    """Wait for its end; wake for every child's change, every act of a limit, and to see that it is still inside."""
    cgroups = Cgroups()
    observed = observe(child.pid, scope.unit, cgroups)
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # A handler, so that the descriptor gets a byte.
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    events = open_events(cgroups, observed)
    if events >= 0:
        poll.register(events, select.POLLPRI)
    child.let_go()
    guard = _Guard(child, scope)
    while not child.has_ended():
        woken = [fd for fd, _ in poll.poll(guard.wait_s() * 1000)]
        if reader in woken:
            _drain(reader)
        if events in woken and not has_been_read(events):
            poll.unregister(events)
        observed.look(cgroups)
        guard.look()
        if events in woken:
            # A scope that is slowed down has a hundred events a second.
            time.sleep(_RESTS_S)
    observed.look(cgroups)
    signal.set_wakeup_fd(-1)
    return observed


def _drain(reader: int) -> None:
    try:
        os.read(reader, 4096)
    except BlockingIOError:
        return


class _Guard:
    """Sees that the program stays inside, and brings it back."""

    def __init__(self, child: Child, scope: Scope) -> None:
        self._child, self._scope = child, scope
        self._began = time.monotonic()
        self._due = list(CHECKS_S)
        self._returns = 0

    def wait_s(self) -> float:
        """Return the seconds to the next look."""
        since = time.monotonic() - self._began
        return max(0.01, self._due[0] - since) if self._due else EVERY_S

    def look(self) -> None:
        """Look where it is, when it is time to."""
        since = time.monotonic() - self._began
        if self._due and since < self._due[0]:
            return
        self._due = [due for due in self._due if due > since]
        why = why_not_inside(self._child.pid, self._scope)
        if not why or self._returns > _MOST_RETURNS or self._child.has_ended():
            return
        self._returns += 1
        if self._returns > _MOST_RETURNS:
            say(f"{self._scope.description}: {why}; it leaves again and again, only the watchdog holds it now")
            return
        self._scope = replace(self._scope, unit=unit_name("returned"))
        try:
            contain(self._child.pid, self._scope)
        except NotContained as error:
            if not self._child.has_ended():
                say(f"{self._scope.description}: {why}, and could not be brought back: {error}")


def _tell(job: Job, child: Child, observed: Observed) -> None:
    """Say in one line when the limit has ended something, and keep what a session's owner will ask for."""
    why = observed.why_killed(Cgroups(), job.levels.max, killed=child.killed_by == signal.SIGKILL)
    if why and child.killed_by:
        say(f"{job.name} was killed: {why}")
    elif why:
        say(f"a process of {job.name} was killed: {why}")
    if why or child.killed_by or child.code == crashes.ABORTED:
        crashes.note(job.name, child.code, observed, crashes.cause(child.code, why))


def say(text: str) -> None:
    """Say one line to whoever started this; a terminal may still be in the mode in which a killed program left it."""
    try:
        sys.stderr.write(f"run-limited: {text}{chr(13) if sys.stderr.isatty() else ''}\n")
        sys.stderr.flush()
    except OSError:
        return
