"""moltguest.scope on this machine: real processes with their signals and statuses, and a real message bus."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moltguest.limits import GIB, levels
from moltguest.scope.contain import Scope
from moltguest.scope.manager import Address, Manager, Refused

GUEST = Path(__file__).parents[3] / "bootstrap/guest"
# The supervisor as it is; only the manager is left out, which this machine need not have.
RUN = f"""
import os, sys
sys.path.insert(0, {str(GUEST)!r})
from moltguest.limits import levels
from moltguest.scope import child, supervise
supervise.contain = lambda pid, scope: "nobody"
supervise.why_not_inside = lambda pid, scope: ""
job = supervise.Job(sys.argv[1], tuple(sys.argv[1:]), "/bin/" + sys.argv[1], dict(os.environ), levels(1 << 30))
status, killed_by = supervise.run(job)
if killed_by:
    child.end_alike(killed_by)
sys.exit(status)
"""


def start(*argv: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-IS", "-c", RUN, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )  # type: ignore[call-overload, no-any-return]


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, error = process.communicate(timeout=60)
    return process.returncode, out, error


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", -15), ("kill -KILL $$", -9)]
)
def test_the_status_is_the_programs_own(script: str, status: int) -> None:
    assert finish(start("sh", "-c", script))[0] == status


def test_a_program_that_cannot_be_run_is_told_as_a_shell_does() -> None:
    assert finish(start("no-such-program"))[::2] == (127, "no-such-program: No such file or directory\n")


def test_a_signal_to_us_reaches_the_program() -> None:
    process = start("sh", "-c", "trap 'echo told; exit 5' TERM; echo ready; while :; do sleep 0.05; done")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.terminate()
    assert finish(process) == (5, "told\n", "")


def test_an_interrupt_from_the_terminal_is_the_programs_to_answer() -> None:
    process = start(
        "sh", "-c", "trap 'echo told; exit 6' INT; echo ready; while :; do sleep 0.05; done", start_new_session=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    assert finish(process) == (6, "told\n", "")


def test_a_program_that_stops_stops_us_and_goes_on_with_us() -> None:
    process = start("sh", "-c", "echo ready; kill -STOP $$; echo on", start_new_session=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    until = time.monotonic() + 30
    while time.monotonic() < until and state(process.pid) != "T":
        time.sleep(0.02)
    assert state(process.pid) == "T"
    os.killpg(process.pid, signal.SIGCONT)
    assert finish(process) == (0, "on\n", "")


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_program_starts_with_the_signals_of_whoever_started_us() -> None:
    script = "grep -E 'Sig(Ign|Blk)' /proc/self/status"
    plain = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert finish(start("sh", "-c", script))[:2] == (0, plain)
    ignoring = f'trap \'\' HUP; exec {sys.executable} -IS -c "$0" sh -c "$1"'
    done = subprocess.run(["sh", "-c", ignoring, RUN, script], capture_output=True, text=True, check=True).stdout
    ignored = subprocess.run(["sh", "-c", f"trap '' HUP; {script}"], capture_output=True, text=True, check=True).stdout
    assert done == ignored


def test_the_end_is_seen_also_where_nobody_was_to_be_told() -> None:
    script = f"trap '' CHLD; exec {sys.executable} -IS -c \"$0\" sh -c 'exit 4'"
    assert subprocess.run(["bash", "-c", script, RUN], timeout=60, check=False).returncode == 4


def test_a_program_is_what_the_kernel_ends_first_and_hands_no_protection_on() -> None:
    assert finish(start("cat", "/proc/self/oom_score_adj"))[1] == "500\n"


def test_standard_input_and_the_directory_are_the_programs(tmp_path: Path) -> None:
    process = start("sh", "-c", "pwd; cat", stdin=subprocess.PIPE, cwd=tmp_path)
    assert process.communicate("words", timeout=60)[0] == f"{tmp_path}\nwords"


def test_what_the_program_leaves_running_keeps_nobody_waiting() -> None:
    began = time.monotonic()
    process = start("sh", "-c", "sleep 20 >/dev/null 2>&1 & echo $!")
    out = finish(process)[1]
    assert time.monotonic() - began < 15
    os.kill(int(out), signal.SIGKILL)


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[str]:
    """A message bus of our own; it takes apart every message, and hangs up on one that is not well formed."""
    path = tmp_path / "bus"
    configuration = tmp_path / "bus.conf"
    configuration.write_text(
        f"<busconfig><type>session</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>"
        '<policy context="default"><allow send_destination="*"/><allow eavesdrop="true"/><allow own="*"/></policy>'
        "</busconfig>"
    )
    daemon = subprocess.Popen(["dbus-daemon", f"--config-file={configuration}", "--nofork"])
    until = time.monotonic() + 30
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    yield str(path)
    daemon.terminate()
    daemon.wait(timeout=30)


def test_what_is_asked_of_a_manager_is_well_formed(bus: str) -> None:
    manager = Manager((Address("/nowhere", is_bus=False), Address(bus, is_bus=True)))
    scope = Scope("clöude-1.scope", "a description", levels(1 * GIB))
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            manager.start_scope(scope.unit, scope.properties(os.getpid()))
        assert refused.value.name == "org.freedesktop.DBus.Error.ServiceUnknown"
        assert "org.freedesktop.systemd1" in str(refused.value)
    with pytest.raises(Refused, match="not provided by any"):
        manager.knows("x.scope")
    manager.close()


def test_a_manager_that_is_not_there_is_said() -> None:
    with pytest.raises(Refused, match="No such file or directory"):
        Manager((Address("/nowhere/private", is_bus=False),))
