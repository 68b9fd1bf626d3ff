"""Work in running clones: commands in several at once, files both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from moltfleet.model.domain import Endpoint
from moltfleet.model.errors import InvalidInput, LoginRefused, MoltfleetError
from moltfleet.model.ports import GuestSession, OnBytes
from moltfleet.model.results import ActResult
from moltfleet.operations.clones import clone_names, endpoint
from moltfleet.operations.deadlines import timeouts
from moltfleet.operations.fleet import Fleet
from moltfleet.operations.parallel import each
from moltfleet.operations.ready import authorize

# Called with the clone, whether it is standard error, and what came.
OnOutput = Callable[[str, bool, bytes], None]


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
    fleet: Fleet, patterns: Sequence[str], command: str, *, on_output: OnOutput, jobs: int | None = None
) -> tuple[ActResult, ...]:
    """Run a shell command in every named clone; ``detail`` of a result is the exit status."""

    def act(name: str) -> ActResult:
        started = fleet.clock.monotonic()
        try:
            with login(fleet, endpoint(fleet, name)) as session:
                status = session.stream(
                    command,
                    on_stdout=lambda data: on_output(name, False, data),
                    on_stderr=lambda data: on_output(name, True, data),
                )
        except MoltfleetError as error:
            return ActResult(name, "failed", error.brief, fleet.clock.monotonic() - started, error)
        return ActResult(name, "executed", str(status), fleet.clock.monotonic() - started)

    return each(clone_names(fleet, patterns), act, jobs=jobs or fleet.config.jobs)


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
