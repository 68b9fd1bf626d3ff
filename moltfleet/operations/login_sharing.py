"""Which clones get one and the same login that renews itself: whoever renews it first may log the others out.

Judged by the records and by what this machine has; no guest is asked. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from moltfleet.model.logins import LoginEntry, renews_itself
from moltfleet.model.records import CloneRecord
from moltfleet.operations import repair

if TYPE_CHECKING:
    from moltfleet.model.domain import Domain
    from moltfleet.operations.fleet import Fleet


def holders(fleet: Fleet, domains: Iterable[Domain], login: str) -> tuple[str, ...]:
    """The clones that this user gave a login, by name; what others gave is theirs, and another one."""
    me = fleet.host_logins.owner()
    return tuple(sorted(domain.name for domain in domains if _has(domain, login, me)))


def renews(fleet: Fleet, entry: LoginEntry) -> bool:
    """Whether what this machine has of a login renews itself; not without any. Raises: InvalidInput, ToolFailed."""
    return renews_itself(entry, fleet.host_logins.read(entry), now=fleet.clock.now())


def _has(domain: Domain, login: str, owner: str) -> bool:
    record = domain.record
    if not isinstance(record, CloneRecord) or record.logins is None or repair.is_abandoned(record):
        return False
    return record.logins.by == owner and login in record.logins.names
