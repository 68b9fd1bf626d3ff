"""How many clones a host carries, by the plain formula: what is left after the reserve, divided by a clone's memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from moltfleet.model.size import Size

# Below it no Linux guest boots.
LEAST_CLONE = Size.of_mib(64)


class Verdict(StrEnum):
    """How a number of clones fits: with the room of one to spare, without, or not."""

    SAFE = "safe"
    POSSIBLE = "possible"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Capacity:
    """Clones of one size on one host. ``safe_clones`` leaves the room of one clone for those that leak."""

    host: Size
    reserve: Size
    clone: Size
    available: Size
    max_clones: int
    safe_clones: int


def calculate(host: Size, *, reserve: Size, clone: Size) -> Capacity:
    """Divide the host's memory: available = host - reserve, max = floor(available / clone), safe = max(0, max - 1).

    QEMU's own memory is not in it: the reserve carries that in a plan, while admission counts it.
    Raises: ValueError for a clone without memory.
    """
    if clone.bytes == 0:
        raise ValueError("a clone without memory")
    available = host - reserve
    most = available.bytes // clone.bytes
    return Capacity(host, reserve, clone, available, max_clones=most, safe_clones=max(0, most - 1))


def vcpu_ratio(clones: int, *, vcpus: int, cpus: int | None) -> float | None:
    """Return how many vCPUs share one CPU of the host; None when its CPUs are not known."""
    return clones * vcpus / cpus if cpus else None
