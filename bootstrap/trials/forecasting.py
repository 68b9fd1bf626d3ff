"""The forecast of a guest: a guest that leaks and one that does not, both only written down, are looked at by it."""

import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from ground import NAME, answer, failed, run


def forecast() -> int:
    """Let the health check look at a guest that leaks, and at one that does not: both only written down."""
    tried = "a leak and an idle guest, written down, looked at by vm-health-check"
    program = shutil.which("vm-health-check", path="/usr/local/bin:/usr/local/sbin")
    if program is None:
        return failed(tried, "there is no vm-health-check")
    verdicts = []
    with tempfile.TemporaryDirectory(prefix=f"{NAME}.") as directory:
        for name, rise in (("leak", 0.5), ("idle", 0.0)):
            write_guest(Path(directory) / name, rise)
            done = run([program, "--root", f"{directory}/{name}", "--json"], dict(os.environ))
            if isinstance(done, str):
                return failed(tried, done)
            try:
                verdicts.append(str(json.loads(done.stdout)["verdict"]))
            except (ValueError, KeyError, TypeError):
                return failed(tried, f"no answer: {done.stderr.strip()[-200:]}")
    is_right = verdicts[0] in ("leaking", "critical") and verdicts[1] == "ok"
    return answer(tried, f"the leak is called {verdicts[0]}, the idle guest {verdicts[1]}", passed=is_right)


def write_guest(root: Path, rise: float) -> None:
    """Write a guest of 8 GiB of which 3 are left; ``rise`` is by how much of that it was more at the beginning."""
    total, left, now = 8 << 20, 3 << 20, time.monotonic()
    for name in ("proc", "run/moltfleet/watchdog", "etc", "tmp"):
        (root / name).mkdir(parents=True)
    (root / "sys").symlink_to("/sys")
    for entry in Path("/proc").iterdir():
        if entry.name not in ("meminfo", "self", "thread-self"):
            (root / "proc" / entry.name).symlink_to(entry)
    lines = Path("/proc/meminfo").read_text().splitlines()
    figures = {"MemTotal": total, "MemAvailable": left, "MemFree": left, "Buffers": 0, "Cached": 0, "Shmem": 0}
    (root / "proc/meminfo").write_text("".join(f"{meminfo(line, figures)}\n" for line in lines))
    span = min(1800.0, max(60.0, now - 1.0))
    count = int(span / 10) if span >= 600 else 60
    samples = [(now - span * (1 - at / count), int(left * (1 + rise * (1 - at / count)))) for at in range(count + 1)]
    text = "".join(f"{max(0.0, at):.1f} {available} {total}\n" for at, available in samples)
    (root / "run/moltfleet/watchdog/samples").write_text(text)


def meminfo(line: str, figures: dict[str, int]) -> str:
    """Return a line of /proc/meminfo with the figure that it is to have, in KiB."""
    name = line.partition(":")[0]
    return f"{name + ':':<16}{figures[name]:>8} kB" if name in figures else line
