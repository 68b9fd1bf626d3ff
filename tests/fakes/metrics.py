"""What metrics are made from: a host with three clones of which one leaks, one is off, and one is well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fakes.meter import a_calm_host
from moltfleet.model.chronicle import MoltTally
from moltfleet.model.domain import DomainState
from moltfleet.model.load import DomainUse, Situation
from moltfleet.model.metrics import Numbers
from moltfleet.model.records import CloneRecord
from moltfleet.model.results import MoltSeconds
from moltfleet.model.size import Size
from moltfleet.model.survey import CloneSurvey, PoolSurvey, SurveyResult
from moltfleet.model.verdict import Judgement, Verdict

GIB = 2**30


def a_clone_survey(
    name: str, verdict: Verdict = Verdict.OK, *, seconds: float | None = None, kills: int | None = 0
) -> CloneSurvey:
    """One clone of 16 GiB, running unless it is down; half of its memory is in use."""
    is_down = verdict is Verdict.DOWN
    used = None if is_down else 8 * GIB
    judgement = Judgement(verdict, "for a test", (), used, 16 * GIB, seconds, 1e6 if seconds else None)
    return CloneSurvey(
        clone=name,
        state=DomainState.SHUT_OFF if is_down else DomainState.RUNNING,
        judgement=judgement,
        resident=None if is_down else Size.of_gib(9),
        disk=Size.of_gib(1),
        kills=None if is_down else kills,
        answered=not is_down,
    )


def a_survey(clones: Sequence[CloneSurvey], *, pool_free: Size | None = None) -> SurveyResult:
    """These clones, and a pool of 100 GiB that is half full."""
    pool = PoolSurvey(pool_free or Size.of_gib(50), Size.of_gib(100), Judgement(Verdict.OK, "does not fill"))
    return SurveyResult("2026-11-20T10:00:00Z", tuple(clones), pool)


def a_fleet_in_numbers(
    clones: Sequence[CloneSurvey] | None = None, *, records: Mapping[str, CloneRecord] | None = None
) -> Numbers:
    """The three clones, or others."""
    given = clones or (
        a_clone_survey("crab-1", Verdict.LEAKING, seconds=3600.0, kills=2),
        a_clone_survey("crab-2", Verdict.DOWN),
        a_clone_survey("crab-3"),
    )
    uses = tuple(
        DomainUse(c.clone, c.state, Size.of_gib(16), 4, c.resident, emulated=False) for c in given if c.is_running
    )
    return Numbers(
        survey=a_survey(given),
        situation=Situation(a_calm_host(), Size.of_gib(10), "default", domains=uses),
        promised={use.name: use.promised.bytes for use in uses},
        records=records or {},
        tallies={"crab-1": MoltTally(7, 1, "2026-11-20T03:35:00Z", "warm", MoltSeconds(1.5, 0.1, 0.2, 0.4, 0.7))},
        earlyoom_kills=0,
    )
