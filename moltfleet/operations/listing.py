"""What there is: clones and goldens as tables show them. Changes nothing, and waits behind no running job."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.domain import Domain, DomainState, Endpoint
from moltfleet.model.errors import WrongState
from moltfleet.model.records import CloneRecord, GoldenRecord, Phase
from moltfleet.model.results import CloneView, GoldenView
from moltfleet.model.size import Size
from moltfleet.operations.clones import clones_of, get_any_golden
from moltfleet.operations.hold import holding_now

if TYPE_CHECKING:
    from moltfleet.model.records import Generation
    from moltfleet.model.volumes import Volume
    from moltfleet.operations.fleet import Fleet

_LARGEST_MANIFEST = 8 << 20


def list_clones(fleet: Fleet) -> tuple[CloneView, ...]:
    """All clones by name."""
    domains = fleet.hypervisor.domains()
    return view_clones(fleet, domains, fleet.storage.volumes()) if any(map(_is_shown, domains)) else ()


def view_clones(fleet: Fleet, domains: Sequence[Domain], volumes: Iterable[Volume]) -> tuple[CloneView, ...]:
    """The clones among ``domains`` by name, with what they take of ``volumes``."""
    latest = {
        d.name: d.record.latest.number for d in domains if isinstance(d.record, GoldenRecord) and d.record.generations
    }
    allocations = {volume.name: volume.allocation.bytes for volume in volumes}
    clones = sorted(filter(_is_shown, domains), key=lambda domain: domain.name)
    reasons = _stale_reasons(fleet, clones)
    now = fleet.clock.now()
    views = (_view(domain, reasons.get(domain.name, ""), latest, allocations) for domain in clones)
    return tuple(replace(view, hold=holding_now(view.hold, now)) if view.hold else view for view in views)


def _is_shown(domain: Domain) -> bool:
    return domain.is_clone or domain.unreadable == "clone"


def _view(domain: Domain, stale_reason: str, latest: dict[str, int], allocations: dict[str, int]) -> CloneView:
    clone = domain.record
    if not isinstance(clone, CloneRecord):
        return _unreadable(domain)
    return CloneView(
        name=domain.name,
        golden=clone.golden,
        generation=clone.generation,
        latest_generation=latest.get(clone.golden),
        state=domain.state,
        endpoint=_endpoint(domain, clone),
        memory=domain.memory,
        vcpus=domain.vcpus,
        disk_allocation=Size(sum(allocations.get(volume, 0) for volume in clone.volumes())),
        warm="stale" if stale_reason else _warmth(clone),
        health=_health(domain, clone),
        stale_reason=stale_reason,
        forced=clone.forced,
        hold=clone.hold,
        logins=clone.logins if clone.logins and clone.logins.names else None,
    )


def _unreadable(domain: Domain) -> CloneView:
    """What libvirt alone tells of a clone whose record a newer version wrote, or that somebody edited."""
    return CloneView(
        name=domain.name,
        golden="?",
        generation=0,
        latest_generation=None,
        state=domain.state,
        endpoint=None,
        memory=domain.memory,
        vcpus=domain.vcpus,
        disk_allocation=Size(0),
        warm="none",
        health="unreadable",
    )


def _endpoint(domain: Domain, clone: CloneRecord) -> Endpoint | None:
    attachment = clone.attachment
    host = "127.0.0.1" if attachment.kind == "user" else attachment.address
    if host is None:
        return None
    return Endpoint(domain.name, host, attachment.ssh_port, clone.user, clone.host_keys)


def _stale_reasons(fleet: Fleet, domains: Iterable[Domain]) -> dict[str, str]:
    """Say of each clone with saved RAM why that no longer fits, if it does not; all are asked about at once."""
    clean = {d.name: d.record.clean for d in domains if isinstance(d.record, CloneRecord) and d.record.clean}
    warm = {name: point for name, point in clean.items() if point.ram is not None}
    found = fleet.hypervisor.fingerprints(warm) if warm else {}
    return {name: warm[name].stale_reason(now) for name, now in found.items()}


def _warmth(clone: CloneRecord) -> str:
    if clone.clean is None:
        return "none"
    return "warm" if clone.clean.ram else "cold"


def _health(domain: Domain, clone: CloneRecord) -> str:
    if clone.pending is not None:
        return f"unfinished {clone.pending.verb}"
    if clone.phase is Phase.CREATING:
        return "creating"
    if domain.state is DomainState.PAUSED:
        return "paused"
    return "ok" if domain.is_active else "off"


def list_goldens(fleet: Fleet) -> tuple[GoldenView, ...]:
    """All goldens by name."""
    names = sorted(
        d.name for d in fleet.hypervisor.domains() if isinstance(d.record, GoldenRecord) and d.record.generations
    )
    return tuple(view_golden(fleet, name) for name in names)


def view_golden(fleet: Fleet, name: str) -> GoldenView:
    """One golden. Raises: NotFound."""
    _, golden = get_any_golden(fleet, name)
    volumes = {volume.name: volume.allocation.bytes for volume in fleet.storage.volumes()}
    return GoldenView(
        name=name,
        profile=golden.profile,
        source=golden.source,
        generation=golden.latest.number,
        generations=tuple(generation.number for generation in golden.generations),
        built_at=golden.latest.built_at,
        allocation=Size(sum(volumes.get(volume, 0) for volume in golden.volumes())),
        clones=clones_of(fleet, name),
        behind=behind(fleet, name, golden.latest.number),
    )


def behind(fleet: Fleet, golden: str, number: int) -> tuple[str, ...]:
    """Names of the golden's clones whose clean point stands on another generation than ``number``."""
    found = (domain for domain in fleet.hypervisor.domains() if domain.is_clone)
    names = (d.name for d in found if isinstance(d.record, CloneRecord) and _is_behind(d.record, golden, number))
    return tuple(sorted(names))


def _is_behind(clone: CloneRecord, golden: str, number: int) -> bool:
    return clone.golden == golden and clone.generation != number


def show_golden(fleet: Fleet, name: str) -> tuple[GoldenView, dict[str, object]]:
    """One golden with the manifest of its newest generation; an adopted one has an empty one.

    Raises: NotFound, WrongState (manifest unreadable).
    """
    _, golden = get_any_golden(fleet, name)
    if not golden.latest.manifest:
        return view_golden(fleet, name), {}
    document = read_manifest(fleet, golden.latest)
    if document is None:
        raise WrongState(f"Manifest of golden {name!r} cannot be read")
    return view_golden(fleet, name), document


def read_manifest(fleet: Fleet, generation: Generation) -> dict[str, object] | None:
    """What a generation's manifest says; None when it cannot be read."""
    if not generation.manifest or fleet.storage.find(generation.manifest) is None:
        return None
    try:
        document = json.loads(fleet.storage.read(generation.manifest, limit=_LARGEST_MANIFEST).rstrip(b"\0"))
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
