"""The health check's sessions: whose tmux servers are asked, as whom, and which sessions nobody would miss."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fakes.guesthealth import Answers
from moltguest.health.programs import NoPrograms, RealPrograms
from moltguest.health.sessions import Sessions, read_sessions, terminal_number

NOW = 1_000_000.0


def server(root: Path, owner: int = 0, name: str = "default") -> None:
    directory = root / f"tmp/tmux-{owner}"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).touch()


def look(root: Path, text: str, *, me: int = 0, agents: dict[int, str] | None = None) -> tuple[Sessions, Answers]:
    programs = Answers({"list-sessions": text})
    return read_sessions(programs, NOW, agents or {}, root=str(root), me=me), programs


def line(
    name: str, *, attached: int = 0, idle_s: int = 10, program: str = "bash", directory: str = "/home", pts: int = 7
) -> str:
    return f"{attached} {int(NOW) - idle_s} %1 /dev/pts/{pts} ={program} {name} ={directory}\n"


def notes(found: Sessions) -> dict[str, str]:
    return {session.name: session.note for session in found.found}


def test_a_session_is_shown_with_what_it_does(tmp_path: Path) -> None:
    server(tmp_path)
    found, programs = look(tmp_path, line("main\\ one", attached=1, idle_s=90, program="claude", directory="/a\\ b"))
    (session,) = found.found
    assert (session.name, session.program, session.directory) == ("main one", "claude", "/a b")
    assert (session.attached, session.idle_s, session.user, session.note) == (True, 90.0, "root", "")
    argv, user = programs.asked[0]
    assert argv[:4] == ["tmux", "-S", str(tmp_path / "tmp/tmux-0/default"), "list-sessions"]
    assert user == 0


def test_an_hour_without_anybody_is_idle(tmp_path: Path) -> None:
    server(tmp_path)
    text = line("a", idle_s=3599) + line("b", idle_s=3600) + line("c", idle_s=9999, attached=1)
    assert notes(look(tmp_path, text)[0]) == {"a": "", "b": "idle", "c": ""}


def test_the_same_agent_in_the_same_directory_is_redundant_but_for_the_liveliest(tmp_path: Path) -> None:
    server(tmp_path)
    text = (
        line("old", idle_s=500, program="claude")
        + line("new", idle_s=20, program="claude")
        + line("elsewhere", idle_s=700, program="claude", directory="/tmp")
        + line("other", idle_s=700, program="codex")
        + line("shell", idle_s=30)
        + line("shell-2", idle_s=60)
    )
    found, _ = look(tmp_path, text)
    assert notes(found) == {"old": "redundant", "new": "", "elsewhere": "", "other": "", "shell": "", "shell-2": ""}
    assert found.found[0].why == "new runs claude in the same directory"


def test_a_session_is_told_by_the_agent_at_its_terminal_not_by_what_started_it(tmp_path: Path) -> None:
    server(tmp_path)
    text = line("a", program="python3", pts=1) + line("b", program="python3", pts=259) + line("c", program="vim", pts=2)
    found, _ = look(tmp_path, text, agents={34817: "claude", 35075: "codex", 0: "nobody"})
    assert [session.program for session in found.found] == ["claude", "codex", "vim"]
    assert set(notes(found).values()) == {""}


@pytest.mark.parametrize(
    ("path", "number"),
    [("/dev/pts/0", 34816), ("/dev/pts/300", (137 << 8) + 44), ("/dev/tty1", 0), ("/dev/pts/x", 0), ("", 0),
     ("/dev/pts/999999", 0)],
)  # fmt: skip
def test_terminals_are_known_by_the_numbers_that_the_kernel_gives_them(path: str, number: int) -> None:
    assert terminal_number(path) == number


def test_the_number_is_the_kernels_own() -> None:
    ours, theirs = os.openpty()
    try:
        name = os.ttyname(theirs)
        assert Path(name).stat().st_rdev == terminal_number(name)
    finally:
        os.close(ours)
        os.close(theirs)


def test_the_server_of_a_session_is_told(tmp_path: Path) -> None:
    server(tmp_path, name="crab")
    (session,) = look(tmp_path, line("crab", idle_s=9999))[0].found
    assert (session.server, session.note) == ("crab", "idle")


def test_an_attached_session_is_never_the_redundant_one(tmp_path: Path) -> None:
    server(tmp_path)
    text = line("quiet", idle_s=500, attached=1, program="claude") + line("busy", idle_s=1, program="claude")
    assert notes(look(tmp_path, text)[0]) == {"quiet": "", "busy": "redundant"}


def test_a_clock_that_was_set_back_makes_nobody_wait_less_than_nothing(tmp_path: Path) -> None:
    server(tmp_path)
    (session,) = look(tmp_path, line("a", idle_s=-500))[0].found
    assert session.idle_s == 0.0


@pytest.mark.parametrize(
    "text",
    ["", "nonsense\n", "0 1 %1 =a b\n", "x 1 %1 / =a b =c\n", "0 x %1 / =a b =c\n", "0 1 %x / =a b =c\n", "0 1 '\n",
     "0 1 %1 / =a b =c d\n"],
)  # fmt: skip
def test_lines_that_are_no_session_are_passed_over(tmp_path: Path, text: str) -> None:
    server(tmp_path)
    assert look(tmp_path, text)[0] == Sessions((), ())


def test_only_servers_of_the_user_are_asked_and_by_root_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner in (0, 1000):
        server(tmp_path, owner)
    real = os.lstat

    def owned(path: str) -> os.stat_result:
        values = list(real(path))
        values[4] = int(str(path).rpartition("-")[2])
        return os.stat_result(values)

    monkeypatch.setattr(os, "lstat", owned)
    assert [user for _, user in look(tmp_path, "", me=1000)[1].asked] == [1000]
    assert [user for _, user in look(tmp_path, "", me=0)[1].asked] == [0, 1000]


def test_a_directory_that_is_not_its_users_is_left_alone(tmp_path: Path) -> None:
    server(tmp_path, 4242)
    assert look(tmp_path, line("a"))[1].asked == []


def test_a_link_in_a_directorys_place_is_left_alone(tmp_path: Path) -> None:
    server(tmp_path / "elsewhere")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp/tmux-0").symlink_to(tmp_path / "elsewhere/tmp/tmux-0")
    assert look(tmp_path, line("a"))[1].asked == []


def test_no_server_is_no_session(tmp_path: Path) -> None:
    assert look(tmp_path, line("a"))[0] == Sessions((), ())


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


@pytest.mark.allow("subprocess")
def test_a_program_is_asked_without_this_environment() -> None:
    said = RealPrograms().ask(python("import os; print(sorted(os.environ))"))
    assert said == "['LC_ALL', 'PATH']\n"


@pytest.mark.allow("subprocess")
def test_a_program_that_fails_or_is_not_there_says_nothing() -> None:
    assert RealPrograms().ask(python("print(1); raise SystemExit(3)")) is None
    assert RealPrograms().ask(["/no/such/program"]) is None


@pytest.mark.allow("subprocess")
def test_a_program_that_talks_without_end_is_cut_off() -> None:
    text = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    assert RealPrograms().ask(python(text)) is None


@pytest.mark.allow("subprocess")
def test_a_program_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moltguest.health.programs._LONGEST_S", 0.3)
    assert RealPrograms().ask(python("import time; time.sleep(60)")) is None


@pytest.mark.allow("subprocess")
def test_root_asks_another_users_program_as_that_user() -> None:
    said = RealPrograms().ask(["/usr/bin/python3", "-c", "import os; print(os.getuid(), os.getgroups())"], user=65534)
    # Nobody else can become that user, and then nothing is asked.
    assert said == ("65534 []\n" if os.geteuid() == 0 else None)


def test_below_another_root_nobody_is_asked() -> None:
    assert NoPrograms().ask(["true"]) is None
