"""What would have to give so that a wished number of clones fits: their size, the host's memory, or its reserve."""

from __future__ import annotations

from dataclasses import dataclass

from moltfleet.model.capacity import LEAST_CLONE, Capacity, Verdict
from moltfleet.model.size import Size


@dataclass(frozen=True, slots=True)
class Fit:
    """The answer for ``clones`` of the size in question. Each pair is (safely, at all); None: that alone cannot do it.

    ``clone_memory`` is the largest clone, ``host_memory`` the smallest host, ``reserve`` the largest reserve with which
    they fit, everything else left as it is.
    """

    clones: int
    verdict: Verdict
    clone_memory: tuple[Size | None, Size | None]
    host_memory: tuple[Size, Size]
    reserve: tuple[Size | None, Size | None]


def fit(capacity: Capacity, clones: int) -> Fit:
    """Work out what would have to give. Safe keeps the room of one clone more. Raises: ValueError for no clones."""
    if clones < 1:
        raise ValueError("no clones")
    return Fit(
        clones=clones,
        verdict=verdict(capacity, clones),
        clone_memory=(_clone_memory(capacity, clones + 1), _clone_memory(capacity, clones)),
        host_memory=(_host_memory(capacity, clones + 1), _host_memory(capacity, clones)),
        reserve=(_reserve(capacity, clones + 1), _reserve(capacity, clones)),
    )


def verdict(capacity: Capacity, clones: int) -> Verdict:
    """Say whether so many clones fit as they are."""
    if clones <= capacity.safe_clones:
        return Verdict.SAFE
    return Verdict.POSSIBLE if clones <= capacity.max_clones else Verdict.NO


def _clone_memory(capacity: Capacity, places: int) -> Size | None:
    memory = Size.of_mib(capacity.available.bytes // places // 2**20)
    return memory if memory >= LEAST_CLONE else None


def _host_memory(capacity: Capacity, places: int) -> Size:
    return Size(capacity.reserve.bytes + places * capacity.clone.bytes)


def _reserve(capacity: Capacity, places: int) -> Size | None:
    left = capacity.host.bytes - places * capacity.clone.bytes
    return Size(left) if left > 0 else None
