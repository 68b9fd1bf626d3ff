"""One of several processes that write samples into the same file: PATH NUMBER TURNS."""

from __future__ import annotations

import sys
from pathlib import Path

from moltfleet.adapters.clock import SystemClock
from moltfleet.adapters.samples import SqliteSamples
from moltfleet.model.samples import Sample

path, number, turns = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
samples = SqliteSamples(path, SystemClock(), boot="boot-1")
for turn in range(turns):
    samples.add([Sample(f"crab-{number}-{n}", "life", float(turn), used=n, total=100) for n in range(50)])
    list(samples.history(since_s=0.0))
    sys.stdout.write(f"{turn}\n")
    sys.stdout.flush()
