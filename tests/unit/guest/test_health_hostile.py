"""The health check among hostile names, entries that cannot be read, full disks, old kernels and clocks that jump."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.guesthealth import MIB, NOW, TIME_OF_DAY, Disk, HealthTree
from fakes.guesttree import GuestTree
from moltguest.health.collect import Senses, collect
from moltguest.health.main import main
from moltguest.health.report import Health, Level
from moltguest.health.table import WIDTH, table
from moltguest.samples import Load, SampleLog

# A kernel shows 15 bytes of a name and 4,095 of a path; a fake one is not held to that.
NAMES = {
    "new lines": "claude\nHEALTH: ok\r\n\x0b\x0c\x85\u2028x",
    "escapes": "\x1b[2J\x1b]0;owned\x07\x9b31m\x08\x7f",
    "4000 letters": "x" * 4000,
    "no letters": "\udcff\udcfe\u202e\u200b\ufeff\x00",
    "a stat line": ") R 1 1 1 0 (claude",
    "markup": "[red]%s{0}`$(reboot)`\\",
}


@pytest.fixture
def guest(tree: GuestTree) -> HealthTree:
    return HealthTree(tree)


def shown(report: Health) -> str:
    """Everything that a person gets to see, after a look at whether a terminal can be trusted with it."""
    for trend in (False, True):
        text = table(report, trend=trend)
        assert [letter for letter in text if not letter.isprintable() and letter != "\n"] == []
        assert max(map(len, text.splitlines())) <= WIDTH
    assert len(json.dumps(report.document())) < 100_000
    return text


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_is_never_more_than_a_name(guest: HealthTree, name: str) -> None:
    """As a process, a scope, an executable, a session, in the kernel's log and in the watchdog's file."""
    plain = name.replace("/", "").replace("\x00", "")[:200]
    guest.agent()
    guest.tree.process(600, f"/opt/claude-cli/{plain}", comm=name.replace("\x00", ""), argv=(plain * 20,), memory=90)
    guest.tree.process(601, "/usr/local/bin/claude", comm=name.replace("\x00", ""), memory=1900)
    guest.tree.process(602, "/usr/local/bin/codex", memory=100, cgroup=f"/agents.slice/{plain}.scope")
    guest.tree.write("proc/sys/kernel/hostname", name)
    guest.tree.write("proc/vmstat", "oom_kill 1\n")
    last = {"message": f"Agent {name} has ended", "uptime": 6000.0}
    guest.watchdog(kills=1, last=last, disabled=[f"{name}@1000"], problems=[name])
    (guest.tree.root / "tmp/tmux-0").mkdir()
    (guest.tree.root / "tmp/tmux-0/default").touch()
    killed = f"oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/{plain},task_memcg=/a,task={plain},pid=7,uid=0"
    guest.programs.said = {
        "list-sessions": f"0 1 %1 /dev/pts/9 ={plain} {plain} =/tmp/{plain}\n",
        "journalctl": json.dumps({"MESSAGE": killed, "__MONOTONIC_TIMESTAMP": "1000"}) + "\n",
    }

    report = guest.look()

    shown(report)
    assert max(agent.used for agent in report.agents if agent.scope == "") == 1900 * MIB
    assert all(len(finding.text) < 400 and finding.advice.isprintable() for finding in report.findings)


def test_entries_that_cannot_be_read_are_counted_and_do_no_harm(
    guest: HealthTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: str, *rest: int) -> int:
        if "/proc/7" in str(path):
            raise PermissionError(13, "Permission denied")
        return real(path, *rest)

    guest.agent()
    for pid in (70, 71, 72):
        guest.tree.process(pid, "/usr/bin/vim")
    monkeypatch.setattr("os.open", refuse)

    report = guest.look()

    assert "3 processes cannot be read" in report.unseen
    assert [agent.name for agent in report.agents] == ["claude"]
    assert report.level is Level.OK


def test_processes_that_end_while_they_are_looked_at_are_no_failure(
    guest: HealthTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest.agent()
    guest.tree.process(700, "/usr/local/bin/codex", memory=300)
    real = os.readlink

    def end(path: str, *rest: object) -> str:
        if "/proc/700/" in str(path) and (guest.tree.root / "proc/700").exists():
            guest.tree.end(700)
        return real(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("os.readlink", end)
    assert [agent.name for agent in guest.look().agents] == ["claude"]


def test_a_full_disk_is_told_and_needs_no_room_to_be(guest: HealthTree, monkeypatch: pytest.MonkeyPatch) -> None:
    guest.disks = {path: Disk(1.0, 1.0, f_favail=0) for path in guest.disks}
    guest.agent()
    before = sorted(guest.tree.root.rglob("*"))
    real = os.open

    def refuse(path: str, flags: int, *rest: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(28, "No space left on device")
        return real(path, flags, *rest)

    monkeypatch.setattr("os.open", refuse)

    report = guest.look()

    assert {"disk-full", "shm-full", "tmpfs-full"} <= {finding.code for finding in report.findings}
    assert report.level is Level.CRITICAL
    assert sorted(guest.tree.root.rglob("*")) == before


def test_a_kernel_without_psi_and_cgroups_of_version_2_is_told_so(tmp_path: Path) -> None:
    guest = HealthTree(GuestTree(tmp_path, unified=False))
    for name in ("memory", "io", "cpu"):
        (tmp_path / f"proc/pressure/{name}").unlink()
    (tmp_path / "sys/fs/cgroup/memory").mkdir()
    guest.tree.process(600, "/usr/local/bin/claude", memory=300)

    report = guest.look()

    assert report.containment.cgroup_version == 1
    assert report.pressure == {"memory": None, "io": None, "cpu": None}
    assert [(agent.name, agent.used, agent.scope) for agent in report.agents] == [("claude", 300 * MIB, "")]
    assert "containment" in {finding.code for finding in report.findings}
    text = shown(report)
    assert "pressure  not measured\n" in text
    assert "cgroups not version 2" in text


def look(guest: HealthTree, *, now: float = NOW, time_of_day: float = TIME_OF_DAY) -> Health:
    root = str(guest.tree.root)
    clocks = Senses(root=root, now=lambda: now, time_of_day=lambda: time_of_day)
    return collect(replace(clocks, programs=guest.programs, statvfs=guest._statvfs, user=0))


@pytest.mark.parametrize("jump_s", [-3e8, -86_400, 86_400, 3e8])
def test_a_time_of_day_that_jumps_moves_no_forecast(guest: HealthTree, jump_s: float) -> None:
    path = guest.agent(1500)
    guest.leak(path, rate=24, minutes=40, used=1500)
    (guest.tree.root / "tmp/tmux-0").mkdir()
    (guest.tree.root / "tmp/tmux-0/default").touch()
    guest.programs.said = {"list-sessions": f"1 {int(TIME_OF_DAY)} %0 /dev/pts/9 =claude main =/work\n"}

    before, after = look(guest), look(guest, time_of_day=TIME_OF_DAY + jump_s)

    assert after.trends == before.trends
    assert after.verdict == "critical"
    assert after.watchdog.state == "watching"
    assert after.sessions[0].idle_s == max(0.0, jump_s)
    shown(after)


def test_samples_of_a_time_to_come_are_none(guest: HealthTree) -> None:
    """Such as a clock that went back, or a file of another boot, leaves."""
    guest.agent()
    log = SampleLog(str(guest.tree.root))
    for second in range(0, 1200, 10):
        log.offer(NOW + 5000 + second, (3000 - 2 * second) * MIB, 4096 * MIB, [Load("x", second * MIB, 1780 * MIB)])

    report = look(guest)

    assert report.verdict == "unknown"
    assert report.trends[0].samples == 1


def test_a_watchdog_of_another_boot_does_not_watch(guest: HealthTree) -> None:
    guest.watchdog(uptime=NOW + 9000)
    assert look(guest).watchdog.state == "silent"
    assert look(guest, now=NOW + 9001).watchdog.state == "watching"


def test_letters_that_a_terminal_does_not_know_are_written_in_another_way(
    guest: HealthTree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    guest.tree.write("proc/sys/kernel/hostname", "蟹-1")
    with (tmp_path / "out").open("w", encoding="latin-1") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        assert main(["--root", str(guest.tree.root)]) in (0, 1)
    assert (tmp_path / "out").read_text("latin-1").startswith("\\u87f9-1: ")
