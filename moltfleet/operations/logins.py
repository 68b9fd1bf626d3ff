"""Where every clone is logged in to, running or not. Changes nothing."""

from __future__ import annotations

from contextlib import suppress

from moltfleet.model.domain import Domain, Endpoint
from moltfleet.model.errors import MoltfleetError
from moltfleet.model.records import CloneRecord
from moltfleet.operations.clones import find_host
from moltfleet.operations.fleet import Fleet


def logins(fleet: Fleet) -> tuple[Endpoint, ...]:
    """All clones by name; ``host`` is empty where no address is known, as of a stopped clone on a foreign network."""
    domains = sorted((d for d in fleet.hypervisor.domains() if d.is_clone), key=lambda domain: domain.name)
    return tuple(_login(fleet, domain, domain.record) for domain in domains if isinstance(domain.record, CloneRecord))


def _login(fleet: Fleet, domain: Domain, clone: CloneRecord) -> Endpoint:
    host = None
    # Only a foreign network has to be asked.
    if domain.is_active or clone.attachment.address is not None or clone.attachment.kind == "user":
        with suppress(MoltfleetError):
            host = find_host(fleet, domain.name, clone)
    return Endpoint(domain.name, host or "", clone.attachment.ssh_port, clone.user, clone.host_keys)
