"""How many more clones of which size would fit: here now, here when empty, and on hosts of other sizes."""

from __future__ import annotations

from dataclasses import replace

from moltfleet.model.admission import how_many
from moltfleet.model.capacity import LEAST_CLONE, calculate
from moltfleet.model.load import Candidate, Situation
from moltfleet.model.report import HeadroomRow
from moltfleet.model.size import Size

# Hosts that such fleets run on.
OTHER_HOSTS = (Size.of_gib(32), Size.of_gib(64), Size.of_gib(128))
_SHARES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)


def rows(situation: Situation, default: Candidate) -> tuple[HeadroomRow, ...]:
    """Return a row for each size around the default clone's, which is always among them."""
    sizes = {default.memory, *(size for share in _SHARES if (size := default.memory * share) >= LEAST_CLONE)}
    return tuple(_row(situation, replace(default, memory=size), default.memory) for size in sorted(sizes))


def _row(situation: Situation, candidate: Candidate, default: Size) -> HeadroomRow:
    hosts = (situation.host.total, *OTHER_HOSTS)
    return HeadroomRow(
        memory=candidate.memory,
        vcpus=candidate.vcpus,
        is_default=candidate.memory == default,
        more=how_many(situation, candidate),
        hosts=tuple(calculate(host, reserve=situation.reserve, clone=candidate.memory) for host in hosts),
    )
