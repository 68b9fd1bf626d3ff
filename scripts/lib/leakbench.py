"""Measure the guest's watchdog: what it costs while nothing happens, and how far leaks get, beside other ways.

The leaks are those of the system tests, in the same guest.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from system.leaking_guest import LeakingGuest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "bootstrap/guest/bin/moltfleet-watchdog"
IMAGE = Path("/var/cache/moltfleet/images/debian-bookworm-furnished.qcow2")
MIB = 1 << 20
FAST = 100_000
# The thresholds of a guest of 4 GiB with one agent: it looks about once a second. A larger guest is looked at less.
SETTINGS = "AGENTS=\nAGENT_PATHS={program}\nWATCHDOG_KILL_MB=2150\n"
POLL_S = 30
# The first look that finds too much comes so many seconds after the agent went over its end.
POLL = """
while :; do
    used=$(ps -C claude -o rss= | awk '{ sum += $1 } END { print sum + 0 }')
    if [ "$used" -gt "$1" ]; then sleep "$2"; pkill -TERM -x claude; exit; fi
    sleep 0.2
done
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a program took: KiB resident, and the part of one processor."""

    resident_kib: int
    share: float


def idle(seconds: float) -> str:
    """Let the watchdog watch this machine, with one quiet agent, and say what that took."""
    with tempfile.TemporaryDirectory(prefix="moltfleet-bench.") as folder, watching(Path(folder)) as pid:
        time.sleep(2)
        began, spent = time.monotonic(), spent_s(pid)
        time.sleep(seconds)
        cost = Cost(resident_kib(pid), (spent_s(pid) - spent) / (time.monotonic() - began))
    taken = f"{cost.resident_kib / 1024:.1f} MiB resident, {100 * cost.share:.2f} % of a processor"
    return f"{seconds:.0f} idle seconds: {taken}"


@contextmanager
def watching(folder: Path) -> Iterator[int]:
    """A watchdog that may end one program only, which is made here; gives its process number."""
    agent, conf = folder / "agent", folder / "guest.conf"
    shutil.copy("/usr/bin/sleep", agent)
    conf.write_text(SETTINGS.format(program=agent))
    quiet = subprocess.Popen([agent, "100000"])
    argv = ["/usr/bin/python3", "-IS", str(PROGRAM), "--config", str(conf), "--state", str(folder)]
    watchdog = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    try:
        while not (folder / "run/moltfleet/watchdog/state.json").exists():
            time.sleep(0.1)
        yield watchdog.pid
    finally:
        for process in (quiet, watchdog):
            process.terminate()
            process.wait()


def spent_s(pid: int) -> float:
    """Time on a processor, in seconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def resident_kib(pid: int) -> int:
    """What a process has in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


@dataclass(frozen=True, slots=True)
class Run:
    """One leak: bytes at most, bytes at which it was to end, whether the kernel had to, milliseconds of each login."""

    peak: int
    end: int
    by_kernel: bool
    logins: tuple[str, ...]

    @property
    def over(self) -> float:
        return 100 * (self.peak - self.end) / self.end


@contextmanager
def a_guest() -> Iterator[LeakingGuest]:
    """The guest of the system tests, with earlyoom in it, and without its swap file."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from system.conftest import Lab
    from system.leaking_guest import LeakingGuest

    lab = Lab(f"leaks-{os.getpid()}")
    lab.control("up")
    try:
        lab.repo("add", "earlyoom")
        with tempfile.TemporaryDirectory(prefix="moltfleet-bench.") as folder:
            guest = LeakingGuest.boot(lab, Path(folder), IMAGE)
            line = lab.repo("line").strip()
            guest.root(f"echo '{line}' > /etc/apt/sources.list; rm -f /etc/apt/sources.list.d/*; apt-get -qq update")
            guest.root("DEBIAN_FRONTEND=noninteractive apt-get -qq install earlyoom; systemctl stop earlyoom")
            guest.settle_in()
            guest.root(f"swapoff -a; systemctl stop earlyoom; cat > /opt/poll.sh <<'EOF'\n{POLL}EOF")
            yield guest
    finally:
        lab.control("down")


def leaks(rates: list[int], rounds: int) -> str:
    """Let agents leak at these rates in MiB a second, ended in all ways; returns a table."""
    lines = ["| leak, MiB/s | ended by | over its end, % | kernel had to | longest login, s |", "|---|---|---|---|---|"]
    with a_guest() as guest:
        for rate in rates:
            for number, (way, run) in enumerate(WAYS.items()):
                runs = [run(guest, f"r{rate}-{number}-{turn}", rate, (turn + 0.5) / rounds) for turn in range(rounds)]
                lines.append(row(rate, way, runs))
                print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def row(rate: int, way: str, runs: list[Run]) -> str:
    """All rounds of one way as a line of the table."""
    over = sorted(run.over for run in runs)
    told = f"{statistics.median(over):.1f} ({over[0]:.1f} to {over[-1]:.1f})"
    kernel = f"{sum(run.by_kernel for run in runs)} of {len(runs)}"
    logins = [took for run in runs for took in run.logins]
    slowest = "failed" if "failed" in logins else f"{max(map(int, logins)) / 1000:.1f}"
    return f"| {rate if rate < FAST else 'all it can'} | {way} | {told} | {kernel} | {slowest} |"


def contained(guest: LeakingGuest, unit: str, rate: int, part: float) -> Run:
    """The agent in its scope, as the wrappers start it."""
    from system.leaking_guest import AGENTS

    end = guest.limits["scope"]["term"]
    guest.root("systemctl start moltfleet-watchdog")
    with guest.logging_in() as logins:
        guest.start(unit, "memory", rate, at_once(end, rate))
        peak, kills = guest.see_through(AGENTS, unit)
    return Run(peak, end, kills > 0, tuple(logins.took))


def loose(guest: LeakingGuest, unit: str, rate: int, part: float) -> Run:
    """The agent in no scope: nothing but the watchdog holds it."""
    guest.root("systemctl start moltfleet-watchdog")
    return unlimited(guest, unit, rate)


def polled(guest: LeakingGuest, unit: str, rate: int, part: float) -> Run:
    """Ended by a shell script that adds up what ps says, every 30 s."""
    guest.root("systemctl stop moltfleet-watchdog")
    end_kib = guest.limits["outside"]["term"] // 1024
    wait_s = part * POLL_S
    guest.root(f"systemd-run --quiet --unit=poll-{unit} sh /opt/poll.sh {end_kib} {wait_s:.0f}")
    run = unlimited(guest, unit, rate)
    guest.root(f"systemctl stop poll-{unit}; true")
    return run


def earlyoom(guest: LeakingGuest, unit: str, rate: int, part: float) -> Run:
    """Ended by earlyoom as it comes: at 10 % of available memory, whoever is the largest."""
    guest.root(f"systemctl stop moltfleet-watchdog; systemd-run --quiet --unit=early-{unit} earlyoom -r 3600")
    run = unlimited(guest, unit, rate)
    guest.root(f"systemctl stop early-{unit}")
    return run


def unlimited(guest: LeakingGuest, unit: str, rate: int) -> Run:
    """Leak in a group that has no limit and is only there to be measured."""
    from system.leaking_guest import UNLIMITED

    end = guest.limits["outside"]["term"]
    with guest.logging_in() as logins:
        guest.start_unlimited(unit, "memory", rate, at_once(end, rate))
        peak, kills = guest.see_through(UNLIMITED, unit)
    return Run(peak, end, kills > 0, tuple(logins.took))


def at_once(end: int, rate: int) -> int:
    """MiB that are taken before the leak begins: it goes over its end after five seconds."""
    return max(0, end // MIB - 5 * rate)


WAYS = {
    "moltfleet, in a scope": contained,
    "moltfleet, in no scope": loose,
    f"poll every {POLL_S} s": polled,
    "earlyoom": earlyoom,
}
