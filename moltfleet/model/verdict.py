"""How a clone is, in one word with its evidence: from libvirt's statistics, from samples, and from its guest. No I/O.

What a guest's balloon has stopped to tell is never taken for good news: a guest that thrashes stops to tell it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from moltfleet.model import forecast
from moltfleet.model.domain import DomainState
from moltfleet.model.figures import amount, duration, percent
from moltfleet.model.health import Health
from moltfleet.model.reading import Reading, by_guest, read_course, urgency
from moltfleet.model.samples import Sample, course
from moltfleet.model.size import Size
from moltfleet.model.vitals import Reason, Vitals

# libvirt asks the balloon every 5 s; six answers that did not come are no accident any more.
STALE_S = 30.0
# A QEMU that takes so much of what its guest has is no proof of a leak (caches do that), but leaves no other reading of
# a guest that has gone silent.
_NEARLY_ALL = 0.9


class Verdict(StrEnum):
    """DESIGN §6, from harmless to urgent; the last four are about what is no matter of memory."""

    OK = "ok"
    GROWING = "growing"
    LEAKING = "leaking"
    CRITICAL = "critical"
    DOWN = "down"
    PAUSED = "paused"
    BUSY = "busy"
    UNKNOWN = "unknown"

    @property
    def is_alarm(self) -> bool:
        """Whether its memory is about to be used up."""
        return self in (Verdict.LEAKING, Verdict.CRITICAL)

    @property
    def is_trouble(self) -> bool:
        """Whether somebody should look."""
        return self not in (Verdict.OK, Verdict.GROWING, Verdict.BUSY)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict: ``reason`` in a few words, ``evidence`` a line each.

    Bytes ``used`` of ``total`` now, all of it in ``seconds`` at ``rate`` bytes a second; None where that is not told.
    """

    verdict: Verdict
    reason: str
    evidence: tuple[str, ...] = ()
    used: int | None = None
    total: int | None = None
    seconds: float | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one clone. ``samples`` are of its present life, the last one of this moment.

    ``work`` says what a command does with it, "" when none does. ``silence`` says why the guest that was asked told
    nothing, "" when it did, or was not asked; it ``answered`` where it just cannot tell. ``full_pool`` names the pool
    when that is full; ``now`` is of the epoch.
    """

    state: DomainState
    should_run: bool
    now: float
    memory: Size
    vitals: Vitals | None = None
    samples: tuple[Sample, ...] = ()
    health: Health | None = None
    silence: str = ""
    answered: bool = False
    work: str = ""
    full_pool: str = ""


def judge(look: Look, limits: forecast.Thresholds) -> Judgement:
    """Return the verdict on a clone."""
    if look.work:
        return Judgement(Verdict.BUSY, look.work)
    if look.state is DomainState.PAUSED:
        return Judgement(Verdict.PAUSED, _why_paused(look))
    if look.state is DomainState.SHUTTING_DOWN:
        return Judgement(Verdict.BUSY, "it is shutting down")
    if look.state in (DomainState.SHUT_OFF, DomainState.CRASHED):
        return _judge_off(look)
    if look.state not in (DomainState.RUNNING, DomainState.BLOCKED):
        return Judgement(Verdict.UNKNOWN, f"libvirt calls it {look.state}")
    return _judge_running(look, limits)


def _why_paused(look: Look) -> str:
    reason = look.vitals.reason if look.vitals else Reason.OTHER
    if reason is Reason.IO_ERROR:
        return f"paused by an I/O error: {look.full_pool} is full" if look.full_pool else "paused by an I/O error"
    return f"paused {reason}" if reason is Reason.BY_HAND else f"paused: {reason}"


def _judge_off(look: Look) -> Judgement:
    if not look.should_run:
        return Judgement(Verdict.OK, "off, as it should be")
    return Judgement(Verdict.DOWN, f"off, and should run: {look.vitals.reason if look.vitals else Reason.OTHER}")


def _judge_running(look: Look, limits: forecast.Thresholds) -> Judgement:
    readings = [*_by_samples(look, limits), *by_guest(look.health, limits)]
    evidence = (*(reading.line for reading in readings), *_about_balloon(look), *_about_rest(look))
    told = [reading for reading in readings if reading.word != "unknown"]
    if not told:
        return _judge_silent(look, limits, readings, evidence)
    worst = max(told, key=urgency)
    return Judgement(
        Verdict(worst.word), worst.reason, evidence, worst.used, worst.total, worst.seconds, worst.rate
    )  # fmt: skip


def _by_samples(look: Look, limits: forecast.Thresholds) -> Iterator[Reading]:
    """Read the guest's memory from the samples, if the last of them tells it."""
    if look.samples and look.samples[-1].used is not None:
        yield read_course(course(look.samples), limits, whose="memory")


def _judge_silent(
    look: Look, limits: forecast.Thresholds, readings: Sequence[Reading], evidence: tuple[str, ...]
) -> Judgement:
    """Judge a guest of which nothing is known now: by what it told last, and by what its QEMU takes."""
    if not look.silence or look.answered:
        # What is in use now may well be known, where too few samples tell what becomes of it.
        used, total = (readings[0].used, readings[0].total) if readings else (None, None)
        reason = readings[0].reason if readings else _no_balloon(look)
        return Judgement(Verdict.UNKNOWN, look.silence or reason, evidence, used, total)
    before = course(look.samples)
    if before:
        last = read_course(before, limits, whose="memory when last told")
        if last.word in ("leaking", "critical"):
            ago = duration(max(0.0, look.samples[-1].time_s - before[-1].time_s))
            reason = f"{last.reason}, as it was {ago} ago; since then the guest tells nothing and does not answer"
            return Judgement(Verdict.CRITICAL, reason, (last.line, *evidence), last.used, last.total)
    resident = look.vitals.resident if look.vitals else None
    told_once = look.vitals is not None and look.vitals.balloon is not None
    if told_once and resident is not None and resident.bytes >= _NEARLY_ALL * look.memory.bytes:
        reason = "the guest tells nothing any more and does not answer, and its QEMU takes nearly all that it has"
        return Judgement(Verdict.CRITICAL, reason, evidence, resident.bytes, look.memory.bytes)
    return Judgement(Verdict.UNKNOWN, look.silence, evidence)


def _no_balloon(look: Look) -> str:
    balloon = look.vitals.balloon if look.vitals else None
    if balloon is None:
        return "its balloon tells nothing yet" if look.vitals else "libvirt did not tell in time"
    return f"its balloon told nothing for {duration(look.now - balloon.told_at)}"


def _about_balloon(look: Look) -> Iterator[str]:
    if look.vitals is None or fresh_balloon(look.vitals, look.now):
        return
    yield f"balloon: {_no_balloon(look).removeprefix('its balloon ')}"


def fresh_balloon(vitals: Vitals, now: float) -> bool:
    """Whether what the balloon told is of now."""
    return vitals.balloon is not None and now - vitals.balloon.told_at <= STALE_S


def _about_rest(look: Look) -> Iterator[str]:
    if look.silence:
        yield f"guest: {look.silence}"
    vitals = look.vitals
    if vitals and vitals.resident is not None:
        share = vitals.resident.bytes / look.memory.bytes if look.memory.bytes else 0.0
        yield f"QEMU: takes {amount(vitals.resident.bytes)}, {percent(share)} of the guest's memory"
    kills = total_kills(look.health)
    if kills:
        yield f"kills: {kills} in the guest since its boot"


def total_kills(health: Health | None) -> int | None:
    """How many processes were ended in the guest for want of memory, by its kernel and its watchdog."""
    return None if health is None else health.kills.total + health.watchdog.kills


def judge_pool(samples: Sequence[Sample], limits: forecast.Thresholds) -> Judgement:
    """Return the verdict on the pool's room, which is forecast as memory is."""
    told = course(samples)
    if not told:
        return Judgement(Verdict.UNKNOWN, "there is no running pool")
    found = read_course(told, limits, whose="room")
    return Judgement(
        Verdict(found.word), found.reason, (found.line,), found.used, found.total, found.seconds, found.rate
    )  # fmt: skip
