"""Make room for a clone of a given size: propose which running clones to molt or stop, and do it when told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.admission import decide
from moltfleet.model.errors import NoCapacity
from moltfleet.model.load import Candidate, DomainUse, Situation
from moltfleet.model.makingroom import Act, RoomPlan, Way, is_pressed, plan_room
from moltfleet.model.overhead import footprint, overhead
from moltfleet.model.records import CloneRecord, GoldenRecord, Phase
from moltfleet.model.requests import MoltRequest, StopRequest
from moltfleet.model.results import ActResult
from moltfleet.model.size import Size
from moltfleet.operations import measuring
from moltfleet.operations.molt import molt
from moltfleet.operations.stop import stop

if TYPE_CHECKING:
    from moltfleet.model.domain import Domain
    from moltfleet.operations.fleet import Fleet

# Less is not worth a molt.
_LEAST_GIVEN_BACK = Size.of_mib(256)


@dataclass(frozen=True, slots=True)
class _Running:
    """A running clone of ours that nobody works on, and what was measured of it."""

    domain: Domain
    clone: CloneRecord
    use: DomainUse

    @property
    def resident(self) -> Size:
        return self.use.resident or Size(0)

    @property
    def expected(self) -> Size:
        return footprint(self.use.memory, vcpus=self.use.vcpus, emulated=self.use.emulated)


def plan(fleet: Fleet, memory: Size, *, vcpus: int | None = None) -> RoomPlan:
    """Choose what would make room for one more clone; changes nothing.

    First come molts that give back what a QEMU takes beyond its promise (all that they give back while the host waits
    for memory), most first; then stops, of clones that have not written to their disks for longest first.
    Raises: NoCapacity when not even all of it would do.
    """
    candidate = Candidate(
        name="",
        memory=memory,
        vcpus=vcpus or fleet.config.defaults.vcpus,
        emulated=measuring.is_emulated(fleet),
    )
    situation = measuring.measure(fleet, reservations=fleet.reservations.current())
    running = _running(fleet, situation)
    ways = (
        *_molts(fleet, running, pressed=is_pressed(decide(situation, candidate))),
        *_stops(fleet, running),
    )
    made = plan_room(situation, candidate, ways)
    if not made.after.admit:
        raise _impossible(made, len(running))
    return made


def _impossible(made: RoomPlan, running: int) -> NoCapacity:
    first, *_ = made.after.failed
    largest = made.after.largest
    fits = f"The largest clone that would fit then has {largest}." if largest.bytes else "No clone would fit then."
    which = "clone that runs" if running == 1 else "clones that run"
    return NoCapacity(
        f"Stopping all {running} {which} would not make room for a clone of {made.after.candidate.memory},"
        f" rule {first.rule}: {first.detail}",
        hint=f"{fits} Other people's domains, and clones that are worked on, are never stopped.",
    )


def _running(fleet: Fleet, situation: Situation) -> list[_Running]:
    uses = {use.name: use for use in situation.domains}
    return [
        _Running(domain, domain.record, uses[domain.name])
        for domain in fleet.hypervisor.domains()
        if isinstance(domain.record, CloneRecord)
        and domain.is_clone
        and domain.name in uses
        and domain.record.phase is Phase.READY
        and domain.record.pending is None
        and not fleet.locks.is_held(domain.name)
    ]


def _molts(fleet: Fleet, running: list[_Running], *, pressed: bool) -> list[Way]:
    """Ways by molting, the ones that give back most first."""
    found = []
    for one in running:
        if one.clone.clean is None:
            continue
        clean = _clean_resident(fleet, one)
        given_back = one.resident - (clean if pressed else one.expected)
        if given_back < _LEAST_GIVEN_BACK:
            continue
        beyond = one.resident - one.expected
        what = f"{beyond} beyond its promise" if beyond.bytes else f"{given_back} above its clean state"
        found.append(Way(one.domain.name, Act.MOLT, beyond, one.resident - clean, clean, f"takes {what}"))
    return sorted(found, key=lambda way: (-way.resident.bytes, way.clone))


def _clean_resident(fleet: Fleet, one: _Running) -> Size:
    """Estimate what QEMU takes right after a molt: the clean RAM, or what the golden used when idle, and its own."""
    own = overhead(one.use.memory, vcpus=one.use.vcpus, emulated=one.use.emulated)
    ram = one.clone.clean.ram if one.clone.clean else None
    image = fleet.storage.find(ram) if ram else None
    if image is not None:
        return min(one.expected, image.allocation + own)
    golden = fleet.hypervisor.find(one.clone.golden)
    idle = golden.record.latest.idle_memory if golden and isinstance(golden.record, GoldenRecord) else 0
    return min(one.expected, (Size(idle) if idle else one.use.memory) + own)


def _stops(fleet: Fleet, running: list[_Running]) -> list[Way]:
    """Ways by stopping, the clones that wrote to their disks longest ago first; their disks keep everything."""
    now = fleet.clock.now()

    def idle_s(one: _Running) -> float:
        top = fleet.storage.find(one.clone.top)
        return max(0.0, now - float(top.mtime)) if top else 0.0

    ranked = sorted(((idle_s(one), one) for one in running), key=lambda pair: (-pair[0], pair[1].domain.name))
    return [
        Way(one.domain.name, Act.STOP, one.use.promised, one.resident, Size(0), f"last wrote {_ago(seconds)}")
        for seconds, one in ranked
    ]


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s ago"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min ago"
    return f"{seconds / 3600:.0f} h ago" if seconds < 172_800 else f"{seconds / 86_400:.0f} days ago"


def perform(fleet: Fleet, made: RoomPlan) -> tuple[ActResult, ...]:
    """Go the ways, one after the other; a failure of one leaves the others."""
    results: list[ActResult] = []
    for way in made.ways:
        if way.act is Act.STOP:
            results += stop(fleet, [way.clone], StopRequest())
        else:
            results += [
                ActResult(r.clone, r.outcome, r.reason, r.seconds.total, r.error)
                for r in molt(fleet, [way.clone], MoltRequest())
            ]
    return tuple(results)


def check(fleet: Fleet, made: RoomPlan) -> None:
    """Look whether there is room now. Raises: NoCapacity."""
    candidate = made.before.candidate
    situation = measuring.measure(fleet, reservations=fleet.reservations.current())
    admission = decide(situation, candidate)
    if not admission.admit:
        first, *_ = admission.failed
        raise NoCapacity(
            f"No room for a clone of {candidate.memory} yet, rule {first.rule}: {first.detail}",
            hint="Memory comes back within seconds, pressure falls within a minute: ask again.",
        )
