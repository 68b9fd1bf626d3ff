"""A machine in a directory: real files, and a systemd, an nft and an apt-get that do to them what the real ones do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fakes.process import Killed
from moltfleet.adapters.machine import LocalMachine
from moltfleet.model.domain import CommandResult
from moltfleet.model.errors import HostUnavailable, ToolFailed
from moltfleet.model.size import Size

UNITS = "/etc/systemd/system"
_DIRECTORIES = (
    "/run/systemd/system",
    "/run/lock",
    "/proc/1",
    "/proc/pressure",
    "/sys/fs/cgroup",
    UNITS,
    f"{UNITS}/sysinit.target.wants",
    "/etc/default",
    "/usr/bin",
    "/usr/sbin",
    "/var/lib",
)
_TEXTS = {
    "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
    "/proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    "/proc/meminfo": "MemTotal:       67108864 kB\nMemFree:         1000 kB\nMemAvailable:   62914560 kB\n",
    "/proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
    "/etc/default/earlyoom": 'EARLYOOM_ARGS="-r 3600"\n',
    "/sys/kernel/mm/ksm/run": "0\n",
}


@dataclass
class Systemd:
    """What systemd knows, beside the drop-ins that lie in the directory."""

    units: dict[str, dict[str, str]] = field(
        default_factory=lambda: {
            "ssh.service": {"LoadState": "loaded", "MemoryMin": "0", "OOMScoreAdjust": "0"},
            "libvirtd.service": {"LoadState": "loaded", "MemoryMin": "0", "OOMScoreAdjust": "0"},
            "machine.slice": {"LoadState": "loaded", "MemoryMax": "infinity", "MemorySwapMax": "infinity"},
            "system.slice": {"LoadState": "loaded", "MemoryMin": "0"},
            "earlyoom.service": {"LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active"},
        }
    )
    aliases: dict[str, str] = field(default_factory=lambda: {"sshd.service": "ssh.service"})


class FakeMachine(LocalMachine):
    """The real adapter over a directory, with programs played. ``kill_after`` counts its changes from 1."""

    def __init__(self, root: Path, *, memory: Size = Size.of_gib(64)) -> None:  # noqa: B008
        super().__init__(root=root)
        self.root = root
        self.total = memory
        self.systemd = Systemd()
        self.table: bytes | None = None
        self.root_user = True
        self.ran: list[tuple[str, ...]] = []
        self.refused: set[str] = set()
        self.reporting: Mapping[str, bool] | None = {}
        self.kill_after = 0
        self.changes = 0
        for directory in _DIRECTORIES:
            (root / directory[1:]).mkdir(parents=True, exist_ok=True)
        for path, text in _TEXTS.items():
            self.put(path, text)
        for program in ("earlyoom", "apt-get"):
            self.install(f"/usr/bin/{program}")
        self.install("/usr/sbin/nft")

    # For tests

    def put(self, path: str, text: str) -> None:
        """Write a file as somebody else would."""
        target = self.root / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def text(self, path: str) -> str:
        """A file's content."""
        return (self.root / path[1:]).read_text()

    def install(self, path: str) -> None:
        """Put a program there."""
        self.put(path, "")
        (self.root / path[1:]).chmod(0o755)

    def tree(self) -> dict[str, tuple[str, int, bytes]]:
        """Everything below /etc, /usr and /var: kind, mode and content or target; what a removal must give back."""
        places = [entry for top in ("etc", "usr", "var") for entry in (self.root / top).rglob("*")]
        return {str(entry.relative_to(self.root)): _describe(entry) for entry in places}

    def add_process(self, pid: int, name: str, *, cgroup: str, adjust: int = 0, words: Sequence[str] = ()) -> None:
        """Let a process run."""
        self.put(f"/proc/{pid}/comm", f"{name}\n")
        self.put(f"/proc/{pid}/cgroup", f"0::{cgroup}\n")
        self.put(f"/proc/{pid}/oom_score_adj", f"{adjust}\n")
        self.put(f"/proc/{pid}/cmdline", "".join(f"{word}\0" for word in words))

    # The port

    def is_root(self) -> bool:
        return self.root_user

    def memory(self) -> Size:
        return self.total

    def free_page_reporting(self) -> Mapping[str, bool]:
        if self.reporting is None:
            raise HostUnavailable("libvirt is not running at qemu:///system", hint="Start it.")
        return self.reporting

    def write(self, path: str, content: bytes, *, mode: int) -> None:
        super().write(path, content, mode=mode)
        self._changed()

    def remove(self, path: str) -> None:
        super().remove(path)
        self._changed()

    def remove_directory(self, path: str) -> bool:
        gone = super().remove_directory(path)
        self._changed()
        return gone

    def units(self, names: Sequence[str], properties: Sequence[str]) -> tuple[Mapping[str, str], ...]:
        if not self.exists("/run/systemd/system"):
            raise HostUnavailable("This host is not run by systemd")
        known = {"LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": ""}
        found = []
        for name in names:
            unit = self.systemd.aliases.get(name, name)
            told = known | self.systemd.units.get(unit, {}) | self._dropped_in(unit)
            found.append({"Id": unit, **{key: told[key] for key in properties if key in told}})
        return tuple(found)

    def _dropped_in(self, unit: str) -> dict[str, str]:
        lines = (self.read(f"{UNITS}/{unit}.d/50-moltfleet.conf") or b"").decode().splitlines()
        settings = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
        return {key: str(int(value[:-1]) << 20) if value.endswith("M") else value for key, value in settings.items()}

    def run(
        self, argv: Sequence[str], *, input: bytes = b"", check: bool = True, timeout_s: float = 60.0
    ) -> CommandResult:
        words = tuple(argv)
        self.ran.append(words)
        if words[0] in self.refused:
            if check:
                raise ToolFailed(f"Program {words[0]!r} failed (exit status 1)")
            return CommandResult(1, b"", b"")
        result = self._play(words)
        self._changed()
        return result

    def _play(self, words: tuple[str, ...]) -> CommandResult:
        match words:
            case ("systemctl", "enable", unit):
                self._enable(unit)
            case ("systemctl", "disable", "--now", unit):
                self._disable(unit)
                self.table = None
            case ("systemctl", "disable", unit):
                self._disable(unit)
            case ("systemctl", "reload-or-restart", "moltfleet-egress.service"):
                self.table = self.read("/etc/moltfleet/egress.nft")
            case ("systemctl", "restart" | "stop" as verb, unit):
                self.systemd.units[unit]["ActiveState"] = "active" if verb == "restart" else "inactive"
            case ("nft", "list", *_):
                return CommandResult(0 if self.table else 1, b"", b"")
            case ("nft", "delete", *_):
                self.table = None
            case ("env", _, "apt-get", *_, verb, package):
                self._apt(verb, package)
            case ("systemctl", "daemon-reload") | ("nft", "--check", "--file", "-"):
                pass
            case _:
                raise AssertionError(f"nobody runs {words}")
        return CommandResult(0, b"", b"")

    def _enable(self, unit: str) -> None:
        self.systemd.units.setdefault(unit, {})["UnitFileState"] = "enabled"
        for link in self._links(unit):
            link.parent.mkdir(exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(f"{UNITS}/{unit}")

    def _disable(self, unit: str) -> None:
        self.systemd.units.setdefault(unit, {})["UnitFileState"] = "disabled"
        for link in self._links(unit):
            link.unlink(missing_ok=True)
            if link.parent.is_dir() and not any(link.parent.iterdir()) and "sysinit" not in link.parent.name:
                link.parent.rmdir()

    def _links(self, unit: str) -> list[Path]:
        """The links of the unit's [Install] section; a packaged unit is taken to have none."""
        lines = (self.read(f"{UNITS}/{unit}") or b"").decode().splitlines()
        wanted = [name for line in lines if line.startswith("WantedBy=") for name in line[9:].split()]
        return [self.root / f"{UNITS[1:]}/{name}.wants/{unit}" for name in wanted]

    def _apt(self, verb: str, package: str) -> None:
        if verb == "purge":
            (self.root / f"usr/bin/{package}").unlink(missing_ok=True)
            self.systemd.units.pop(f"{package}.service", None)
            return
        self.install(f"/usr/bin/{package}")
        state = {"LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active"}
        self.systemd.units[f"{package}.service"] = state

    def _changed(self) -> None:
        self.changes += 1
        if self.changes == self.kill_after:
            raise Killed


def _describe(entry: Path) -> tuple[str, int, bytes]:
    if entry.is_symlink():
        return ("link", 0, str(entry.readlink()).encode())
    mode = entry.stat().st_mode & 0o7777
    return ("directory", mode, b"") if entry.is_dir() else ("file", mode, entry.read_bytes())
