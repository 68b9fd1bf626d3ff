"""What Node.js is told in a scope: how large its heap may get, with how many workers; never over a user's word."""

from __future__ import annotations

import os
from collections.abc import Mapping

from moltguest.limits import MIB

# A heap may fill so much of what a scope has before it is slowed down; the rest is buffers, code, and other processes.
HEAP_SHARE = 0.75
_HEAP = ("--max-old-space-size", "--max_old_space_size")
# How large a heap we have set, to tell it from a user's: a scope inside another may be smaller.
OURS = "MOLTFLEET_HEAP_MIB"
# Read by Vitest, Nx and Turborepo; Jest reads none, and takes --maxWorkers="$MOLTFLEET_WORKERS".
WORKERS = (
    *("MOLTFLEET_WORKERS", "VITEST_MAX_WORKERS", "VITEST_MAX_THREADS", "VITEST_MAX_FORKS"),
    *("NX_PARALLEL", "TURBO_CONCURRENCY"),
)


def heap_mib(high: int) -> int:
    """Return the heap that fits a scope which is slowed down at ``high`` bytes."""
    return int(HEAP_SHARE * high) // MIB


def workers(processors: int | None = None) -> int:
    """Return how many workers a guest carries beside the agent: half of its processors, at least one."""
    return max(1, (processors or os.cpu_count() or 1) // 2)


def has_heap(environment: Mapping[str, str]) -> bool:
    """Whether somebody but us has set the heap's size."""
    return any(word.startswith(_HEAP) for word in _others(environment))


def _others(environment: Mapping[str, str]) -> list[str]:
    ours = f"{_HEAP[0]}={environment.get(OURS, '')}"
    return [word for word in environment.get("NODE_OPTIONS", "").split() if word != ours]


def settings(environment: Mapping[str, str], high: int, processors: int | None = None) -> dict[str, str]:
    """Return the variables to add."""
    found = {name: str(workers(processors)) for name in WORKERS if name not in environment}
    if not has_heap(environment):
        found["NODE_OPTIONS"] = " ".join([*_others(environment), f"{_HEAP[0]}={heap_mib(high)}"])
        found[OURS] = str(heap_mib(high))
    return found
