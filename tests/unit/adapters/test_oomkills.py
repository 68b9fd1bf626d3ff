"""OOM kills of the last ten minutes: what the counter and what was remembered of it can tell, and what they cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.adapters.oomkills import OomHistory, Sample, judge


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    directory = tmp_path / "proc"
    (directory / "sys/kernel/random").mkdir(parents=True)
    (directory / "sys/kernel/random/boot_id").write_text("boot-1\n")
    show(directory, uptime=100_000, kills=0)
    return directory


def show(proc: Path, *, uptime: float, kills: int | None) -> None:
    (proc / "uptime").write_text(f"{uptime} 1.0\n")
    (proc / "vmstat").write_text("nr_free_pages 1\n" + ("" if kills is None else f"oom_kill {kills}\n"))


def a_history(proc: Path) -> OomHistory:
    return OomHistory(proc.parent / "state/oom-kills.json", proc)


def test_a_kernel_that_never_killed_needs_no_memory(proc: Path) -> None:
    assert a_history(proc).recent() == (0, "none since the boot, /proc/vmstat")


def test_right_after_a_boot_every_kill_is_recent(proc: Path) -> None:
    show(proc, uptime=300, kills=2)
    assert a_history(proc).recent() == (2, "since the boot, /proc/vmstat")


def test_kills_of_an_unknown_time_are_not_claimed(proc: Path) -> None:
    show(proc, uptime=100_000, kills=3)
    assert a_history(proc).recent() == (None, "3 since the boot, but nothing was remembered to tell when")


def test_a_kill_after_something_was_remembered_is_recent_for_ten_minutes(proc: Path) -> None:
    history = a_history(proc)
    show(proc, uptime=100_000, kills=3)
    history.remember()
    show(proc, uptime=100_100, kills=4)
    assert history.recent() == (1, "last 10 minutes, /proc/vmstat")
    history.remember()
    show(proc, uptime=100_650, kills=4)
    # The one before it has left the window; nothing tells when between the two it was.
    assert history.recent() == (None, "1 more than 11 minutes ago, but nothing was remembered since to tell when")
    show(proc, uptime=100_701, kills=4)
    assert history.recent() == (0, "last 10 minutes, /proc/vmstat")


def test_an_old_kill_that_was_first_seen_now_is_not_called_recent(proc: Path) -> None:
    history = a_history(proc)
    show(proc, uptime=100_000, kills=3)
    history.remember()
    show(proc, uptime=500_000, kills=4)
    count, reason = history.recent()
    assert count is None and "1 more than 6667 minutes ago" in reason


def test_another_boot_begins_anew(proc: Path) -> None:
    history = a_history(proc)
    show(proc, uptime=100_000, kills=3)
    history.remember()
    (proc / "sys/kernel/random/boot_id").write_text("boot-2\n")
    show(proc, uptime=100_001, kills=5)
    assert history.recent()[0] is None


def test_looking_writes_nothing(proc: Path) -> None:
    a_history(proc).recent()
    assert not (proc.parent / "state").exists()


def test_what_is_remembered_does_not_grow(proc: Path) -> None:
    history = a_history(proc)
    for minute in range(500):
        show(proc, uptime=100_000 + 30 * minute, kills=minute // 100)
        history.remember()
    assert len((proc.parent / "state/oom-kills.json").read_bytes()) < 1000


@pytest.mark.parametrize("content", ["", "{", "[]", '{"boot_id": "boot-1"}', '{"boot_id": "boot-1", "samples": [1]}'])
def test_a_broken_file_is_as_none(proc: Path, content: str) -> None:
    show(proc, uptime=100_000, kills=3)
    (proc.parent / "state").mkdir()
    (proc.parent / "state/oom-kills.json").write_text(content)
    assert a_history(proc).recent()[0] is None
    a_history(proc).remember()
    show(proc, uptime=100_601, kills=3)
    assert a_history(proc).recent()[0] == 0


def test_a_kernel_without_the_counter_tells_nothing(proc: Path) -> None:
    show(proc, uptime=100_000, kills=None)
    assert a_history(proc).recent() == (None, "the kernel does not count them in /proc/vmstat")
    a_history(proc).remember()
    assert not (proc.parent / "state").exists()


@given(st.lists(st.floats(0, 5000), max_size=6), st.lists(st.floats(0, 5000), max_size=6))
def test_what_is_claimed_is_true(kills: list[float], reads: list[float]) -> None:
    """Against kills at known times, read whenever: a number is never too high, and zero is really none."""
    now = 5000.0
    samples = tuple(Sample(at, sum(kill <= at for kill in kills)) for at in sorted(reads))
    claimed, _ = judge(Sample(now, len(kills)), samples)
    recent = sum(kill > now - 600 for kill in kills)
    if claimed is not None:
        assert claimed <= recent
        assert claimed > 0 or recent == 0
