"""Let public keys into running clones; and which keys new clones get."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.errors import GuestFailed, GuestUnreachable, MoltfleetError, WrongState
from moltfleet.model.names import printable
from moltfleet.model.publickeys import fingerprint, known_key
from moltfleet.model.records import CloneRecord
from moltfleet.model.results import ActResult
from moltfleet.operations.clones import clone_names, endpoint, get_clone
from moltfleet.operations.guest import login
from moltfleet.operations.parallel import each

if TYPE_CHECKING:
    from moltfleet.model.domain import Endpoint
    from moltfleet.model.publickeys import KnownKey
    from moltfleet.operations.fleet import Fleet

_TIMEOUT_S = 30.0
# A record holds much else (D2).
_MOST_KEPT_BYTES = 4096
# Reads keys on standard input and adds each that is not there yet, on a line of its own.
ADD_KEYS = """\
set -e
umask 077
cd
mkdir -p .ssh
touch .ssh/authorized_keys
while IFS= read -r key; do
  if grep -qxF -e "$key" .ssh/authorized_keys; then continue; fi
  if [ -n "$(tail -c 1 .ssh/authorized_keys)" ]; then echo >>.ssh/authorized_keys; fi
  printf '%s\\n' "$key" >>.ssh/authorized_keys
done
"""


def running_clones(fleet: Fleet) -> tuple[str, ...]:
    """Names of all clones that run."""
    return tuple(sorted(domain.name for domain in fleet.hypervisor.domains() if domain.is_clone and domain.is_active))


def authorise(fleet: Fleet, patterns: Sequence[str], keys: Sequence[str], *, keeps: bool) -> tuple[ActResult, ...]:
    """Add checked public key lines to every named clone; with ``keeps`` it gets them again after each molt.

    Raises: NotFound.
    """

    def act(name: str) -> ActResult:
        started = fleet.clock.monotonic()
        try:
            # A molt at the same time would throw them away again.
            with fleet.locks.hold(name, verb="key authorise"):
                where, kept = endpoint(fleet, name), _kept_with(fleet, name, keys if keeps else ())
                way = let_in(fleet, where, keys)
                _keep(fleet, name, kept)
        except MoltfleetError as error:
            return ActResult(name, "failed", error.brief, fleet.clock.monotonic() - started, error)
        detail = f"{len(keys)} key{'s' if len(keys) > 1 else ''} {way}" + ("" if keeps else ", until its next molt")
        return ActResult(name, "authorised", detail, fleet.clock.monotonic() - started)

    return each(clone_names(fleet, patterns), act, jobs=fleet.config.jobs)


def _kept_with(fleet: Fleet, name: str, keys: Sequence[str]) -> tuple[str, ...]:
    """All keys that a clone is to keep. Raises: WrongState when its record has no room for them."""
    _, clone = get_clone(fleet, name)
    kept = tuple(dict.fromkeys((*clone.keys, *keys)))
    if keys and sum(map(len, kept)) > _MOST_KEPT_BYTES:
        raise WrongState(
            f"Clone {name!r} cannot keep so many keys",
            hint="--once lets one in until the next molt; 'moltfleet key forget' makes room.",
        )
    return kept


def _keep(fleet: Fleet, name: str, keys: tuple[str, ...]) -> None:
    _, clone = get_clone(fleet, name)
    if clone.keys != keys:
        fleet.hypervisor.write_record(name, replace(clone, keys=keys))


def kept_by_clones(fleet: Fleet, prints: Collection[str]) -> tuple[tuple[str, KnownKey], ...]:
    """Keys that clones let in again after a molt, by their whole fingerprints, each with its clone's name."""
    found = []
    for domain in sorted(fleet.hypervisor.domains(), key=lambda domain: domain.name):
        keys = domain.record.keys if isinstance(domain.record, CloneRecord) else ()
        known = [known_key(line, domain.name) for line in keys]
        found += [(domain.name, key) for key in known if key.fingerprint in prints]
    return tuple(found)


def stop_keeping(fleet: Fleet, prints: Collection[str]) -> None:
    """Let such keys in no more after the next molt of any clone; one that is busy is told."""
    for name in dict.fromkeys(name for name, _ in kept_by_clones(fleet, prints)):
        try:
            with fleet.locks.hold(name, verb="key forget"):
                _, clone = get_clone(fleet, name)
                left = (key for key in clone.keys if fingerprint(key) not in prints)
                _keep(fleet, name, tuple(left))
        except MoltfleetError as error:
            fleet.progress.warn(f"Clone {name!r} goes on to keep it: {error.brief}", hint=error.hint)


def let_in(fleet: Fleet, where: Endpoint, keys: Sequence[str]) -> str:
    """Add keys in a running guest, and say which way. Raises: GuestFailed, GuestUnreachable, DeadlinePassed."""
    try:
        for key in keys:
            fleet.hypervisor.authorize_key(where.name, where.user, key)
    except GuestUnreachable:
        _add_over_ssh(fleet, where, keys)
        return "over SSH"
    return "by its guest agent"


def _add_over_ssh(fleet: Fleet, where: Endpoint, keys: Sequence[str]) -> None:
    lines = "".join(f"{key}\n" for key in keys).encode()
    with login(fleet, where) as session:
        result = session.run(ADD_KEYS, input=lines, timeout_s=_TIMEOUT_S, limit=4096)
    if result.exit_code != 0:
        raise GuestFailed(
            f"Guest {where.name!r} did not take the key",
            details=printable(result.stderr.decode("utf-8", "replace")),
            hint="Is its disk full, or its home directory read-only?",
        )
