"""The known failures of agents' guests, each made to happen alone and told from the others."""

from __future__ import annotations

import json

import pytest

from fakes.guesthealth import NOW, Disk, HealthTree
from fakes.guesttree import GuestTree
from moltguest.health.report import Finding, Health, Level

MEMCG = (
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/agents.slice/run-claude-1.scope,"
    "task_memcg=/agents.slice/run-claude-1.scope,task=node, (sh),pid=77,uid=1000"
)
GLOBAL = (
    "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,"
    "task_memcg=/user.slice/user-1000.slice/session-3.scope,task=python3,pid=88,uid=1000"
)


@pytest.fixture
def guest(tree: GuestTree) -> HealthTree:
    return HealthTree(tree)


def found(report: Health) -> dict[str, Level]:
    return {finding.code: finding.level for finding in report.findings}


def only(report: Health, code: str) -> Finding:
    (finding,) = [finding for finding in report.findings if finding.code == code]
    return finding


def log(guest: HealthTree, *messages: str, ago_s: float = 60) -> None:
    """What the kernel's log says; the guest is up for two hours."""
    stamp = str(int((7200 - ago_s) * 1e6))
    lines = [json.dumps({"MESSAGE": message, "__MONOTONIC_TIMESTAMP": stamp}) for message in messages]
    guest.programs.said["journalctl"] = "\n".join(lines)


def test_a_guest_at_rest_has_no_findings(guest: HealthTree) -> None:
    report = guest.look()
    assert (report.level, report.findings, report.unseen) == (Level.OK, (), ())


def test_v8s_limit_is_neared_while_the_guest_has_memory(guest: HealthTree) -> None:
    guest.agent(1000)
    guest.tree.process(
        501, "/usr/bin/node", memory=950, cgroup="/agents.slice/run-claude-1.scope", argv=("cli.js",), parent=500
    )
    report = guest.look()
    assert found(report) == {"v8-heap": Level.WARN}
    assert "holds 950 MiB; V8 ends it when its heap is 1.0 GiB" in only(report, "v8-heap").text


@pytest.mark.parametrize(
    ("argv", "environ", "is_near"),
    [
        (("--max-old-space-size=4096", "cli.js"), "", False),
        (("--max_old_space_size=1000", "cli.js"), "", True),
        (("cli.js",), "A=1\0NODE_OPTIONS=--no-warnings --max-old-space-size=4096\0B=2\0", False),
        (("cli.js",), "NODE_OPTIONS=--max-old-space-size=1000\0", True),
        (("cli.js", "--prompt", "NODE_OPTIONS=x"), "", True),
    ],
)
def test_the_heap_that_node_was_told_to_take_counts(
    guest: HealthTree, argv: tuple[str, ...], environ: str, is_near: bool
) -> None:
    guest.agent(1000)
    guest.tree.process(501, "/usr/bin/node", memory=950, cgroup="/agents.slice/run-claude-1.scope", argv=argv)
    guest.tree.write("proc/501/environ", environ)
    assert ("v8-heap" in found(guest.look())) is is_near


def test_a_node_that_v8_has_ended_is_seen_in_its_session(guest: HealthTree) -> None:
    (guest.tree.root / "tmp/tmux-0").mkdir()
    (guest.tree.root / "tmp/tmux-0/default").touch()
    guest.programs.said = {
        "list-sessions": "1 1795255100 %0 /dev/pts/8 =bash main =/root\n"
        "1 1795255100 %1 /dev/pts/9 =claude other =/root\n",
        "-t %0": "FATAL ERROR: Ineffective mark-compacts near heap limit Allocation failed - "
        "JavaScript heap out of memory",
    }
    assert found(guest.look()) == {"v8-heap": Level.WARN}
    asked = [argv for argv, _ in guest.programs.asked if "capture-pane" in argv]
    # Where a program still runs, nobody has to look.
    assert [argv[-1] for argv in asked] == ["%0"]


def test_the_kernels_log_tells_a_limits_kill_from_the_guests(guest: HealthTree) -> None:
    guest.tree.write("proc/vmstat", "oom_kill 2\n")
    log(guest, MEMCG, GLOBAL)
    report = guest.look()
    assert found(report) == {"cgroup-limit": Level.WARN, "guest-oom": Level.WARN}
    assert only(report, "cgroup-limit").text == (
        "The kernel ended 1 process (last node, (sh), 60 s ago) at the limit of run-claude-1.scope"
    )
    assert "(last python3, 60 s ago), the guest's memory being used up" in only(report, "guest-oom").text


def test_a_kill_of_long_ago_is_only_a_note(guest: HealthTree) -> None:
    guest.tree.write("proc/vmstat", "oom_kill 1\n")
    log(guest, MEMCG, ago_s=6000)
    assert found(guest.look()) == {"cgroup-limit": Level.NOTE}


@pytest.mark.parametrize(
    ("total", "of_agents", "hits", "codes"),
    [(2, 2, 1, {"cgroup-limit"}), (2, 0, 0, {"guest-oom"}), (3, 1, 4, {"cgroup-limit", "guest-oom"}),
     (1, 1, 0, {"guest-oom"})],
)  # fmt: skip
def test_without_the_log_the_counters_tell_what_they_can(
    guest: HealthTree, total: int, of_agents: int, hits: int, codes: set[str]
) -> None:
    guest.tree.write("proc/vmstat", f"oom_kill {total}\n")
    guest.tree.write("sys/fs/cgroup/agents.slice/memory.events", f"oom {hits}\noom_kill {of_agents}\n")
    report = guest.look()
    assert found(report).keys() == codes
    assert "which processes the kernel ended: its log cannot be read" in report.unseen


@pytest.mark.parametrize("line", ["no json", "[]", '{"MESSAGE": 5, "__MONOTONIC_TIMESTAMP": "1"}', "{" * 99, "{}"])
def test_a_log_that_makes_no_sense_is_passed_over(guest: HealthTree, line: str) -> None:
    guest.tree.write("proc/vmstat", "oom_kill 1\n")
    guest.programs.said["journalctl"] = line
    assert found(guest.look()) == {"guest-oom": Level.WARN}


@pytest.mark.parametrize(
    ("path", "disk", "code", "level"),
    [
        ("/dev/shm", Disk(1.0, 0.9), "shm-full", Level.WARN),
        ("/dev/shm", Disk(1.0, 1.0), "shm-full", Level.CRITICAL),
        ("/tmp", Disk(1.0, 0.97), "tmpfs-full", Level.CRITICAL),
        ("/tmp", Disk(1.0, 0.1, f_favail=1), "tmpfs-inodes", Level.CRITICAL),
        ("/", Disk(50, 45), "disk-full", Level.WARN),
        ("/", Disk(50, 45, f_favail=1000), "disk-inodes", Level.CRITICAL),
    ],
)
def test_each_kind_of_full_place_has_its_own_name(
    guest: HealthTree, path: str, disk: Disk, code: str, level: Level
) -> None:
    guest.disks[path] = disk
    assert found(guest.look()) == {code: level}


def test_a_file_system_without_inodes_or_room_of_its_own_is_not_full(guest: HealthTree) -> None:
    guest.disks["/"] = Disk(50, 1, f_files=0, f_favail=0)
    guest.disks["/tmp"] = Disk(0, 0, f_files=0, f_favail=0)
    assert found(guest.look()) == {}


def test_swap_that_thrashes_is_not_memory_that_is_short(guest: HealthTree) -> None:
    guest.pressure(some=40, full=25)
    assert found(guest.look()) == {"memory-pressure": Level.WARN}
    guest.memory(available=3000, SwapTotal=1_000_000, SwapFree=400_000)
    assert found(guest.look()) == {"swap-thrash": Level.CRITICAL}


@pytest.mark.parametrize(
    ("file", "text", "code", "level"),
    [
        ("proc/loadavg", "0 0 0 1/30900 9\n", "thread-limit", Level.CRITICAL),
        ("proc/sys/fs/file-nr", "720000\t0\t800000\n", "descriptor-limit", Level.WARN),
        ("proc/sys/kernel/pid_max", "2\n", "process-limit", Level.CRITICAL),
    ],
)
def test_limits_of_the_guest_are_told_apart(guest: HealthTree, file: str, text: str, code: str, level: Level) -> None:
    guest.tree.write(file, text)
    assert found(guest.look()) == {code: level}


def test_the_limit_of_a_group_is_named(guest: HealthTree) -> None:
    group = "sys/fs/cgroup/user.slice/user-1000.slice"
    guest.tree.write(f"{group}/pids.current", "950\n")
    guest.tree.write(f"{group}/pids.max", "1000\n")
    guest.tree.write(f"{group}/pids.events", "max 0\n")
    report = guest.look()
    assert only(report, "process-limit").text == "950 of 1000 processes are in use in user-1000.slice"
    guest.tree.write(f"{group}/pids.current", "10\n")
    guest.tree.write(f"{group}/pids.events", "max 7\n")
    assert only(guest.look(), "process-limit").text == "New processes were refused 7 times in user-1000.slice"


def test_the_open_files_of_one_agent_are_looked_at(guest: HealthTree) -> None:
    guest.agent()
    guest.tree.write("proc/500/limits", "Limit  Soft  Hard  Units\nMax open files            20    4096    files\n")
    for number in range(19):
        guest.tree.write(f"proc/500/fd/{number}", "")
    report = guest.look()
    assert found(report) == {"descriptor-limit": Level.CRITICAL}
    assert only(report, "descriptor-limit").text == "19 of 20 open files are in use in claude (pid 500)"


@pytest.mark.parametrize(("available", "level"), [(500, Level.WARN), (250, Level.CRITICAL)])
def test_little_memory_is_agents_or_is_not(guest: HealthTree, available: int, level: Level) -> None:
    guest.memory(available=available)
    report = guest.look()
    assert found(report) == {"memory-low": level, "memory-grows": level}
    assert "not agents" in only(report, "memory-low").advice
    guest.agent(1500, scope="large.scope")
    guest.agent(900, scope="second.scope", pid=501)
    assert only(guest.look(), "memory-low").advice.startswith("Molt, or end agent claude (1.5 GiB)")


def test_an_agent_that_grows_is_told_before_the_guest_suffers(guest: HealthTree) -> None:
    path = guest.agent(900)
    guest.leak(path, rate=15, minutes=45, used=900)
    report = guest.look()
    assert report.verdict == "leaking"
    assert found(report) == {"memory-grows": Level.WARN}
    finding = only(report, "memory-grows")
    assert finding.text == "Agent claude takes 15 MiB/min more: all is used up in 59 min"
    assert [trend.verdict for trend in report.trends] == ["growing", "leaking"]


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (None, "The watchdog is not running: nobody stops an agent that leaks"),
        ({"uptime": NOW - 600}, "The watchdog does not answer: nobody stops an agent that leaks"),
        ({"uptime": NOW + 600}, "The watchdog does not answer: nobody stops an agent that leaks"),
        ({"modes": {"dry_run": True}}, "The watchdog only says what it would do: nobody stops an agent that leaks"),
        ({"modes": 5}, "The watchdog does not answer: nobody stops an agent that leaks"),
        ({"uptime": "soon"}, "The watchdog does not answer: nobody stops an agent that leaks"),
    ],
)
def test_a_watchdog_that_does_not_watch_is_a_warning(
    guest: HealthTree, state: dict[str, object] | None, text: str
) -> None:
    if state is None:
        (guest.tree.root / "run/moltfleet/watchdog/state.json").unlink()
    else:
        guest.watchdog(**state)  # type: ignore[arg-type]
    report = guest.look()
    assert report.level is Level.WARN
    assert only(report, "watchdog").text == text


@pytest.mark.parametrize(
    ("version", "advice"),
    [("0.1.0\n", "sudo systemctl restart moltfleet-watchdog"), ("", "From the host: moltfleet tools install NAME")],
)
def test_a_watchdog_that_was_never_installed_is_not_to_be_restarted(
    guest: HealthTree, version: str, advice: str
) -> None:
    (guest.tree.root / "run/moltfleet/watchdog/state.json").unlink()
    guest.tree.write("usr/local/lib/moltfleet/version", version)
    assert only(guest.look(), "watchdog").advice == advice


def test_agents_without_a_limit_together_are_a_warning(guest: HealthTree) -> None:
    guest.agent()
    guest.tree.slice(used=400)
    assert found(guest.look()) == {"containment": Level.WARN}


def test_an_agent_in_no_scope_is_a_note(guest: HealthTree) -> None:
    guest.tree.process(700, "/usr/local/bin/codex", memory=100)
    report = guest.look()
    assert (found(report), report.level) == ({"agent-uncontained": Level.NOTE}, Level.NOTE)
    assert report.memory.agents == 100 << 20


@pytest.mark.parametrize(
    ("server", "advice"),
    [
        ("default", "tmux kill-session -t =crab"),
        ("crab", "agent-session --end crab"),
        ("a b", "tmux -L 'a b' kill-session -t =crab"),
    ],
)
def test_a_session_that_nobody_would_miss_is_ended_as_it_was_started(
    guest: HealthTree, server: str, advice: str
) -> None:
    guest.tree.write(f"tmp/tmux-0/{server}", "")
    guest.programs.said = {"list-sessions": "0 1795237200 %0 /dev/pts/9 =bash crab =/root\n"}
    assert only(guest.look(), "session-idle").advice == advice


def test_an_agent_behind_its_wrapper_is_what_a_session_runs(guest: HealthTree) -> None:
    path = guest.agent(300)
    guest.tree.process(500, "/usr/local/bin/claude", memory=300, cgroup=path, terminal=(136 << 8) + 9)
    guest.tree.write("tmp/tmux-0/default", "")
    guest.programs.said = {"list-sessions": "1 1795255100 %0 /dev/pts/9 =python3 main =/root\n"}
    assert [session.program for session in guest.look().sessions] == ["claude"]


def test_the_worst_comes_first(guest: HealthTree) -> None:
    guest.tree.process(700, "/usr/local/bin/codex", memory=100)
    guest.disks["/"] = Disk(50, 45)
    guest.disks["/dev/shm"] = Disk(1, 1)
    levels = [finding.level for finding in guest.look().findings]
    assert levels == [Level.CRITICAL, Level.WARN, Level.NOTE]
