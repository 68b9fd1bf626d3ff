"""What all the doctor's questions are asked about: domains, volumes, who is at work. Read once; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moltfleet.model.records import CloneRecord, GoldenRecord
from moltfleet.model.size import Size
from moltfleet.operations import repair

if TYPE_CHECKING:
    from moltfleet.model.domain import Domain
    from moltfleet.model.errors import MoltfleetError
    from moltfleet.model.volumes import Volume
    from moltfleet.operations.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Scene:
    """``volumes`` are by name; ``busy`` are the names of domains that a command works on right now.

    ``has_pool`` is False when there is no running pool, and then nothing is known of volumes.
    """

    fleet: Fleet
    domains: tuple[Domain, ...]
    volumes: Mapping[str, Volume]
    busy: frozenset[str]
    has_pool: bool
    notes: list[str] = field(default_factory=list)

    def clones(self) -> Iterator[tuple[Domain, CloneRecord]]:
        """Clones that are there to stay and that nobody works on, by name."""
        for domain in self._idle():
            if isinstance(domain.record, CloneRecord) and not domain.record.probe:
                yield domain, domain.record

    def goldens(self) -> Iterator[tuple[Domain, GoldenRecord]]:
        """Goldens that nobody works on, by name."""
        for domain in self._idle():
            if isinstance(domain.record, GoldenRecord):
                yield domain, domain.record

    def abandoned(self) -> Iterator[Domain]:
        """What should exist only while its command runs, and no command does."""
        return (domain for domain in self._idle() if repair.is_abandoned(domain.record))

    def unreadable(self) -> tuple[str, ...]:
        """Domains of ours whose record cannot be read."""
        return tuple(domain.name for domain in self.domains if domain.unreadable)

    def allocation(self, *names: str) -> Size:
        """What the named volumes take on the disk."""
        return Size(sum(self.volumes[name].allocation.bytes for name in set(names) if name in self.volumes))

    def note(self, error: MoltfleetError) -> None:
        """Keep in mind what could not be looked at."""
        if error.brief not in self.notes:
            self.notes.append(error.brief)

    def _idle(self) -> Iterator[Domain]:
        return (domain for domain in self.domains if domain.name not in self.busy)


def look(fleet: Fleet) -> Scene:
    """Read everything. Volumes come first: whatever is there by then stands in a record that is read afterwards."""
    has_pool = fleet.storage.find_free_space() is not None
    if has_pool:
        fleet.storage.refresh()
    volumes = {volume.name: volume for volume in fleet.storage.volumes()} if has_pool else {}
    domains = tuple(sorted(fleet.hypervisor.domains(), key=lambda domain: domain.name))
    ours = (domain for domain in domains if domain.record is not None)
    busy = frozenset(domain.name for domain in ours if fleet.locks.is_held(repair.lock_of(domain)))
    return Scene(fleet, domains, volumes, busy, has_pool)
