"""A machine with timers and a crontab: units are files in a directory, and a systemd and a crontab that know them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.clock import FakeClock
from fakes.machine import FakeMachine
from moltfleet.config import Config
from moltfleet.model.domain import CommandResult
from moltfleet.model.errors import ToolFailed
from moltfleet.model.schedule import Account
from moltfleet.operations.scheduling import Scheduling
from moltfleet.progress import RecordingProgress

ANN = Account("ann", 1000, "/home/ann", "/home/ann/.config")
# As systemctl tells it.
NEXT = "Sat 2026-11-21 03:30:00 UTC"


@dataclass
class FakeAccounts:
    """The Accounts port: ann, a member of libvirt, runs this; bob is no member."""

    current: Account = ANN
    members: set[str] = field(default_factory=lambda: {"ann"})
    weak: dict[str, str] = field(default_factory=dict)

    def me(self) -> Account:
        return self.current

    def find(self, name: str) -> Account | None:
        known = {"ann": ANN, "bob": Account("bob", 1001, "/home/bob", "/home/bob/.config")}
        return known.get(name)

    def is_member(self, name: str, group: str) -> bool:
        return group == "libvirt" and name in self.members

    def weak_spot(self, path: str) -> str | None:
        return self.weak.get(path)


class ScheduleMachine(FakeMachine):
    """A machine whose systemd and cron only know what is enabled, started, and written."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.crontab: bytes | None = None
        self.active: set[str] = set()
        # What only root can read.
        self.closed: set[str] = set()
        self.enabled: set[str] = set()
        self.install("/usr/bin/crontab")
        self.start_manager()
        self.add_process(77, "cron", cgroup="/system.slice/cron.service")

    def start_manager(self) -> None:
        """Let ann's systemd run."""
        self.put("/run/user/1000/systemd/private", "")

    def stop_manager(self) -> None:
        """Let ann be logged out."""
        (self.root / "run/user/1000/systemd/private").unlink()

    def run(
        self, argv: Sequence[str], *, input: bytes = b"", check: bool = True, timeout_s: float = 60.0
    ) -> CommandResult:
        words = tuple(argv)
        self.ran.append(words)
        if words[:2] == ("env", "TZ=UTC"):
            words = words[2:]
        if words[0] == "env":
            assert words[1] == "XDG_RUNTIME_DIR=/run/user/1000"
            assert words[2:4] == ("systemctl", "--user")
            words = ("systemctl", *words[4:])
        if words[0] in self.refused:
            raise ToolFailed(f"Program {words[0]!r} failed (exit status 1): Access denied")
        result = self._schedule(words, input)
        self._changed()
        return result

    def _schedule(self, words: tuple[str, ...], input: bytes) -> CommandResult:
        if words[0] == "runuser":
            return CommandResult(int(any(word in self.closed for word in words)), b"", b"")
        if words[0] == "crontab":
            return self._crontab(words[1], input)
        match words:
            case ("loginctl", "enable-linger", name):
                self.put(f"/var/lib/systemd/linger/{name}", "")
                self.start_manager()
            case ("systemctl", "enable", *units):
                self.enabled |= set(units)
            case ("systemctl", "start", *units):
                assert set(units) <= self.enabled
                self.active |= set(units)
            case ("systemctl", "stop", *units):
                self.active -= set(units)
            case ("systemctl", "disable", "--now", *units):
                self.active -= set(units)
                self.enabled -= set(units)
            case ("systemctl", "show", *_, unit):
                return CommandResult(0, self._told(unit), b"")
            case _:
                assert words[1] in ("clean", "daemon-reload"), f"nobody runs {words}"
        return CommandResult(0, b"", b"")

    def _crontab(self, word: str, input: bytes) -> CommandResult:
        if word == "-l":
            missing = CommandResult(1, b"", b"no crontab for ann\n")
            return missing if self.crontab is None else CommandResult(0, self.crontab, b"")
        assert word == "-r" or input.endswith(b"\n"), "cron refuses a last line without an end"
        self.crontab = None if word == "-r" else input
        return CommandResult(0, b"", b"")

    def _told(self, unit: str) -> bytes:
        if unit.endswith(".service"):
            return b"Result=success\n"
        state = "active" if unit in self.active else "inactive"
        return f"ActiveState={state}\nNextElapseUSecRealtime={NEXT}\nLastTriggerUSec=n/a\n".encode()


def a_scheduling(
    machine: ScheduleMachine, *, environment: Mapping[str, str] | None = None, **config: Any
) -> Scheduling:
    """What a schedule is put down with, by ann."""
    return Scheduling(
        config=Config.model_validate(config),
        machine=machine,
        accounts=FakeAccounts(),
        clock=FakeClock(),
        progress=RecordingProgress(),
        program=("/opt/moltfleet/bin/moltfleet",),
        parts=("/opt/moltfleet/bin/moltfleet", "/opt/moltfleet/lib"),
        environment=environment or {},
    )
