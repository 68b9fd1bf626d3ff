"""Other programs: found, bounded in time, heard when they fail, and never given a shell."""

from __future__ import annotations

import logging
import os
import pty
import signal
import sys
import time
from pathlib import Path

import pytest

from moltfleet.adapters.run import hand_over, run
from moltfleet.model.errors import DeadlinePassed, ToolFailed


def test_output_and_status_come_back() -> None:
    result = run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout_s=10, check=False)
    assert (result.exit_code, result.text, result.stderr) == (3, "out\n", b"err\n")


def test_arguments_are_not_for_a_shell() -> None:
    assert run(["echo", "$HOME; exit 1", "*"], timeout_s=10).text == "$HOME; exit 1 *\n"


def test_standard_input_is_empty_unless_given() -> None:
    assert run(["cat"], timeout_s=10).stdout == b""
    assert run(["cat"], timeout_s=10, input=b"hello").stdout == b"hello"


def test_the_environment_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    lines = run([sys.executable, "-c", "import os; print(*sorted(os.environ))"], timeout_s=10, env={"EXTRA": "1"}).text
    assert set(lines.split()) - {"LC_CTYPE"} == {"EXTRA", "HOME", "LC_ALL", "PATH"}


def test_a_failure_says_the_last_line_and_keeps_the_rest() -> None:
    with pytest.raises(ToolFailed) as caught:
        run(["sh", "-c", "echo one >&2; echo two >&2; exit 4"], timeout_s=10)
    assert caught.value.brief == "Program 'sh' failed (exit status 4): two"
    assert (caught.value.details or "").endswith("one\ntwo")


def test_a_death_by_signal_is_named() -> None:
    with pytest.raises(ToolFailed, match=r"Program 'sh' failed \(killed by SIGKILL\)"):
        run(["sh", "-c", "kill -9 $$"], timeout_s=10)


def test_terminal_controls_do_not_come_through() -> None:
    with pytest.raises(ToolFailed) as caught:
        run(["sh", "-c", r"printf '\033[31mred\n' >&2; exit 1"], timeout_s=10)
    assert "\x1b" not in caught.value.brief + (caught.value.details or "")


def test_a_missing_program_is_named() -> None:
    with pytest.raises(ToolFailed) as caught:
        run(["no-such-program-here"], timeout_s=10)
    assert caught.value.brief == "Program 'no-such-program-here' is not installed"
    assert caught.value.hint


def test_a_program_that_may_not_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(ToolFailed, match="cannot be started: Permission denied"):
        run([str(tmp_path / "x")], timeout_s=10)


def test_the_deadline_holds() -> None:
    started = time.monotonic()
    with pytest.raises(DeadlinePassed, match=r"Program 'sleep' did not end within 0\.2 s"):
        run(["sleep", "30"], timeout_s=0.2)
    assert time.monotonic() - started < 5


def test_each_call_is_logged_as_a_person_would_type_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="moltfleet.adapters.run"):
        run(["echo", "two words"], timeout_s=10)
    assert caplog.messages == ["running echo 'two words'"]


def test_handing_over_returns_the_status() -> None:
    assert hand_over(["sh", "-c", "exit 7"]) == 7
    assert hand_over(["sh", "-c", "kill -TERM $$"]) == 128 + signal.SIGTERM


def test_handing_over_to_a_missing_program_is_an_error_and_restores_the_keyboard() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ToolFailed, match="is not installed"):
        hand_over(["no-such-program-here"])
    assert signal.getsignal(signal.SIGINT) is before


def test_handing_over_gives_the_terminal_and_ctrl_c_is_the_childs() -> None:
    script = (
        "from moltfleet.adapters.run import hand_over\n"
        "print('status', hand_over(['sh', '-c', 'trap \"exit 9\" INT; test -t 0 && echo tty; sleep 20 & wait']))\n"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", script])
    shown = b""
    while b"tty" not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, b"\x03")
    while b"status 9" not in shown and b"status 130" not in shown:
        shown += os.read(terminal, 1024)
    os.waitpid(pid, 0)
    os.close(terminal)
    assert b"status 9" in shown
