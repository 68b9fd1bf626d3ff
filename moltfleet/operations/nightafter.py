"""What a night looks at in its end: how the clones and the host are now, and what in the pool belongs to nobody."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.admission import HIGHEST_PRESSURE
from moltfleet.model.errors import MoltfleetError
from moltfleet.model.nightly import CloneNight, HostState, State, Unexplained
from moltfleet.model.policy import Act
from moltfleet.model.verdict import Verdict
from moltfleet.operations import measuring, poolparts
from moltfleet.operations.survey import survey

if TYPE_CHECKING:
    from moltfleet.model.survey import SurveyResult
    from moltfleet.operations.fleet import Fleet
    from moltfleet.operations.nightjournal import Journal

_ILL = (Verdict.CRITICAL, Verdict.DOWN, Verdict.PAUSED)


def look_again(journal: Journal) -> str:
    """Say how the clones and the host are now. Raises: MoltfleetError when one that was worked on is ill."""
    found = survey(journal.fleet, record=True)
    ill: list[str] = []
    for clone in found.clones:
        night = journal.night.clone(clone.clone) or CloneNight(
            clone.clone, str(Act.LEAVE), "it was not there before", "", State.LEFT
        )
        journal.night = journal.night.with_clone(replace(night, after=str(clone.verdict)))
        if clone.verdict in _ILL:
            text = f"{clone.clone} is {clone.verdict}: {clone.reason}"
            (ill.append if night.state is State.DONE else journal.note)(text)
    journal.night = replace(journal.night, host_after=host_state(journal.fleet))
    _note_host(journal)
    if ill:
        raise MoltfleetError("; ".join(ill))
    return counted(found)


def _note_host(journal: Journal) -> None:
    """Say what of the host should worry somebody."""
    load = measuring.host_load(journal.fleet)
    if load.pressure is not None and load.pressure >= HIGHEST_PRESSURE:
        journal.note(f"The host waits for memory {load.pressure:.0f} % of the time")
    if load.oom_kills:
        journal.note(f"The host's kernel ended {load.oom_kills} for want of memory in the last ten minutes")


def find_orphans(journal: Journal) -> str:
    """List the volumes that belong to nobody; none is deleted."""
    domains = journal.fleet.hypervisor.domains()
    if any(domain.unreadable for domain in domains):
        return "not told, as the metadata of some domain cannot be read"
    if journal.fleet.storage.find_free_space() is None:
        return "there is no running pool"
    orphans = poolparts.unexplained(domains, journal.fleet.storage.volumes())
    journal.night = replace(
        journal.night, unexplained=tuple(Unexplained(volume.name, volume.allocation.bytes) for volume in orphans)
    )
    return f"{len(orphans)} volumes belong to nobody" if orphans else "every volume belongs to somebody"


def host_state(fleet: Fleet) -> HostState | None:
    """Measure the host; None when libvirt cannot be asked."""
    try:
        now = measuring.measure(fleet, reservations=fleet.reservations.current())
    except MoltfleetError:
        return None
    available = now.host.available
    return HostState(
        total=now.host.total.bytes,
        available=None if available is None else available.bytes,
        committed=now.promised.bytes,
        pressure=now.host.pressure,
    )


def counted(found: SurveyResult) -> str:
    """Say how many clones have which verdict."""
    counts = {verdict: sum(clone.verdict is verdict for clone in found.clones) for verdict in Verdict}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"{len(found.clones)} clones: {told}" if told else "no clones"
