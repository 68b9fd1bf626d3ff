"""Work in running clones: commands in several at once, files both ways."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from moltfleet.model.errors import DeadlinePassed, InvalidInput, LoginRefused, MoltfleetError
from moltfleet.model.results import ActResult
from moltfleet.operations.clones import clone_names, endpoint
from moltfleet.operations.deadlines import Deadline, timeouts
from moltfleet.operations.parallel import each
from moltfleet.operations.ready import authorize

if TYPE_CHECKING:
    from moltfleet.model.domain import Endpoint
    from moltfleet.model.ports import GuestSession, OnBytes
    from moltfleet.operations.fleet import Fleet

# The login shell, as without a deadline, below something that ends it and what it has started.
_BOUNDED = """\
set -- timeout -k 5 "$1" "${SHELL:-/bin/sh}" -c "$2"
command -v timeout >/dev/null || shift 4
exec "$@"
"""
# Called with the clone, whether it is standard error, and what came.
OnOutput = Callable[[str, bool, bytes], None]
# Given the seconds that are left, None for no end, after which the guest is to end it, too.
MakeLine = Callable[[float | None], str]


@contextmanager
def login(fleet: Fleet, where: Endpoint, *, timeout_s: float | None = None) -> Iterator[GuestSession]:
    """Log in; another user's clone is first told our key by its agent, which group libvirt may do anyway.

    ``timeout_s`` None is the configured time for it.
    """
    limit = timeouts(fleet).login if timeout_s is None else timeout_s
    try:
        session = fleet.guests.login(where, timeout_s=limit)
        opened = session.__enter__()
    except LoginRefused:
        authorize(fleet, where)
        session = fleet.guests.login(where, timeout_s=limit)
        opened = session.__enter__()
    try:
        yield opened
    finally:
        session.__exit__(None, None, None)


def execute(
    fleet: Fleet,
    patterns: Sequence[str],
    command: str,
    *,
    on_output: OnOutput,
    jobs: int | None = None,
    timeout_s: float | None = None,
) -> tuple[ActResult, ...]:
    """Run a shell command in every named clone; ``detail`` of a result is the exit status.

    ``timeout_s`` is the deadline of each, with its login; None is as long as it takes.
    """

    def make(left_s: float | None) -> str:
        return command if left_s is None else bounded(command, left_s)

    def act(name: str) -> ActResult:
        started = fleet.clock.monotonic()
        try:
            status = run_line(fleet, name, make, on_output=on_output, timeout_s=timeout_s)
        except MoltfleetError as error:
            return ActResult(name, "failed", error.brief, fleet.clock.monotonic() - started, error)
        return ActResult(name, "executed", str(status), fleet.clock.monotonic() - started)

    return each(clone_names(fleet, patterns), act, jobs=jobs or fleet.config.jobs)


def run_line(fleet: Fleet, name: str, make: MakeLine, *, on_output: OnOutput, timeout_s: float | None) -> int:
    """Log in to a clone and run a shell command line, which ``make`` makes; returns its exit status.

    After ``timeout_s`` nobody waits for it any more. Raises: DeadlinePassed, NotFound, WrongState, and what a login
    raises.
    """
    deadline = None if timeout_s is None else Deadline.after(fleet.clock, timeout_s)
    longest_s = timeouts(fleet).login
    where = endpoint(fleet, name)
    with login(fleet, where, timeout_s=longest_s if deadline is None else min(longest_s, deadline.left_s)) as session:
        left_s = None if deadline is None else deadline.left_s
        try:
            return session.stream(
                make(left_s),
                on_stdout=lambda data: on_output(name, False, data),
                on_stderr=lambda data: on_output(name, True, data),
                timeout_s=left_s,
            )
        except DeadlinePassed as error:
            raise DeadlinePassed(f"Command in {name!r} did not end within {timeout_s or 0:g} s") from error


def bounded(line: str, seconds: float) -> str:
    """The command line for a guest that is to end ``line`` after so long; what it lacks for that is done without."""
    return shlex.join(("exec", "sh", "-c", _BOUNDED, "sh", str(max(1, math.ceil(seconds))), line))


def copy(fleet: Fleet, source: str, destination: str) -> None:
    """Copy a file or directory; one side is ``NAME:PATH``. Raises: InvalidInput, and what a login raises."""
    from_clone, from_path = split_path(source)
    to_clone, to_path = split_path(destination)
    if (from_clone is None) == (to_clone is None):
        raise InvalidInput(
            "One side of a copy, and only one, is in a clone", hint="Example: moltfleet copy notes.txt crab-1:work/"
        )
    name = from_clone or to_clone or ""
    where = endpoint(fleet, name)
    with fleet.progress.step(f"Copying {source} to {destination}") as step:
        on_bytes = _shown(step.detail)
        with login(fleet, where) as session:
            if to_clone is not None:
                session.put(Path(from_path), to_path, on_bytes=on_bytes)
            else:
                session.get(from_path, Path(to_path), on_bytes=on_bytes)


def _shown(detail: Callable[[str], None]) -> OnBytes:
    return lambda done: detail(f"{done / 2**20:.1f} MiB")


def split_path(text: str) -> tuple[str | None, str]:
    """Split ``NAME:PATH``; a local path with a colon is written ./with:colon."""
    name, colon, path = text.partition(":")
    if not colon or "/" in name:
        return None, text
    return name, path
