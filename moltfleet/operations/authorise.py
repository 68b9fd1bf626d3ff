"""Let public keys into running clones; and which keys new clones get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from moltfleet.model.errors import GuestFailed, GuestUnreachable, MoltfleetError
from moltfleet.model.names import printable
from moltfleet.model.results import ActResult
from moltfleet.operations.clones import clone_names, endpoint
from moltfleet.operations.guest import login
from moltfleet.operations.parallel import each

if TYPE_CHECKING:
    from moltfleet.model.domain import Endpoint
    from moltfleet.operations.fleet import Fleet

_TIMEOUT_S = 30.0
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


def authorise(fleet: Fleet, patterns: Sequence[str], keys: Sequence[str]) -> tuple[ActResult, ...]:
    """Add checked public key lines to every named clone, as long as it is not molted. Raises: NotFound."""

    def act(name: str) -> ActResult:
        started = fleet.clock.monotonic()
        try:
            # A molt at the same time would throw them away again.
            with fleet.locks.hold(name, verb="key authorise"):
                way = let_in(fleet, endpoint(fleet, name), keys)
        except MoltfleetError as error:
            return ActResult(name, "failed", error.brief, fleet.clock.monotonic() - started, error)
        detail = f"{len(keys)} key{'s' if len(keys) > 1 else ''} {way}, until its next molt"
        return ActResult(name, "authorised", detail, fleet.clock.monotonic() - started)

    return each(clone_names(fleet, patterns), act, jobs=fleet.config.jobs)


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
