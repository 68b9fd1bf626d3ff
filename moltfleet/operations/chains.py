"""What stands on what, as the headers of the layers say: the layers of a clone, and which of them have to stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moltfleet.model.records import CloneRecord
    from moltfleet.model.volumes import Volume
    from moltfleet.operations.fleet import Fleet


def own_chain(fleet: Fleet, record: CloneRecord, top: str) -> tuple[str, ...]:
    """The names of ``top`` and the layers under it, down to the golden, which is left out."""
    return _descend(_by_path(fleet), record, fleet.storage.path_of(top))


def needed(fleet: Fleet, record: CloneRecord) -> frozenset[str]:
    """Every volume that the clone uses or can go back to, with all that they stand on, whatever its trash says."""
    by_path = _by_path(fleet)
    live = replace(record, trash=()).volumes()
    below = (_descend(by_path, record, fleet.storage.path_of(volume)) for volume in live)
    return live.union(*below)


def _by_path(fleet: Fleet) -> Mapping[str, Volume]:
    return {volume.path: volume for volume in fleet.storage.volumes()}


def _descend(by_path: Mapping[str, Volume], record: CloneRecord, path: str) -> tuple[str, ...]:
    chain: list[str] = []
    goldens = {record.golden_volume, *record.bases}
    step = by_path.get(path)
    while step is not None and step.name not in goldens.union(chain):
        chain.append(step.name)
        step = by_path.get(step.backing or "")
    return tuple(chain)
