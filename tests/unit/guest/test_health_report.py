"""vm-health-check as people and programs see it: whole reports of guests that are files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes.guesthealth import Disk, HealthTree
from fakes.guesttree import GuestTree
from moltguest.health.main import main, parse
from moltguest.health.report import Level
from moltguest.health.table import WIDTH, table

Compare = Callable[[str, str], None]


@pytest.fixture
def guest(tree: GuestTree) -> HealthTree:
    return HealthTree(tree)


def trouble(guest: HealthTree) -> None:
    """Something of everything."""
    path = guest.agent(1500)
    guest.leak(path, rate=24, minutes=40, used=1500)
    guest.agent(300, name="codex", scope="run-codex-2.scope", pid=510)
    guest.tree.process(520, "/usr/local/bin/gemini", memory=200)
    guest.memory(available=1900, SwapTotal=2_000_000, SwapFree=500_000)
    guest.pressure(some=30, full=22)
    guest.disks["/dev/shm"] = Disk(0.48, 0.47)
    guest.disks["/"] = Disk(50, 20, f_favail=20_000)
    guest.tree.write("proc/sys/fs/file-nr", "790000\t0\t800000\n")
    guest.tree.write("proc/vmstat", "oom_kill 3\n")
    last = {"message": "Agent claude (pid 77) has ended after 1.2 s (SIGTERM)", "uptime": 6000.0}
    guest.watchdog(kills=1, last=last, disabled=["gemini@1000"], problems=["/var/lib is full"])
    guest.programs.said = {
        "list-sessions": "1 1795255100 %0 /dev/pts/9 =claude main =/home/agent/work\n"
        "0 1795237200 %3 /dev/pts/9 =bash old =/home/agent\n"
        "0 1795255000 %4 /dev/pts/9 =claude twin =/home/agent/work\n",
        "capture-pane": "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n$ ",
    }
    (guest.tree.root / "tmp/tmux-0").mkdir()
    (guest.tree.root / "tmp/tmux-0/default").touch()


def test_a_guest_at_rest_in_80_columns(guest: HealthTree, golden: Compare) -> None:
    guest.agent()
    golden("health/calm.txt", table(guest.look()))


def test_a_guest_in_trouble_in_80_columns(guest: HealthTree, golden: Compare) -> None:
    trouble(guest)
    golden("health/trouble.txt", table(guest.look(), trend=True))


def test_the_page_on_health_shows_what_the_program_says(guest: HealthTree) -> None:
    """A guest in which one agent leaks, and nothing else is wrong."""
    path = guest.agent(1500)
    guest.leak(path, rate=24, minutes=40, used=1500)
    guest.memory(available=1900)
    guest.programs.said = {"list-sessions": "1 1795255100 %0 /dev/pts/9 =claude crab =/home/agent/work\n"}
    guest.tree.write("tmp/tmux-0/crab", "")
    page = (Path(__file__).parents[3] / "docs/health.md").read_text()
    _, _, block = page.partition("$ sudo vm-health-check\n")

    assert block.partition("```")[0] == table(guest.look())


def test_the_page_on_health_knows_every_code(guest: HealthTree) -> None:
    root = Path(__file__).parents[3]
    source = "".join(
        path.read_text() for path in sorted((root / "bootstrap/guest/moltguest/health").glob("finding*.py"))
    )
    told = {*re.findall(r'Finding\("([a-z0-9-]+)"', source), *re.findall(r': "([a-z]+-limit)"', source)}
    trouble(guest)
    told |= {finding.code for finding in guest.look().findings}
    page = (root / "docs/health.md").read_text()
    documented = set(re.findall(r"`([a-z0-9-]+)`", "".join(re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE))))

    assert len(told) > 15
    assert told <= documented
    assert documented - told <= {"tmpfs-full", "tmpfs-inodes", "shm-inodes", "disk-full", "ok", "growing", "leaking",
                                 "critical", "unknown"}  # fmt: skip


def test_no_line_is_longer_than_the_terminal(guest: HealthTree) -> None:
    trouble(guest)
    guest.tree.write("proc/sys/kernel/hostname", "x" * 500)
    lines = table(guest.look(), trend=True).splitlines()
    assert max(map(len, lines)) <= WIDTH


def test_colors_come_only_when_asked_for_and_change_no_word(guest: HealthTree) -> None:
    trouble(guest)
    report = guest.look()
    plain, colored = table(report), table(report, color=True)
    assert "\x1b" not in plain
    assert "\x1b[31;1mcritical\x1b[0m" in colored
    for code in ("\x1b[31;1m", "\x1b[33m", "\x1b[36m", "\x1b[0m"):
        colored = colored.replace(code, "")
    assert colored == plain


def test_the_document_is_json_that_says_what_the_table_says(guest: HealthTree) -> None:
    trouble(guest)
    report = guest.look()
    document = json.loads(json.dumps(report.document()))
    assert document["schema"] == "moltfleet.guest-health/1"
    assert document["level"] == "critical"
    assert document["verdict"] == "critical"
    assert [finding["code"] for finding in document["findings"]] == [finding.code for finding in report.findings]
    assert document["memory"]["total"] == 4096 << 20
    assert document["pressure"]["memory"]["full_avg10"] == 22.0
    assert document["trends"][0]["key"] == ""


def test_hostile_names_reach_neither_terminal_nor_line_ends(guest: HealthTree) -> None:
    guest.tree.process(600, "/usr/local/bin/claude", comm=b"a\nb\x1b[2J" + b"x" * 4000, argv=("\x1b]0;x\x07",))
    guest.tree.process(601, "/opt/\x1b[31m\n/codex", comm=b"\xff\xfe")
    guest.agent(scope="run-\x1b[5m\nx.scope", pid=602)
    guest.tree.write("proc/sys/kernel/hostname", "crab\x1b[2J\nsecond")
    guest.watchdog(last={"message": "\x1b[2J\nrm"}, disabled=["\x07" * 5000], problems=["a\nb"])
    (guest.tree.root / "tmp/tmux-0").mkdir()
    (guest.tree.root / "tmp/tmux-0/default").touch()
    guest.programs.said = {"list-sessions": "0 1 %1 /dev/pts/9 =\x1b[2J 'x\u202e$(reboot)' =/tmp/\x07\n"}
    report = guest.look()
    text = table(report, trend=True)
    assert [character for character in text if not character.isprintable() and character != "\n"] == []
    assert max(map(len, text.splitlines())) <= WIDTH
    (advice,) = [finding.advice for finding in report.findings if finding.code == "session-idle"]
    assert advice == "tmux kill-session -t '=x\\u202e$(reboot)'"


def test_a_bare_tree_is_looked_at_and_what_is_not_there_is_said(tmp_path: Path) -> None:
    report = HealthTree(GuestTree(tmp_path, unified=False), bare=True).look(user=1000)
    assert report.level is Level.WARN
    assert {finding.code for finding in report.findings} == {"watchdog", "containment"}
    assert report.unseen == (
        "pressure: this kernel does not measure it (CONFIG_PSI, psi=1)",
        "not root: other users' executables, open files and sessions are not seen",
    )
    assert "pressure  not measured\n" in table(report)


def write_calm(guest: HealthTree) -> list[str]:
    guest.agent()
    return ["--root", str(guest.tree.root)]


def test_the_program_exits_with_0_1_or_2(guest: HealthTree, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_calm(guest)
    # The real clock is not the tree's: only a fresh state of the watchdog is missing.
    assert main(root) == 1
    assert "The watchdog does not answer" in capsys.readouterr().out
    guest.memory(available=100)
    assert main([*root, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["level"] == "critical"


def test_a_guest_without_meminfo_cannot_be_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path)]) == 3
    assert capsys.readouterr().err.startswith("vm-health-check: this guest cannot be looked at: ")


@pytest.mark.parametrize("arguments", [["--fast"], ["--watch", "0"], ["--watch=soon"], ["--root"], ["--json=1"], ["x"]])
def test_a_command_line_that_makes_no_sense_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 64
    said = capsys.readouterr()
    assert said.out == ""
    assert "usage: vm-health-check" in said.err


def test_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "Exit status: 0 all is well" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "every"), [([], None), (["--watch"], 30), (["--watch", "5"], 5), (["--watch=2.5", "--json"], 2.5)]
)
def test_how_often_it_looks(arguments: list[str], every: float | None) -> None:
    assert parse(arguments).every_s == every


def test_the_processor_time_of_all_agents_is_told_where_it_is_counted(guest: HealthTree) -> None:
    guest.agent()
    assert guest.look().agents_cpu_s is None
    guest.tree.write("sys/fs/cgroup/agents.slice/cpu.stat", "usage_usec 12345678\nuser_usec 1\nsystem_usec 2\n")
    own = "sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/agents.slice"
    guest.tree.write(f"{own}/cpu.stat", "usage_usec 1000000\n")
    assert guest.look().agents_cpu_s == 13.346
