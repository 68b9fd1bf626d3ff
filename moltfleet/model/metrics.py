"""Metrics as values: families of samples by the conventions of Prometheus, with base units in their names.

At most so many clones stand in it by name, the most urgent ones; all of them are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from moltfleet.model.chronicle import MoltTally
from moltfleet.model.load import Situation
from moltfleet.model.nightly import LastNight, Outcome
from moltfleet.model.records import CloneRecord
from moltfleet.model.size import Size
from moltfleet.model.survey import CloneSurvey, PoolSurvey, SurveyResult
from moltfleet.model.verdict import Verdict

MOST_CLONES = 250
PHASES = ("total", "overlay", "destroy", "restore", "ready")
_URGENCY = (Verdict.CRITICAL, Verdict.LEAKING, Verdict.DOWN, Verdict.PAUSED, Verdict.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Point:
    """One sample: its labels' values in the order of the family's labels."""

    value: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """Samples of one name. ``kind`` is "gauge" or "counter", and the name of a counter ends with ``_total``."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Numbers:
    """What was measured at one moment. ``promised`` is in bytes by domain, ``records`` are of clones by name.

    ``earlyoom_kills`` are those of the last ten minutes on the host, None where nobody knows.
    """

    survey: SurveyResult
    situation: Situation
    promised: Mapping[str, int]
    records: Mapping[str, CloneRecord]
    tallies: Mapping[str, MoltTally]
    earlyoom_kills: int | None = None


def families(numbers: Numbers | None, night: LastNight | None, version: str) -> tuple[Family, ...]:
    """Return all metrics; those of the fleet only when it could be looked at. Families without samples are left out."""
    found = [_info(version), _gauge("up", "Whether libvirt could be asked (1) or not (0).", float(numbers is not None))]
    found += _about_night(night)
    if numbers is not None:
        found += [*_about_clones(numbers), *_about_host(numbers.situation), *_about_pool(numbers.survey.pool)]
        help = "Processes that earlyoom ended on the host in the last ten minutes."
        found.append(_gauge("host_earlyoom_kills_recent", help, numbers.earlyoom_kills))
    return tuple(family for family in found if family.points)


def _info(version: str) -> Family:
    help = "The version of moltfleet that wrote this."
    return Family("moltfleet_build_info", "gauge", help, ("version",), (Point(1, (version,)),))


def _gauge(name: str, help: str, value: float | None) -> Family:
    return Family(f"moltfleet_{name}", "gauge", help, (), () if value is None else (Point(value),))


def _about_night(night: LastNight | None) -> Iterator[Family]:
    """Tell of the last night that began; nothing when there never was one."""
    if night is None:
        return
    help = "When the last night began, as it was written down."
    yield _gauge("night_last_start_timestamp_seconds", help, _epoch(night.started_at))
    ended = _epoch(night.ended_at) if night.ended_at else None
    yield _gauge("night_last_end_timestamp_seconds", "When it ended; missing while it runs or was interrupted.", ended)
    points = tuple(Point(float(night.outcome is word), (str(word),)) for word in Outcome)
    help = "How the last night ended: 1 for the outcome that it had."
    yield Family("moltfleet_night_last_outcome", "gauge", help, ("outcome",), points)


def _about_clones(numbers: Numbers) -> Iterator[Family]:
    every = numbers.survey.clones
    shown = sorted(every, key=_most_urgent_first)[:MOST_CLONES]
    counts = tuple(Point(sum(c.verdict is verdict for c in every), (str(verdict),)) for verdict in Verdict)
    yield Family("moltfleet_clones", "gauge", "How many clones have this verdict.", ("verdict",), counts)
    help = "Clones without metrics of their own, as there are too many."
    yield _gauge("clones_left_out", help, len(every) - len(shown))
    yield from _per_clone(numbers, sorted(shown, key=lambda clone: clone.clone))


def _most_urgent_first(clone: CloneSurvey) -> tuple[int, float, str]:
    rank = _URGENCY.index(clone.verdict) if clone.verdict in _URGENCY else len(_URGENCY)
    return rank, float("inf") if clone.seconds is None else clone.seconds, clone.clone


def _per_clone(numbers: Numbers, clones: list[CloneSurvey]) -> Iterator[Family]:
    """Tell of each clone by its name."""
    tallies = {clone.clone: numbers.tallies.get(clone.clone, MoltTally()) for clone in clones}

    def each(name: str, help: str, value: Callable[[CloneSurvey], float | None], *, kind: str = "gauge") -> Family:
        told = ((clone.clone, value(clone)) for clone in clones)
        points = tuple(Point(float(number), (clone,)) for clone, number in told if number is not None)
        return Family(f"moltfleet_clone_{name}", kind, help, ("clone",), points)

    yield _clone_info(numbers, clones)
    yield _states("verdict", "How the clone is: 1 for the verdict that it has.", clones)
    yield each("running", "Whether its processors run.", lambda c: float(c.is_running))
    yield each(
        "promised_bytes",
        "Memory that it may come to take on the host, with QEMU's own; 0 when it is off.",
        lambda c: numbers.promised.get(c.clone, 0),
    )
    yield each("resident_bytes", "Memory that its QEMU takes on the host.", lambda c: _bytes(c.resident))
    yield each("used_bytes", "Memory in use in the guest, by the worst of what is known.", lambda c: c.judgement.used)
    yield each("memory_bytes", "Memory of which used_bytes is a part.", lambda c: c.judgement.total)
    yield each(
        "oom_forecast_seconds",
        "When that memory is used up; missing where that is not foreseen.",
        lambda c: c.judgement.seconds,
    )
    yield each("disk_bytes", "What its top layer takes in the pool.", lambda c: _bytes(c.disk))
    yield each(
        "kills_total",
        "Processes that the guest's watchdog or kernel ended for want of memory, since its boot.",
        lambda c: c.kills,
        kind="counter",
    )
    yield each("molts_total", "Molts that succeeded.", lambda c: tallies[c.clone].molts, kind="counter")
    yield each("molt_failures_total", "Molts that failed.", lambda c: tallies[c.clone].failures, kind="counter")
    yield each(
        "last_molt_timestamp_seconds",
        "When the last molt that succeeded ended.",
        lambda c: _epoch(tallies[c.clone].last_at) if tallies[c.clone].last_at else None,
    )
    help = "What the last molt that succeeded took, by phase; total also holds what no phase names."
    molted = [clone.clone for clone in clones if tallies[clone.clone].molts]
    points = tuple(Point(getattr(tallies[name].seconds, phase), (name, phase)) for name in molted for phase in PHASES)
    yield Family("moltfleet_clone_last_molt_seconds", "gauge", help, ("clone", "phase"), points)


def _clone_info(numbers: Numbers, clones: Iterable[CloneSurvey]) -> Family:
    known = [(c.clone, record) for c in clones if (record := numbers.records.get(c.clone)) is not None]
    points = tuple(Point(1, (name, record.golden, str(record.generation))) for name, record in known)
    return Family("moltfleet_clone_info", "gauge", "What it was made from.", ("clone", "golden", "generation"), points)


def _states(label: str, help: str, clones: Iterable[CloneSurvey]) -> Family:
    """One sample for the word that holds, and one for each that does not: what was true is seen to end."""
    points = tuple(Point(float(one.verdict is word), (one.clone, str(word))) for one in clones for word in Verdict)
    return Family(f"moltfleet_clone_{label}", "gauge", help, ("clone", label), points)


def _about_host(situation: Situation) -> Iterator[Family]:
    host = situation.host
    limit = (host.total - situation.reserve).bytes
    committed = situation.promised.bytes + situation.reserved.bytes
    yield _gauge("host_memory_bytes", "Memory that counts as the host's.", host.total.bytes)
    yield _gauge("host_reserve_bytes", "What of it clones never get.", situation.reserve.bytes)
    yield _gauge("host_committed_bytes", "What is promised to domains that run, and reserved for starts.", committed)
    yield _gauge("host_headroom_bytes", "What may still be promised; below 0 when too much is.", limit - committed)
    yield _gauge(
        "host_available_bytes",
        "What is available of the host's memory now.",
        _bytes(host.available),
    )
    yield _gauge(
        "host_memory_pressure_ratio",
        "Share of the last minute in which something waited for memory (PSI some avg60).",
        None if host.pressure is None else host.pressure / 100,
    )
    help = "Processes that the host's kernel ended for want of memory in the last ten minutes."
    yield _gauge("host_oom_kills_recent", help, host.oom_kills)


def _about_pool(pool: PoolSurvey) -> Iterator[Family]:
    yield _gauge("pool_free_bytes", "What is free in the storage pool.", _bytes(pool.free))
    yield _gauge("pool_size_bytes", "What the storage pool holds in all.", _bytes(pool.size))
    help = "When the pool is full; missing where that is not foreseen."
    yield _gauge("pool_full_forecast_seconds", help, pool.judgement.seconds)


def _bytes(size: Size | None) -> float | None:
    return None if size is None else size.bytes


def _epoch(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
