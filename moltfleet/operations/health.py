"""Ask running clones how they are: their own health check over SSH, side by side. Changes nothing in any guest.

What comes back was made by a hostile guest: bounded, cleaned of whatever is not printable, and checked against the
schema, before a word of it is used.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from moltfleet.model.domain import CommandResult, DomainState, Endpoint
from moltfleet.model.errors import GuestFailed, MoltfleetError, NotFound, WrongState
from moltfleet.model.forecast import Verdict
from moltfleet.model.health import SCHEMA, Health
from moltfleet.model.names import printable
from moltfleet.model.results import HealthResult
from moltfleet.operations.clones import clone_names, endpoint, get_clone
from moltfleet.operations.deadlines import timeouts
from moltfleet.operations.guest import login
from moltfleet.operations.parallel import each

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet

# As root where the guest lets us, since another user's processes and sessions are not told to others.
_COMMAND = """\
program=$(command -v vm-health-check) || exit 127
if sudo -n true 2>/dev/null; then exec sudo -n "$program" --json; fi
exec "$program" --json
"""
_NO_PROGRAM = 127
# Something to worry about is no failure of the check.
_LOOKED = (0, 1, 2)
_LARGEST = 512 * 1024
_LONGEST_TEXT, _MOST_ITEMS, _DEEPEST = 300, 200, 6
_VERDICTS = frozenset(verdict.value for verdict in Verdict)
# More than any guest counts, and still exact as JSON.
_LARGEST_NUMBER = 2**53


def check_health(fleet: Fleet, patterns: Sequence[str]) -> tuple[HealthResult, ...]:
    """Look at every named clone; nothing given means all. One that cannot be asked does not keep the others."""
    return each(clone_names(fleet, patterns), lambda name: _look(fleet, name), jobs=fleet.config.jobs)


def _look(fleet: Fleet, name: str) -> HealthResult:
    started = fleet.clock.monotonic()
    try:
        verdict, error = _state(fleet, name)
        health = ask(fleet, endpoint(fleet, name), limit_s=timeouts(fleet).login) if error is None else None
    except MoltfleetError as failure:
        verdict, error, health = "unknown", failure, None
    if health is not None:
        verdict = health.verdict
    return HealthResult(name, verdict, health, fleet.clock.monotonic() - started, error)


def _state(fleet: Fleet, name: str) -> tuple[str, MoltfleetError | None]:
    """Return the verdict that libvirt alone allows, with the error that goes with it; none when the guest runs."""
    domain, _ = get_clone(fleet, name)
    if domain.state is DomainState.PAUSED:
        error = WrongState(
            f"Clone {name!r} is paused", hint=f"The pool may be full, or somebody paused it: virsh resume {name}"
        )
        return "paused", error
    if not domain.is_active:
        return "down", WrongState(f"Clone {name!r} is not running", hint=f"Start it: moltfleet start {name}")
    return "unknown", None


def ask(fleet: Fleet, where: Endpoint, *, limit_s: float) -> Health:
    """Return what a running clone's health check says; the login and the check may each take so long.

    Raises: NotFound when it has none, GuestFailed, GuestUnreachable, DeadlinePassed.
    """
    name = where.name
    with login(fleet, where, timeout_s=limit_s) as session:
        answer = session.run(_COMMAND, timeout_s=limit_s, limit=_LARGEST)
    if answer.exit_code == _NO_PROGRAM:
        raise NotFound(
            f"Clone {name!r} has no health check", hint=f"Put the guest tools in: moltfleet tools install {name}"
        )
    return read_health(name, answer)


def read_health(name: str, answer: CommandResult) -> Health:
    """Return what a guest's health check has printed. Raises: GuestFailed."""
    try:
        document = json.loads(answer.text)
    except (ValueError, RecursionError):
        document = None
    if answer.exit_code not in _LOOKED or not isinstance(document, dict):
        said = printable(answer.stderr.decode("utf-8", "replace").strip() or f"exit status {answer.exit_code}")
        raise GuestFailed(f"Health check of {name!r} has failed", details=said)
    if document.get("schema") != SCHEMA:
        raise _mismatch(name, f"schema {printable(str(document.get('schema')), limit=60)}")
    from pydantic import ValidationError

    try:
        health: Health = _adapter().validate_python(cleaned(document))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _mismatch(name, printable(f"{where}: {first['msg']}")) from error
    if health.verdict not in _VERDICTS:
        raise _mismatch(name, f"verdict: {health.verdict}")
    return health


def _mismatch(name: str, details: str) -> GuestFailed:
    return GuestFailed(
        f"Health check of {name!r} answers in another form than this version reads",
        details=details,
        hint=f"Bring the guest tools up to date: moltfleet tools install {name}",
    )


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Health)


def cleaned(value: object, depth: int = 0) -> object:
    """Return a document of a guest with everything in it bounded: texts, lists, numbers, depth."""
    if depth > _DEEPEST:
        return None
    if isinstance(value, str):
        return printable(value, limit=_LONGEST_TEXT)
    if isinstance(value, dict):
        items = list(value.items())[:_MOST_ITEMS]
        return {printable(str(key), limit=60): cleaned(item, depth + 1) for key, item in items}
    if isinstance(value, list):
        return [cleaned(item, depth + 1) for item in value[:_MOST_ITEMS]]
    if isinstance(value, bool) or value is None:
        return value
    return _number(value)


def _number(value: object) -> int | float | None:
    """A number from 0 to the largest; else None, which no field takes that needs a number (NaN is in no range)."""
    return value if isinstance(value, int | float) and 0 <= value <= _LARGEST_NUMBER else None
