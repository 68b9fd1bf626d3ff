"""Gather the report: every domain, volume and figure is asked for once, in bulk. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet import __version__
from moltfleet.model import findings, headroom, rightsize
from moltfleet.model.admission import decide
from moltfleet.model.domain import Domain, DomainState
from moltfleet.model.load import Candidate, DomainUse, Situation
from moltfleet.model.records import CloneRecord, GoldenRecord
from moltfleet.model.report import CloneUse, DiskUse, GenerationUse, GoldenUse, Report, total
from moltfleet.model.size import Size
from moltfleet.model.volumes import Volume
from moltfleet.operations import measuring, outlook, poolparts
from moltfleet.operations.deadlines import timestamp
from moltfleet.operations.listing import view_clones
from moltfleet.operations.poolparts import Kind

if TYPE_CHECKING:
    from moltfleet.model.results import CloneView
    from moltfleet.operations.fleet import Fleet

Volumes = Mapping[str, Volume]


def gather(fleet: Fleet, *, forecasts: bool = False) -> Report:
    """Look at the host, its goldens, clones and other domains; ``forecasts`` are asked of running clones."""
    situation = measuring.measure(fleet, reservations=fleet.reservations.current())
    domains = fleet.hypervisor.domains()
    volumes = {} if situation.pool_free is None else {volume.name: volume for volume in fleet.storage.volumes()}
    clones = _clones(fleet, view_clones(fleet, domains, volumes.values()), domains, situation, volumes)
    names = {clone.view.name for clone in clones}
    candidate = _default_clone(fleet)
    report = Report(
        taken_at=timestamp(fleet.clock),
        version=__version__,
        host=fleet.hypervisor.host(),
        situation=situation,
        clones=clones,
        others=tuple(use for use in situation.domains if use.name not in names),
        goldens=_goldens(domains, volumes),
        pool=poolparts.split(domains, volumes.values()),
        headroom=headroom.rows(situation, candidate),
        largest=decide(situation, candidate).largest,
        advice=rightsize.advise(situation, clones, candidate),
        outlook=outlook.ask(fleet, _at_work(clones)) if forecasts else None,
    )
    return replace(report, findings=findings.find_all(report, growth=fleet.config.disk_growth))


def _at_work(clones: Sequence[CloneUse]) -> tuple[str, ...]:
    return tuple(c.view.name for c in clones if c.view.state in (DomainState.RUNNING, DomainState.BLOCKED))


def _default_clone(fleet: Fleet) -> Candidate:
    """What a clone of the configuration's defaults would need, as ``plan`` takes it."""
    defaults, emulated = fleet.config.defaults, measuring.is_emulated(fleet)
    return Candidate("", defaults.memory, defaults.vcpus, emulated, disk_growth=fleet.config.disk_growth)


def _clones(
    fleet: Fleet, views: Sequence[CloneView], domains: Sequence[Domain], situation: Situation, volumes: Volumes
) -> tuple[CloneUse, ...]:
    records = {domain.name: domain.record for domain in domains}
    active, peaks = {use.name: use for use in situation.domains}, fleet.meter.peaks()
    found = (_clone(view, records[view.name], active.get(view.name), volumes) for view in views)
    return tuple(replace(clone, peak=peaks.get(clone.view.name)) if clone.is_active else clone for clone in found)


def _clone(view: CloneView, record: object, use: DomainUse | None, volumes: Volumes) -> CloneUse:
    known = record if isinstance(record, CloneRecord) else None
    top = volumes.get(known.top) if known else None
    return CloneUse(
        view=view,
        promised=use.promised if use else Size(0),
        resident=use.resident if use else None,
        disk=_disk(known, volumes) if known else DiskUse(),
        disk_capacity=top.capacity if top else Size(0),
    )


def _disk(record: CloneRecord, volumes: Volumes) -> DiskUse:
    kinds = poolparts.kinds_of(record)

    def taken(wanted: Kind) -> Size:
        return total(volumes[name].allocation for name, kind in kinds.items() if kind is wanted and name in volumes)

    return DiskUse(
        clean=taken(Kind.CLEAN),
        ram_image=taken(Kind.RAM),
        written=taken(Kind.WRITTEN),
        shed=taken(Kind.SHED),
        kept=taken(Kind.KEPT),
        leftover=taken(Kind.LEFTOVER),
    )


def _goldens(domains: Sequence[Domain], volumes: Volumes) -> tuple[GoldenUse, ...]:
    clones = [d for d in domains if d.is_clone and isinstance(d.record, CloneRecord)]
    standing = Counter((d.record.golden, d.record.generation) for d in clones if isinstance(d.record, CloneRecord))
    running = Counter(d.record.golden for d in clones if d.is_active and isinstance(d.record, CloneRecord))
    found = [
        GoldenUse(
            name=domain.name,
            profile=domain.record.profile,
            source=domain.record.source,
            generations=_generations(domain.name, domain.record, volumes, standing),
            running=running[domain.name],
        )
        for domain in domains
        if isinstance(domain.record, GoldenRecord) and domain.record.generations
    ]
    return tuple(sorted(found, key=lambda golden: golden.name))


def _generations(
    name: str, golden: GoldenRecord, volumes: Volumes, standing: Mapping[tuple[str, int], int]
) -> tuple[GenerationUse, ...]:
    return tuple(
        GenerationUse(
            number=generation.number,
            built_at=generation.built_at,
            allocation=total(volumes[v].allocation for v in (generation.volume, generation.manifest) if v in volumes),
            clones=standing[name, generation.number],
        )
        for generation in golden.generations
    )
