"""One pass over all clones: bulk statistics, what guests say, the samples of the last hours; a verdict for each.

Changes nothing in libvirt or a guest. With ``record`` it adds what it has measured to the samples of this machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moltfleet.model import policy
from moltfleet.model.busy import is_busy
from moltfleet.model.domain import Domain, DomainState
from moltfleet.model.errors import MoltfleetError
from moltfleet.model.events import Event, EventKind
from moltfleet.model.names import match_names
from moltfleet.model.records import CloneRecord, Phase, Verb
from moltfleet.model.samples import LOOK_BACK_S, POOL, Sample, course, ending_with, rise
from moltfleet.model.survey import Ask, CloneSurvey, PoolSurvey, SurveyResult
from moltfleet.model.verdict import Judgement, Look, Verdict, fresh_balloon, judge, judge_pool, total_kills
from moltfleet.model.vitals import Reason, Vitals
from moltfleet.operations.asking import Answer, ask_guests
from moltfleet.operations.deadlines import find_epoch, timestamp
from moltfleet.operations.hold import holding_now
from moltfleet.operations.notify import tell

if TYPE_CHECKING:
    from moltfleet.model.size import Size
    from moltfleet.operations.fleet import Fleet

# Statistics of a thousand running domains take a second; a QEMU that hangs would keep them waiting for ever.
_STATISTICS_S = 20.0
# Over what the growth of a disk is told: the next sample but one of a timer that surveys every minute; and the oldest
# that is of use, for one that does so every quarter of an hour.
_GROWTH_S, _LONGEST_GROWTH_S = 120.0, 1200.0
_RUNNING = (DomainState.RUNNING, DomainState.BLOCKED)
_NOT_ASKED = Answer(None)


@dataclass(slots=True)
class _Pass:
    """What one pass knows so far."""

    fleet: Fleet
    rules: policy.Policy
    now: float
    time_s: float
    clones: dict[str, Domain]
    vitals: Mapping[str, Vitals] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    molted: Mapping[str, str] = field(default_factory=dict)
    pool_free: Size | None = None
    pool_size: Size | None = None
    notes: list[str] = field(default_factory=list)

    def record_of(self, name: str) -> CloneRecord | None:
        record = self.clones[name].record
        return record if isinstance(record, CloneRecord) else None

    def note(self, error: MoltfleetError) -> None:
        if error.brief not in self.notes:
            self.notes.append(error.brief)

    @property
    def full_pool(self) -> str:
        pool = PoolSurvey(self.pool_free, self.pool_size, Judgement(Verdict.UNKNOWN, ""))
        return f"pool {self.fleet.config.pool!r}" if policy.is_full(pool, self.rules) else ""


def survey(fleet: Fleet, *, record: bool, patterns: Sequence[str] = (), ask: Ask = Ask.ALL) -> SurveyResult:
    """Look at the named clones (none named: all) and at the pool. Raises: NotFound for a name that nobody has."""
    started = fleet.clock.monotonic()
    known = {domain.name: domain for domain in fleet.hypervisor.domains() if domain.is_clone or _is_unreadable(domain)}
    names = match_names(patterns, known, what="clone") if patterns else tuple(sorted(known))
    this = _Pass(
        fleet, fleet.config.policy.rules(), fleet.clock.now(), started, {name: known[name] for name in names}
    )  # fmt: skip
    _measure(this)
    this.molted = {name: tally.last_at for name, tally in fleet.chronicle.molts().items()}
    this.answers = ask_guests(fleet, _to_ask(this, ask))
    samples = {name: _sample(this, name) for name in names}
    pool = _pool_sample(this)
    clones, room = _judge_all(this, samples, pool)
    if record:
        _record(this, [sample for sample in (*samples.values(), pool) if sample is not None])
        _tell_kills(fleet, clones.values())
    for note in this.notes:
        fleet.progress.warn(note)
    return SurveyResult(
        taken_at=timestamp(fleet.clock),
        clones=tuple(clones[name] for name in names),
        pool=room,
        seconds=fleet.clock.monotonic() - started,
        notes=tuple(this.notes),
    )


def _is_unreadable(domain: Domain) -> bool:
    return domain.unreadable == "clone"


def _measure(this: _Pass) -> None:
    """Measure what can be measured; what cannot is noted."""
    try:
        told = this.fleet.hypervisor.vitals(timeout_s=_STATISTICS_S)
        this.vitals = {vitals.name: vitals for vitals in told if vitals.name in this.clones}
    except MoltfleetError as error:
        this.note(error)
    try:
        this.pool_free, this.pool_size = this.fleet.storage.find_free_space(), this.fleet.storage.find_size()
    except MoltfleetError as error:
        this.note(error)


def _to_ask(this: _Pass, ask: Ask) -> dict[str, CloneRecord]:
    """Choose the running clones whose guests are asked."""
    if ask is Ask.NONE:
        return {}
    running = {
        name: record
        for name, domain in this.clones.items()
        if domain.state in _RUNNING and (record := this.record_of(name)) and record.phase is Phase.READY
    }
    if ask is Ask.ALL:
        return running
    clones, _ = _judge_all(this, {name: _sample(this, name) for name in this.clones}, None)
    return {name: record for name, record in running.items() if clones[name].verdict is not Verdict.OK}


def _sample(this: _Pass, name: str) -> Sample | None:
    """Return this moment as a sample; None for a clone that does not run, or of which libvirt told nothing."""
    vitals, health = this.vitals.get(name), this.answers.get(name, _NOT_ASKED).health
    if vitals is None or not vitals.life:
        return None
    clone = this.record_of(name)
    sample = Sample(
        subject=name,
        life=f"{vitals.life} {clone.top if clone else ''}",
        time_s=this.time_s,
        resident=vitals.resident.bytes if vitals.resident else None,
        cpu_s=vitals.cpu_s,
        agents_cpu_s=health.agents_cpu_s if health else None,
        disk=vitals.disk.bytes if vitals.disk else None,
        kills=total_kills(health),
    )
    if vitals.balloon and fresh_balloon(vitals, this.now):
        total, available = vitals.balloon.total.bytes, vitals.balloon.available.bytes
    elif health:
        total, available = health.memory.total, min(health.memory.available, health.memory.total)
    else:
        return sample
    return sample._replace(used=total - available, total=total)


def _pool_sample(this: _Pass) -> Sample | None:
    if this.pool_free is None or this.pool_size is None:
        return None
    used = (this.pool_size - this.pool_free).bytes
    return Sample(POOL, this.fleet.config.pool, this.time_s, used=used, total=this.pool_size.bytes)


def _judge_all(
    this: _Pass, samples: Mapping[str, Sample | None], pool: Sample | None
) -> tuple[dict[str, CloneSurvey], PoolSurvey]:
    """Judge every clone and the pool. Histories are read one at a time: those of a thousand clones are many."""
    found: dict[str, CloneSurvey] = {}
    room = _judge_pool(this, () if pool is None else (pool,))
    try:
        since_s, subjects = this.time_s - LOOK_BACK_S, (*samples, POOL)
        for subject, history in this.fleet.samples.history(since_s=since_s, subjects=subjects):
            if subject == POOL and pool is not None:
                room = _judge_pool(this, ending_with(pool, history))
            elif sample := samples.get(subject):
                found[subject] = _judge_one(this, subject, ending_with(sample, history))
    except MoltfleetError as error:
        this.note(error)
    for name, alone in samples.items():
        if name not in found:
            found[name] = _judge_one(this, name, () if alone is None else (alone,))
    return found, room


def _judge_pool(this: _Pass, samples: Sequence[Sample]) -> PoolSurvey:
    last = course(samples)[-2:]
    is_recent = len(last) == 2 and last[1].time_s - last[0].time_s <= _LONGEST_GROWTH_S
    written = max(0, last[1].used - last[0].used) if is_recent else 0
    return PoolSurvey(
        this.pool_free, this.pool_size, judge_pool(samples, this.rules.pool_thresholds), written
    )  # fmt: skip


def _judge_one(this: _Pass, name: str, samples: tuple[Sample, ...]) -> CloneSurvey:
    domain, clone = this.clones[name], this.record_of(name)
    if clone is None:
        reason = "its metadata was written by a newer moltfleet, or edited"
        return CloneSurvey(name, domain.state, Judgement(Verdict.UNKNOWN, reason), None, reason, can_molt=False)
    vitals, answer = this.vitals.get(name), this.answers.get(name, _NOT_ASKED)
    look = Look(
        state=domain.state,
        should_run=_should_run(clone),
        now=this.now,
        memory=domain.memory,
        vitals=vitals,
        samples=samples,
        health=answer.health,
        silence=answer.silence,
        answered=answer.answered,
        work=_work(this, name, clone),
        full_pool=this.full_pool,
    )
    works, why = is_busy(answer.health, samples, this.rules, silence=answer.silence)
    written = rise(samples, "disk", over_s=_GROWTH_S, at_most_s=_LONGEST_GROWTH_S)
    cpu = rise(samples, "cpu_s", over_s=this.rules.busy_s)
    return CloneSurvey(
        clone=name,
        state=domain.state,
        judgement=judge(look, this.rules.thresholds),
        is_busy=works if domain.is_active else False,
        busy_why=why if domain.is_active else "",
        hold=holding_now(clone.hold, this.now),
        molted_at=_molted_at(this.molted.get(name, ""), clone),
        can_molt=clone.clean is not None and clone.phase is Phase.READY,
        why_not=vitals.reason if vitals else Reason.OTHER,
        paused_for_pool=vitals is not None and clone.paused == vitals.life != "",
        resident=vitals.resident if vitals else None,
        disk=vitals.disk if vitals else None,
        written=int(written[0]) if written else 0,
        written_s=written[1] if written else 0.0,
        cpu_share=cpu[0] / cpu[1] if cpu else None,
        kills=total_kills(answer.health),
        killed=_killed(samples),
        answered=answer.health is not None,
    )


def _should_run(clone: CloneRecord) -> bool:
    is_going = clone.pending is not None and clone.pending.verb is Verb.DELETE
    return clone.phase is Phase.READY and not clone.stopped and not is_going


def _killed(samples: Sequence[Sample]) -> int:
    """Count what was ended since the last sample that told."""
    told = [sample.kills for sample in samples if sample.kills is not None]
    is_told_now = len(told) > 1 and samples[-1].kills is not None
    return max(0, told[-1] - told[-2]) if is_told_now else 0


def _work(this: _Pass, name: str, clone: CloneRecord) -> str:
    """Say what a command does with a clone right now; "" when none does, also when one was interrupted."""
    try:
        if not this.fleet.locks.is_held(name):
            return ""
    except MoltfleetError as error:
        this.note(error)
        return ""
    return f"a command works on it: {clone.pending.verb}" if clone.pending else "a command works on it"


def _molted_at(molted: str, clone: CloneRecord) -> float | None:
    """Return when it was last molted: by this machine's count, or by another as the layers tell that were replaced."""
    layers = (*clone.kept, *((clone.shed,) if clone.shed else ()))
    moments = [find_epoch(moment) for moment in (*(layer.replaced_at for layer in layers), molted)]
    return max((moment for moment in moments if moment is not None), default=None)


def _tell_kills(fleet: Fleet, clones: Iterable[CloneSurvey]) -> None:
    for one in clones:
        if one.killed:
            what = "one process was" if one.killed == 1 else f"{one.killed} processes were"
            text = f"Clone {one.clone!r} ran out of memory: {what} ended in it"
            tell(fleet, Event(EventKind.KILLED, text, one.clone))


def _record(this: _Pass, samples: Sequence[Sample]) -> None:
    try:
        this.fleet.samples.add(samples)
    except MoltfleetError as error:
        this.note(error)
