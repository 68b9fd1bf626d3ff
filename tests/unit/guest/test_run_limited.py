"""run-limited: what it understands, what it refuses, and what it would run."""

from __future__ import annotations

from pathlib import Path

import pytest

from moltguest.limits import GIB, derive
from moltguest.scope import main as program
from moltguest.scope.contain import NotContained
from moltguest.scope.supervise import Job
from moltguest.settings import Settings
from moltguest.thisguest import Guest


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Job]:
    """What would have been run in a guest of 8 GiB, where claude and make are programs."""
    done: list[Job] = []

    def run(job: Job) -> tuple[int, int]:
        done.append(job)
        return 7, 0

    for name in ("claude", "make"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    monkeypatch.setattr(program, "run", run)
    monkeypatch.setattr(program, "group_of", lambda pid: "/user.slice/session-3.scope")
    monkeypatch.setattr(program.thisguest, "look", lambda: Guest(derive(8 * GIB), Settings(), ()))
    monkeypatch.setattr(program.Backoff, "wait_s", lambda self, key, now: 0.0)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("NODE_OPTIONS", "MOLTFLEET_TRIED", "MOLTFLEET_HEAP_MIB"):
        monkeypatch.delenv(name, raising=False)
    return done


def test_a_command_gets_the_guests_own_limits_and_its_status_is_ours(jobs: list[Job], tmp_path: Path) -> None:
    assert program.main(["make", "-j", "8"]) == 7
    (job,) = jobs
    assert (job.name, job.argv, job.program) == ("make", ("make", "-j", "8"), str(tmp_path / "bin/make"))
    assert job.levels == derive(8 * GIB).scope
    assert job.environment["NODE_OPTIONS"].startswith("--max-old-space-size=")


def test_a_size_before_the_command_is_its_limit(jobs: list[Job]) -> None:
    program.main(["2G", "make"])
    program.main(["2048", "--", "make", "1G"])
    assert [job.levels.max for job in jobs] == [2 * GIB, 2 * GIB]
    assert jobs[1].argv == ("make", "1G")


def test_more_than_agents_may_have_is_cut_down_and_said(jobs: list[Job], capsys: pytest.CaptureFixture[str]) -> None:
    program.main(["100G", "make"])
    ceiling = derive(8 * GIB).ceiling
    assert jobs[0].levels.max == ceiling
    said = f"102400 MiB are more than agents may have in this guest: it gets {ceiling >> 20} MiB\n"
    assert capsys.readouterr().err == f"run-limited: {said}"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 125, "there is no command"),
        (["8G"], 125, "there is no command"),
        (["--fast", "make"], 125, "'--fast' is not an option"),
        (["10M", "make"], 125, "a limit of less than 64 MiB holds no program"),
        (["nothing-of-that-name"], 127, "there is no program 'nothing-of-that-name'"),
        (["/bin"], 127, "there is no program '/bin'"),
    ],
)
def test_bad_input_is_one_line_and_runs_nothing(
    jobs: list[Job], arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(arguments) == status
    assert capsys.readouterr().err.splitlines()[0] == f"run-limited: {said}"
    assert jobs == []


def test_the_agent_is_found_by_its_name_and_its_arguments_are_its_own(jobs: list[Job], tmp_path: Path) -> None:
    program.main_of_agent("claude", ["8G", "--help"])
    program.main_of_agent("claude", ["3G", "--help"], sized=True)
    program.main_of_agent("claude", ["--help"], sized=True)
    real = str(tmp_path / "bin/claude")
    assert [job.argv for job in jobs] == [(real, "8G", "--help"), (real, "--help"), (real, "--help")]
    assert [job.levels.max for job in jobs] == [derive(8 * GIB).scope.max, 3 * GIB, derive(8 * GIB).scope.max]


def test_an_agent_that_is_not_installed_is_said(jobs: list[Job], capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main_of_agent("gemini", []) == 127
    assert capsys.readouterr().err == "run-limited: there is no program 'gemini'\n"


def test_an_agent_inside_an_agents_scope_stays_in_it(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[Job] = []
    monkeypatch.setattr(program, "group_of", lambda pid: "/agents.slice/claude-1.scope")
    monkeypatch.setattr(program, "_become", lambda job: became.append(job) or 0)

    assert program.main_of_agent("claude", ["-p", "x"]) == 0
    assert len(became) == 1 and jobs == []
    # Who names a size wants a scope of that size.
    program.main(["1G", "claude"])
    assert jobs[0].levels.max == GIB


def test_an_agent_that_was_ended_waits_or_is_refused(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(program.time, "sleep", slept.append)
    monkeypatch.setattr(program.Backoff, "wait_s", lambda self, key, now: 4.6)
    assert program.main_of_agent("claude", []) == 7
    assert slept == [4.6]
    assert capsys.readouterr().err == "run-limited: claude was ended for its memory, and starts in 5 s\n"

    monkeypatch.setattr(program.Backoff, "wait_s", lambda self, key, now: None)
    assert program.main(["claude"]) == 125
    assert "sudo moltfleet-watchdog --reset claude --owner" in capsys.readouterr().err
    # Other programs are nobody's agents.
    assert program.main(["make"]) == 7
    assert len(jobs) == 2


def test_nothing_runs_without_its_limits_unsaid(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(job: Job) -> tuple[int, int]:
        raise NotContained("this user's manager: there is none")

    monkeypatch.setattr(program, "run", refuse)
    monkeypatch.setattr(program.os, "getuid", lambda: 4711)
    assert program.main(["make"]) == 125
    first, second = capsys.readouterr().err.splitlines()
    assert first == "run-limited: make was not run, as it could not be contained: this user's manager: there is none"
    assert "loginctl enable-linger" in second


def test_a_guest_that_is_too_small_runs_it_and_says_so(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    became: list[Job] = []
    monkeypatch.setattr(program.thisguest, "look", lambda: Guest(derive(GIB), Settings(), ()))
    monkeypatch.setattr(program, "_become", lambda job: became.append(job) or 0)
    monkeypatch.setattr(program, "raise_score", lambda: None)
    program.main_of_agent("claude", [])

    assert len(became) == 1 and jobs == []
    assert capsys.readouterr().err == "run-limited: no limits in a guest of 1024 MiB: claude is only watched\n"


def test_machine_code_is_told_to_take_no_notice_of_node_options(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bin/claude").write_bytes(b"\x7fELF")
    program.main_of_agent("claude", [])
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("NODE_OPTIONS", "--max-old-space-size=512")
    program.main_of_agent("claude", [])
    assert "claude is machine code: the heap size in NODE_OPTIONS is for Node.js" in capsys.readouterr().err
    assert jobs[1].environment["NODE_OPTIONS"] == "--max-old-space-size=512"


def test_what_would_be_run_can_be_seen(jobs: list[Job], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert program.main(["--dry-run", "2G", "make", "a b"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"runs         {tmp_path}/bin/make\nas           make 'a b'\nby           ")
    assert "slow, most   1945 MiB, 2048 MiB, no swap\nwatchdog     warns at 1205 MiB, ends at 1789 MiB\n" in shown
    assert "NODE_OPTIONS --max-old-space-size=1458\nMOLTFLEET_WORKERS " in shown
    assert jobs == []


def test_help_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: run-limited")
