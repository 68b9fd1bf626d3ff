"""A guest as files, for the health check: the rest of /proc, disks of any size, programs that answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from fakes.guesttree import GuestTree
from moltguest.health.collect import Senses, collect
from moltguest.health.report import Health
from moltguest.samples import Load, SampleLog

MIB, GIB = 1 << 20, 1 << 30
NOW = 7200.0
# 2026-11-21 10:00:00 UTC.
TIME_OF_DAY = 1_795_255_200.0
MOUNTS = """\
/dev/vda1 / ext4 rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
tmpfs /tmp tmpfs rw 0 0
"""
KIB_OF_NOTHING = {
    "Buffers": 0,
    "Cached": 600_000,
    "SReclaimable": 40_000,
    "Shmem": 12_000,
    "SwapTotal": 0,
    "SwapFree": 0,
}


@dataclass(frozen=True)
class Disk:
    """A file system in GiB, as statvfs(3) tells it."""

    size: float = 50.0
    used: float = 20.0
    f_files: int = 1_000_000
    f_favail: int = 900_000
    f_frsize: int = 4096

    @property
    def f_blocks(self) -> int:
        return int(self.size * GIB / 4096)

    @property
    def f_bavail(self) -> int:
        return int((self.size - self.used) * GIB / 4096)


@dataclass
class Answers:
    """Programs that say what a test has them say; ``asked`` are the command lines and as whom."""

    said: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[list[str], int | None]] = field(default_factory=list)

    def ask(self, argv: list[str], *, user: int | None = None) -> str | None:
        self.asked.append((argv, user))
        return next((text for words, text in self.said.items() if words in " ".join(argv)), None)


class HealthTree:
    """A guest of 4 GiB at rest, that a test then spoils; a bare one shows hardly more than its memory."""

    def __init__(self, tree: GuestTree, *, bare: bool = False) -> None:
        self.tree = tree
        self.programs = Answers()
        self.disks = {"/": Disk()}
        if not bare:
            self._furnish()

    def _furnish(self) -> None:
        tree = self.tree
        self.disks |= {"/dev/shm": Disk(0.48, 0.01), "/tmp": Disk(0.48, 0.0)}
        for path in self.disks:
            (tree.root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        self.memory(available=3000)
        self.pressure()
        tree.write("proc/mounts", MOUNTS)
        tree.write("proc/loadavg", "0.42 0.31 0.20 1/412 12345\n")
        tree.write("proc/uptime", "7200.00 14000.00\n")
        tree.write("proc/cpuinfo", "processor\t: 0\n\nprocessor\t: 1\n")
        tree.write("proc/vmstat", "nr_free_pages 1\noom_kill 0\n")
        tree.write("proc/sys/kernel/hostname", "crab-1\n")
        tree.write("proc/sys/kernel/pid_max", "32768\n")
        tree.write("proc/sys/kernel/threads-max", "31000\n")
        tree.write("proc/sys/fs/file-nr", "2912\t0\t800000\n")
        tree.write("usr/local/lib/moltfleet/version", "0.1.0\n")
        tree.process(300, "/usr/bin/earlyoom", cgroup="/system.slice/earlyoom.service")
        tree.slice(most=2500)
        self.watchdog()

    def memory(self, *, available: float, **kib: int) -> None:
        """MiB that are available, and further lines of /proc/meminfo in KiB."""
        self.tree.memory(int(available))
        lines = "".join(f"{name}: {value} kB\n" for name, value in (KIB_OF_NOTHING | kib).items())
        path = self.tree.root / "proc/meminfo"
        path.write_text(path.read_text() + lines)

    def pressure(self, *, some: float = 0.0, full: float = 0.0) -> None:
        """PSI of memory; that of io and CPU is always the same."""
        line = "{0} avg10={1:.2f} avg60={1:.2f} avg300=0.00 total=1\n"
        self.tree.write("proc/pressure/memory", line.format("some", some) + line.format("full", full))
        self.tree.write("proc/pressure/io", line.format("some", 1.2) + line.format("full", 0.4))
        self.tree.write("proc/pressure/cpu", line.format("some", 3.4))

    def watchdog(self, *, uptime: float = NOW - 4, **more: object) -> None:
        """The file that the watchdog keeps writing."""
        state: dict[str, object] = {
            "schema": "moltfleet.watchdog/1",
            "uptime": uptime,
            "modes": {"cgroup_v2": True, "dry_run": False},
            "kills": 0,
            "last": None,
            "disabled": [],
            "problems": [],
        }
        self.tree.write("run/moltfleet/watchdog/state.json", json.dumps(state | more))

    def agent(self, used: int = 400, *, name: str = "claude", scope: str = "run-claude-1.scope", pid: int = 500) -> str:
        """An agent in a scope of 2 GiB; MiB."""
        path = self.tree.scope(scope, used, most=2048, high=1945)
        self.tree.process(pid, f"/usr/local/bin/{name}", memory=used, cgroup=path)
        total = sum(
            int((group / "memory.current").read_text())
            for group in (self.tree.cgroups / "agents.slice").glob("*.scope")
        )
        self.tree.slice(used=total // MIB, most=2500)
        return path

    def leak(self, path: str, *, rate: float, minutes: int, used: float) -> None:
        """Record a rise of ``rate`` MiB a minute up to ``used`` MiB now, of an agent and so of the guest."""
        log = SampleLog(str(self.tree.root))
        for second in range(-60 * minutes, 1, 10):
            level = used + second * rate / 60
            load = Load(path, int(level * MIB), 1780 * MIB)
            assert log.offer(NOW + second, int((3400 - level) * MIB), 4096 * MIB, [load]) == ""

    def look(self, *, user: int = 0) -> Health:
        """Look once, as root unless told otherwise."""
        root = str(self.tree.root)
        return collect(
            Senses(
                root=root,
                now=lambda: NOW,
                time_of_day=lambda: TIME_OF_DAY,
                programs=self.programs,
                statvfs=self._statvfs,
                user=user,
            )
        )

    def _statvfs(self, path: str) -> Disk:
        try:
            return self.disks[path.removeprefix(str(self.tree.root)) or "/"]
        except KeyError:
            raise FileNotFoundError(path) from None
