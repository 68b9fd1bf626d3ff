"""Clones by name and pattern, and where each is logged in to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from moltfleet.model.domain import Domain, Endpoint
from moltfleet.model.errors import GuestUnreachable, WrongState
from moltfleet.model.names import match_names, not_found
from moltfleet.model.records import CloneRecord, GoldenRecord

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet


def clone_names(fleet: Fleet, patterns: Sequence[str]) -> tuple[str, ...]:
    """Expand names and patterns to clones; nothing given means all.

    Raises: NotFound, WrongState when the record of a named one cannot be read.
    """
    domains = fleet.hypervisor.domains()
    for domain in domains:
        if domain.unreadable and domain.name in patterns:
            fleet.hypervisor.get(domain.name)
    known = [domain.name for domain in domains if domain.is_clone]
    return match_names(patterns, known, what="clone") if patterns else tuple(sorted(known))


def get_clone(fleet: Fleet, name: str) -> tuple[Domain, CloneRecord]:
    """Look a clone and its record up. Raises: NotFound, also for a foreign domain of that name."""
    domain = fleet.hypervisor.find(name)
    if domain is None or not isinstance(domain.record, CloneRecord):
        raise not_found("clone", name, [d.name for d in fleet.hypervisor.domains() if d.is_clone])
    return domain, domain.record


def get_golden(fleet: Fleet, name: str) -> tuple[Domain, GoldenRecord]:
    """Look up a golden that is there to stay, and its record. Raises: NotFound, WrongState while it is deleted."""
    domain, golden = get_any_golden(fleet, name)
    if golden.deleting:
        raise WrongState(f"Golden {name!r} is being deleted", hint=f"Finish that first: moltfleet golden delete {name}")
    return domain, golden


def get_any_golden(fleet: Fleet, name: str) -> tuple[Domain, GoldenRecord]:
    """As :func:`get_golden`, also of one whose deletion has begun. Raises: NotFound."""
    domain = fleet.hypervisor.find(name)
    if domain is None or not isinstance(domain.record, GoldenRecord) or not domain.record.generations:
        raise not_found("golden", name, [d.name for d in fleet.hypervisor.domains() if d.is_golden])
    return domain, domain.record


def endpoint(fleet: Fleet, name: str) -> Endpoint:
    """Where a running clone is logged in to. Raises: NotFound, WrongState, GuestUnreachable."""
    domain, record = get_clone(fleet, name)
    if not domain.is_active:
        raise WrongState(f"Clone {name!r} is not running", hint=f"Start it: moltfleet start {name}")
    found = find_endpoint(fleet, name, record)
    if found is None:
        raise GuestUnreachable(f"Clone {name!r} has no address yet", hint="It may still be booting.")
    return found


def find_endpoint(fleet: Fleet, name: str, record: CloneRecord) -> Endpoint | None:
    """As :func:`endpoint` from a known record; None while a foreign network has not told an address."""
    host = find_host(fleet, name, record)
    if host is None:
        return None
    return Endpoint(name=name, host=host, port=record.attachment.ssh_port, user=record.user, host_keys=record.host_keys)


def find_host(fleet: Fleet, name: str, record: CloneRecord) -> str | None:
    """The address to connect to: fixed on our network, loopback in user mode, asked for elsewhere."""
    attachment = record.attachment
    if attachment.kind == "user":
        return "127.0.0.1"
    if attachment.address is not None:
        return attachment.address
    return next(iter(fleet.hypervisor.addresses(name)), None)


def clones_of(fleet: Fleet, golden: str) -> tuple[str, ...]:
    """Names of all clones that stand on any generation of a golden."""
    names = []
    for domain in fleet.hypervisor.domains():
        if domain.is_clone and getattr(domain.record, "golden", None) == golden:
            names.append(domain.name)
    return tuple(sorted(names))
