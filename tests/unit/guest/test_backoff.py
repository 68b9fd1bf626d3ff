"""moltguest.backoff: 3, 5 and 10 seconds, then no more; kept across restarts, and never an obstacle."""

from __future__ import annotations

from pathlib import Path

import pytest

from moltguest.backoff import PATH, Backoff, boot_id, key_of
from moltguest.watchdog.main import main

KEY = key_of("claude", 1000)


def ended(backoff: Backoff, times: int, *, apart: float = 60) -> float:
    now = 1000.0
    for _ in range(times):
        now += apart
        backoff.add(KEY, now)
    return now


@pytest.mark.parametrize(("times", "wait_s"), [(0, 0.0), (1, 3.0), (2, 5.0), (3, 10.0), (4, None), (9, None)])
def test_the_wait_grows_until_there_is_none(tmp_path: Path, times: int, wait_s: float | None) -> None:
    backoff = Backoff(str(tmp_path), "b")
    now = ended(backoff, times)

    assert backoff.wait_s(KEY, now) == wait_s
    assert Backoff(str(tmp_path), "b").wait_s(KEY, now) == wait_s, "kept across a restart"
    assert backoff.disabled(now) == ([KEY] if wait_s is None else [])


def test_the_wait_passes(tmp_path: Path) -> None:
    backoff = Backoff(str(tmp_path), "b")
    now = ended(backoff, 3)
    assert [backoff.wait_s(KEY, now + passed) for passed in (4, 10, 100)] == [6.0, 0.0, 0.0]


def test_ten_healthy_minutes_begin_anew_but_do_not_enable_again(tmp_path: Path) -> None:
    backoff = Backoff(str(tmp_path), "b")
    now = ended(backoff, 3, apart=599)
    assert backoff.add(KEY, now + 600) == 3.0

    backoff.reset()
    now = ended(backoff, 4)
    assert backoff.wait_s(KEY, now + 9999) is None


def test_agents_and_users_are_counted_apart(tmp_path: Path) -> None:
    backoff = Backoff(str(tmp_path), "b")
    now = ended(backoff, 4)
    assert backoff.wait_s(key_of("codex", 1000), now) == 0.0
    assert backoff.wait_s(key_of("claude", 1001), now) == 0.0


def test_a_reset_and_a_boot_allow_it_again(tmp_path: Path) -> None:
    backoff = Backoff(str(tmp_path), "b")
    now = ended(backoff, 4)
    assert Backoff(str(tmp_path), "another boot").wait_s(KEY, 5.0) == 0.0

    backoff.reset("codex@1000")
    assert backoff.wait_s(KEY, now) is None
    backoff.reset(KEY)
    assert backoff.wait_s(KEY, now) == 0.0


def test_a_reset_counts_for_the_watchdog_that_runs(tmp_path: Path) -> None:
    watchdog = Backoff(str(tmp_path), boot_id(str(tmp_path)))
    now = ended(watchdog, 4)

    assert main(["--reset", "--root", str(tmp_path)]) == 0

    assert watchdog.disabled(now) == []
    assert watchdog.add(KEY, now + 1) == 3.0


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"counts": {"a": 1}}', '{"counts": {"a": {"kills": "x"}}}', "\xff"]
)
def test_a_broken_file_begins_anew_and_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / PATH
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="latin-1")

    backoff = Backoff(str(tmp_path), "b")

    assert backoff.wait_s(KEY, 1.0) == 0.0
    assert str(path) in backoff.problem


def test_counting_goes_on_without_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    backoff = Backoff(str(tmp_path), "b")
    monkeypatch.setattr("os.replace", refuse)

    assert ended(backoff, 4) and backoff.disabled(1240.0) == [KEY]
    assert backoff.problem.endswith("No space left on device; the count is not kept")


def test_whoever_starts_agents_can_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", str(tmp_path), "--owner", "1000"]
    assert main(["--may-start", "claude", *root]) == 0
    assert capsys.readouterr().out == "0.0\n"

    ended(Backoff(str(tmp_path), boot_id(str(tmp_path))), 4)
    assert main(["--may-start", "claude", *root]) == 4
    assert capsys.readouterr().out == "disabled\n"
    assert main(["--reset", "claude", *root]) == 0
    assert main(["--may-start", "claude", *root]) == 0
