"""Where every clone is logged in to, running or not. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from moltfleet.model.domain import Domain, Endpoint
from moltfleet.model.errors import MoltfleetError
from moltfleet.model.inventory import InventoryHost
from moltfleet.model.records import CloneRecord
from moltfleet.operations.clones import find_host

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet


def logins(fleet: Fleet) -> tuple[Endpoint, ...]:
    """All clones by name; ``host`` is empty where no address is known, as of a stopped clone on a foreign network."""
    return tuple(_login(fleet, domain, clone) for domain, clone in _clones(fleet))


def inventory(fleet: Fleet) -> tuple[InventoryHost, ...]:
    """All clones by name, with what they may be chosen by."""
    return tuple(
        InventoryHost(
            login=_login(fleet, domain, clone),
            golden=clone.golden,
            generation=clone.generation,
            state=domain.state,
            memory=domain.memory,
            vcpus=domain.vcpus,
        )
        for domain, clone in _clones(fleet)
    )


def _clones(fleet: Fleet) -> Iterator[tuple[Domain, CloneRecord]]:
    for domain in sorted(fleet.hypervisor.domains(), key=lambda domain: domain.name):
        if domain.is_clone and isinstance(domain.record, CloneRecord):
            yield domain, domain.record


def _login(fleet: Fleet, domain: Domain, clone: CloneRecord) -> Endpoint:
    host = None
    # Only a foreign network has to be asked.
    if domain.is_active or clone.attachment.address is not None or clone.attachment.kind == "user":
        with suppress(MoltfleetError):
            host = find_host(fleet, domain.name, clone)
    return Endpoint(domain.name, host or "", clone.attachment.ssh_port, clone.user, clone.host_keys)
