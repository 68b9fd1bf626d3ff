"""moltguest.sessions: what agent-session understands, starts, shows and refuses; tmux only notes its words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moltguest import sessions
from moltguest.scope.contain import NotContained, Scope


class FakeChild:
    """A tmux that starts at once."""

    made: list[FakeChild]

    def __init__(self, argv: tuple[str, ...], program: str, environment: dict[str, str], *, expendable: bool) -> None:
        self.argv, self.environment, self.expendable = argv, environment, expendable
        self.pid, self.code, self.let_go_at = 4711, 0, 0
        FakeChild.made.append(self)

    def let_go(self) -> None:
        self.let_go_at += 1

    def wait(self) -> None:
        assert self.let_go_at == 1


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """What tmux answers to which words; nothing else runs."""
    answers: dict[str, str] = {}
    FakeChild.made = []
    monkeypatch.setattr(sessions, "_run", lambda argv: answers.get(" ".join(argv)))
    monkeypatch.setattr(sessions, "Child", FakeChild)
    monkeypatch.setattr(sessions, "which", lambda name, environment: "/usr/bin/tmux")
    monkeypatch.setattr(sessions, "_stay_after_logout", lambda: None)
    monkeypatch.setattr(sessions, "contain", lambda pid, scope: "this user's manager")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMUX_TMPDIR", str(tmp_path))
    return answers


def test_a_session_starts_in_work_with_a_server_of_its_own(
    asked: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scopes: list[tuple[int, Scope]] = []
    monkeypatch.setattr(sessions, "contain", lambda pid, scope: scopes.append((pid, scope)))
    monkeypatch.setenv("SSH_CONNECTION", "1 2 3 4")
    assert sessions.main([]) == 0

    (child,) = FakeChild.made
    assert child.argv[:3] == ("tmux", "-L", "agent")
    assert child.argv[-6:] == ("new-session", "-d", "-s", "agent", "-c", str(tmp_path / "work"))
    assert child.environment["AGENT_SESSION"] == "agent"
    assert "SSH_CONNECTION" not in child.environment
    # A session is no agent, and not what the kernel should end first.
    assert not child.expendable
    assert scopes[0][0] == child.pid and scopes[0][1].levels is None
    assert (tmp_path / "work").is_dir()
    assert capsys.readouterr().out == "Session agent runs; from a terminal: agent-session agent\n"


def test_a_session_that_runs_is_gone_back_to(asked: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    asked["tmux -L web has-session -t =web"] = ""
    assert sessions.main(["--detached", "web"]) == 0
    assert FakeChild.made == []
    assert capsys.readouterr().out == "Session web runs\n"


def test_a_session_without_a_scope_says_what_that_means(
    asked: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(pid: int, scope: Scope) -> None:
        raise NotContained("no manager")

    monkeypatch.setattr(sessions, "contain", refuse)
    assert sessions.main(["--detached"]) == 0
    assert "agent has no scope of its own, and may end with your login: no manager" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--fly"], 2, "'--fly' is not an option"),
        (["a", "b", "c"], 2, "too many words"),
        (["--end"], 2, "which session is to end?"),
        (["a/b"], 2, "'a/b' is no name of a session"),
        (["default"], 2, "'default' is no name of a session"),
        (["a\n"], 2, "'a\\\\n' is no name of a session"),
        (["work", "/no/such"], 3, "there is no directory '/no/such'"),
        (["--end", "work"], 3, "there is no session work"),
    ],
)
def test_bad_input_is_one_line(
    asked: dict[str, str], arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sessions.main(arguments) == status
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith(f"agent-session: {said}")
    assert FakeChild.made == []


def test_a_guest_without_tmux_is_told(
    asked: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sessions, "which", lambda name, environment: None)
    assert sessions.main(["--detached"]) == 127
    assert capsys.readouterr().err == "agent-session: there is no tmux: sudo apt-get install tmux\n"


def test_sessions_are_listed_without_plain_tmux_and_without_escapes(
    asked: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / f"tmux-{os.getuid()}"
    folder.mkdir()
    for name in ("default", "agent", "web", "stale"):
        (folder / name).touch()
    form = "-F #{session_attached} #{pane_current_command}\t#{pane_current_path}"
    asked[f"tmux -L agent list-panes -t =agent: {form}"] = "1 claude\t/home/agent/work\n"
    asked[f"tmux -L web list-panes -t =web: {form}"] = "0 bash\t/tmp/\x1b[2Jx\n"
    assert sessions.main(["--list"]) == 0
    assert capsys.readouterr().out == (
        "agent  attached  claude       /home/agent/work\nweb    detached  bash         /tmp/\\x1b[2Jx\n"
    )


def test_no_session_and_no_crash_are_said(asked: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert sessions.main(["--list"]) == 0
    assert sessions.main(["--crashes"]) == 0
    assert capsys.readouterr().out == "No session runs; start one: agent-session\nNo agent has crashed\n"


def test_crashes_are_shown_by_session(
    asked: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / ".agent-session/crashes.log"
    log.parent.mkdir()
    log.write_text("t session=a program=claude\nt session=ab program=codex\n")
    sessions.main(["--crashes", "a"])
    assert capsys.readouterr().out == "t session=a program=claude\n"
    sessions.main(["--crashes"])
    assert capsys.readouterr().out.count("\n") == 2


def test_help_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert sessions.main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: agent-session")
