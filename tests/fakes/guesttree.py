"""A guest as files: /proc and cgroups in a directory, signals that are only noted down, a clock that stands still."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from moltguest.backoff import Backoff
from moltguest.settings import Settings
from moltguest.watchdog.guard import Guard, World
from moltguest.watchdog.journal import Event

SESSION = "/user.slice/user-1000.slice/session-3.scope"
AGENTS = "/agents.slice"
MIB = 1 << 20


class GuestTree:
    """Writes what the kernel would show; everything in MiB."""

    def __init__(self, root: Path, *, total: int = 4096, unified: bool = True) -> None:
        self.root = root
        self.total = total
        self.start = 1000
        self._groups: dict[int, str] = {}
        self.write("proc/sys/kernel/random/boot_id", "boot-1\n")
        self.memory(total * 9 // 10)
        self.cgroups = root / "sys/fs/cgroup"
        self.cgroups.mkdir(parents=True)
        if unified:
            self.write("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")
        self.process(1, "/usr/lib/systemd/systemd", parent=0, cgroup="/init.scope")

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)
        return path

    def memory(self, available: int, total: int | None = None) -> None:
        self.total = total or self.total
        self.write("proc/meminfo", f"MemTotal: {self.total * 1024} kB\nMemAvailable: {available * 1024} kB\n")

    def settings(self, text: str) -> None:
        self.write("etc/moltfleet/guest.conf", text)

    def process(
        self,
        pid: int,
        executable: str | None = "/usr/bin/sleep",
        *,
        parent: int = 1,
        memory: int = 0,
        shmem: int = 0,
        share: int | None = None,
        cgroup: str = SESSION,
        comm: str | bytes | None = None,
        argv: tuple[str, ...] = (),
        cwd: str = "/home/agent",
        start: int | None = None,
        terminal: int = 0,
        state: str = "S",
        owner: int = 1000,
    ) -> int:
        """Make a process, or change it; a new one is younger than all before, unless ``start`` says otherwise."""
        self.start += 1
        name = comm if comm is not None else (executable or "?").rsplit("/", 1)[-1][:15]
        raw = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
        rest = f") {state} {parent} {pid} {pid} {terminal} -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start or self.start} 0 0\n"
        directory = f"proc/{pid}"
        self.write(f"{directory}/stat", f"{pid} (".encode() + raw + rest.encode())
        self.write(
            f"{directory}/status",
            f"Name:\tx\nUid:\t{owner}\t{owner}\t{owner}\t{owner}\n"
            f"RssAnon:\t{memory * 1024} kB\nRssShmem:\t{shmem * 1024} kB\nVmSwap:\t0 kB\n",
        )
        own = memory + shmem if share is None else share
        self.write(f"{directory}/smaps_rollup", f"Pss: {own * 1024} kB\nPss_Anon: {own * 1024} kB\nSwapPss: 0 kB\n")
        self.write(f"{directory}/cgroup", f"0::{cgroup}\n")
        self.write(f"{directory}/cmdline", "\0".join(((executable or "?"), *argv)) + "\0")
        for link, target in (("exe", executable), ("cwd", cwd)):
            path = self.root / directory / link
            path.unlink(missing_ok=True)
            if target is not None:
                path.symlink_to(target)
        self._enter(pid, cgroup)
        return pid

    def _enter(self, pid: int, cgroup: str) -> None:
        before = self.cgroups / self._groups.pop(pid, "nowhere") / "cgroup.procs"
        if before.exists():
            others = [word for word in before.read_text().split() if word != str(pid)]
            before.write_text("".join(f"{other}\n" for other in others))
        procs = self.cgroups / cgroup.lstrip("/") / "cgroup.procs"
        if procs.exists():
            self._groups[pid] = cgroup.lstrip("/")
            procs.write_text(procs.read_text() + f"{pid}\n")

    def end(self, pid: int) -> None:
        """A process ends and is waited for."""
        self._enter(pid, "/nowhere")
        directory = self.root / "proc" / str(pid)
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()

    def scope(
        self,
        name: str,
        used: int = 0,
        *,
        most: int | None = None,
        high: int | None = None,
        slice: str = AGENTS,
        cache: int = 0,
        shmem: int = 0,
        killable: bool = True,
    ) -> str:
        """Make a scope below a slice, or change what it uses; returns its cgroup."""
        path = f"{slice}/{name}"
        directory = f"sys/fs/cgroup{path}"
        self._figures(directory, used, most, high, cache, shmem)
        if killable:
            self.write(f"{directory}/cgroup.kill", "")
        procs = self.root / directory / "cgroup.procs"
        if not procs.exists():
            procs.write_text("")
        if not (self.cgroups / slice.lstrip("/") / "memory.current").exists():
            self.slice(slice)
        return path

    def slice(self, path: str = AGENTS, used: int = 0, *, most: int | None = None, kernel_kills: int = 0) -> None:
        """Make a slice, or change what it uses."""
        self._figures(f"sys/fs/cgroup{path}", used, most, None, 0, 0)
        self.write(f"sys/fs/cgroup{path}/memory.events", f"high 0\nmax 0\noom_kill {kernel_kills}\n")

    def _figures(self, directory: str, used: int, most: int | None, high: int | None, cache: int, shmem: int) -> None:
        self.write(f"{directory}/memory.current", f"{(used + cache) * MIB}\n")
        self.write(
            f"{directory}/memory.stat",
            f"anon {(used - shmem) * MIB}\nfile {(cache + shmem) * MIB}\nshmem {shmem * MIB}\nslab_reclaimable 0\n",
        )
        self.write(f"{directory}/memory.max", "max\n" if most is None else f"{most * MIB}\n")
        self.write(f"{directory}/memory.high", "max\n" if high is None else f"{high * MIB}\n")

    def drop(self, cgroup: str) -> None:
        """A scope whose last process has ended goes."""
        directory = self.cgroups / cgroup.lstrip("/")
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()

    def obey(self) -> None:
        """Do what the kernel does when cgroup.kill was written: everybody in the group ends, their memory is free."""
        for kill in self.cgroups.rglob("cgroup.kill"):
            procs = kill.parent / "cgroup.procs"
            if kill.read_text() == "1":
                for pid in procs.read_text().split():
                    self.end(int(pid))
                self._figures(str(kill.parent.relative_to(self.root)), 0, None, None, 0, 0)

    def was_killed_as_a_whole(self, cgroup: str) -> bool:
        return (self.cgroups / cgroup.lstrip("/") / "cgroup.kill").read_text() == "1"


class NotedHandle:
    def __init__(self, signals: NotedSignals, pid: int) -> None:
        self._signals, self._pid = signals, pid

    def send(self, number: int) -> bool:
        if self.has_ended():
            return False
        self._signals.sent.append((self._pid, signal.Signals(number).name))
        self._signals.react(self._pid, signal.Signals(number))
        return True

    def has_ended(self) -> bool:
        return not (self._signals.tree.root / f"proc/{self._pid}").exists()

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self._signals.held -= 1


@dataclass
class NotedSignals:
    """Signals that are noted down; ``reactions`` say what a process does when it gets one."""

    tree: GuestTree
    sent: list[tuple[int, str]] = field(default_factory=list)
    reactions: dict[int, Callable[[signal.Signals], None]] = field(default_factory=dict)
    held: int = 0
    opening: Callable[[int], None] = lambda _: None

    def open(self, pid: int) -> NotedHandle | None:
        self.opening(pid)
        if not (self.tree.root / f"proc/{pid}").exists():
            return None
        self.held += 1
        return NotedHandle(self, pid)

    def react(self, pid: int, number: signal.Signals) -> None:
        reaction = self.reactions.get(pid)
        if reaction is not None:
            reaction(number)
        elif number is signal.SIGKILL:
            self.tree.end(pid)


@dataclass
class Events:
    """A log that keeps what was written."""

    written: list[Event] = field(default_factory=list)

    def write(self, event: Event) -> None:
        self.written.append(event)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.written]

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.written if event.kind == kind]


class Scene:
    """A guard over a tree of files; time passes only when told to."""

    def __init__(self, tree: GuestTree, *, dry: bool = False) -> None:
        from moltguest import settings

        self.tree, self.dry = tree, dry
        self.now = 100.0
        self.log, self.signals = Events(), NotedSignals(tree)
        self.told: list[tuple[int, str]] = []

        def read() -> tuple[Settings, tuple[str, ...]]:
            return settings.read(str(tree.root))

        self._read = read
        self.restart()

    def restart(self) -> None:
        """The watchdog is started, or ends itself and is started again."""
        root = str(self.tree.root)
        self.backoff = Backoff(root, "boot-1")
        self.world = World(
            root,
            root,
            now=lambda: self.now,
            signals=self.signals,
            log=self.log,
            backoff=self.backoff,
            read_settings=self._read,
            tell=self._tell,
            stopwatch=lambda: 0.0,
        )
        self.guard = Guard(self.world, dry=self.dry)

    def _tell(self, terminal: int, message: str) -> bool:
        self.told.append((terminal, message))
        return True

    def tick(self, seconds: float = 0.0) -> float:
        """Let time pass, then let the guard look once; returns how long it would wait."""
        self.now += seconds
        pause = self.guard.tick()
        self.tree.obey()
        return pause

    def run(self, seconds: float) -> None:
        """Let the guard look as often as it wants to, for so long."""
        end = self.now + seconds
        while self.now < end:
            self.now += max(self.tick(), 0.05)

    @property
    def sent(self) -> list[tuple[int, str]]:
        return self.signals.sent
