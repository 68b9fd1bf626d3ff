"""Small parts of the watchdog: pace, growth, recording, terminal, command line, state."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.guesttree import GuestTree, Scene
from moltguest.limits import MIB, Levels
from moltguest.watchdog import recorder, statefile, terminal
from moltguest.watchdog.groups import Group, Growth
from moltguest.watchdog.memory import Memory
from moltguest.watchdog.options import Options, parse
from moltguest.watchdog.pace import pause
from moltguest.watchdog.recorder import Recorder

LEVELS = Levels(600 * MIB, 1000 * MIB, 1100 * MIB, 1200 * MIB)


@pytest.mark.parametrize(
    ("left_mib", "rate_mib", "cost_s", "seconds"),
    [
        (100_000, 0, 0.001, 5.0),
        (1024, 0, 0.001, 0.512),
        (1024, 1000, 0.001, 0.128),
        (10, 0, 0.001, 0.1),
        (-500, 9000, 0.001, 0.1),
        (10, 0, 0.05, 0.45),
        (10, 0, 9.0, 5.0),
    ],
)
def test_a_pause_is_as_long_as_memory_surely_lasts(left_mib: int, rate_mib: int, cost_s: float, seconds: float) -> None:
    assert pause([(left_mib * MIB, rate_mib * MIB), (100_000 * MIB, 0)], cost_s) == pytest.approx(seconds)


def test_with_nothing_to_watch_the_pause_is_the_longest() -> None:
    assert pause([], 0.001) == 5.0


@settings(deadline=None)
@given(st.integers(-(1 << 50), 1 << 50), st.floats(0, 1e15), st.floats(0, 1e6))
def test_a_pause_has_bounds(left: int, rate: float, cost_s: float) -> None:
    assert 0.1 <= pause([(left, rate)], cost_s) <= 5.0


def test_growth_is_seen_at_once_and_forgotten_slowly() -> None:
    growth = Growth()
    for now, used in ((0.0, 100), (1.0, 300), (2.0, 300), (3.0, 100)):
        growth.add(now, used)
    assert growth.rate == pytest.approx(98)
    assert growth.grown() == 0

    growth.add(4.0, 900)
    assert (growth.rate, growth.grown()) == (800, 800)
    growth.add(60.0, 900)
    assert growth.grown() == 0, "half a minute is what counts"


def test_samples_at_the_same_moment_make_no_rate() -> None:
    growth = Growth()
    growth.add(1.0, 0)
    growth.add(1.0, 1 << 40)
    growth.add(0.5, 1 << 40)
    assert growth.rate == 0


def recording(seconds: int, step: float = 1.0, groups: int = 1) -> tuple[Recorder, list[dict[str, object]]]:
    made, kept = [Group(f"/agents.slice/run-{n}.scope", "x", LEVELS) for n in range(groups)], Recorder()
    for tick in range(int(seconds / step)):
        kept.add(tick * step, Memory(1, tick, 0), made)
    text = kept.text({"agent": "claude"})
    assert len(text) <= recorder.LARGEST
    return kept, [json.loads(line) for line in text.splitlines()]


def test_a_recording_holds_a_sample_a_second_and_the_end_in_full() -> None:
    _, lines = recording(60, 0.1)

    assert lines[0] == {"schema": "moltfleet.recording/1", "agent": "claude"}
    times = [float(str(line["t"])) for line in lines[1:]]
    assert times == sorted(set(times))
    assert len(times) == 105 and times[-1] == 59.9 and times[-2] == 59.8


def test_a_recording_goes_back_a_quarter_of_an_hour_and_no_further() -> None:
    _, lines = recording(3000, 5.0)
    assert float(str(lines[1]["t"])) == 3000 - 5 - 900


def test_a_recording_of_many_agents_gives_up_its_oldest_part() -> None:
    _, lines = recording(900, 1.0, groups=40)
    assert float(str(lines[-1]["t"])) == 899.0
    assert len(lines[-1]["groups"]) == 12  # type: ignore[arg-type]
    assert float(str(lines[1]["t"])) > 500


def test_the_newest_recordings_are_kept(tmp_path: Path) -> None:
    for number in range(12):
        assert recorder.save(str(tmp_path), f"2026{number:02}", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"kill-2026{n:02}.jsonl" for n in range(4, 12)]


def test_a_recording_without_room_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", refuse)
    assert recorder.save(str(tmp_path), "x", b"x") is None
    assert list(tmp_path.iterdir()) == []
    assert recorder.save(str(tmp_path / "none"), "x", b"x") is None


@pytest.mark.parametrize(
    ("number", "path"),
    [(0x8800, "/dev/pts/0"), (0x8807, "/dev/pts/7"), (0x108822, "/dev/pts/290"), (0x8901, "/dev/pts/257")],
)
def test_a_pseudo_terminal_is_found_by_its_number(number: int, path: str) -> None:
    assert terminal.path_of(number) == path


@pytest.mark.parametrize("number", [0, 0x0401, 0x0501, 0x0440])
def test_another_terminal_is_left_alone(number: int) -> None:
    assert terminal.path_of(number) is None
    assert not terminal.tell(number, "x")


def test_a_line_reaches_a_terminal() -> None:
    import os
    import pty

    ours, theirs = pty.openpty()
    try:
        assert terminal.tell(os.fstat(theirs).st_rdev, "claude was ended\x1b")
        said = os.read(ours, 1024)
    finally:
        os.close(ours)
        os.close(theirs)
    # This terminal is not raw: it adds its own carriage returns.
    assert said.replace(b"\r\r", b"\r").endswith(b"\r\nmoltfleet: claude was ended\x1b\r\n")
    assert said.startswith(b"\x1b[?1049l"), "whatever screen the agent had left behind"


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], Options()),
        (["--dry-run", "--once"], Options(dry_run=True, once=True)),
        (["--root", "/x"], Options(root="/x", dry_run=True)),
        (["--root=/x", "--config=/y"], Options(root="/x", config="/y", dry_run=True)),
        (["--state", "/x"], Options(state="/x")),
        (["--may-start", "claude", "--owner", "7"], Options(may_start="claude", owner=7)),
        (["--reset"], Options(reset="")),
        (["--reset", "claude"], Options(reset="claude")),
        (["--reset", "--owner", "7"], Options(reset="", owner=7)),
    ],
)
def test_the_command_line(arguments: list[str], options: Options) -> None:
    assert parse(arguments) == replace(options, state=options.state or options.root)


@pytest.mark.parametrize("arguments", [["-x"], ["x"], ["--root"], ["--owner", "me"], ["--once=1"]])
def test_a_bad_command_line_is_refused(arguments: list[str]) -> None:
    with pytest.raises(ValueError, match=r"is not|has no value"):
        parse(arguments)


def test_a_state_that_cannot_be_written_is_said(tree: GuestTree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.write("run/moltfleet", "a file where a directory should be")
    scene = Scene(tree)

    wrong = statefile.store(str(tree.root), scene.guard.state())

    assert wrong.endswith("state.json: File exists") or wrong.endswith("state.json: Not a directory")
