"""Progress: what a person sees while waiting, on a terminal and without one."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable

import pytest

from moltfleet.model.ports import Progress
from moltfleet.progress import (
    ConsoleProgress,
    NullProgress,
    PlainProgress,
    RecordingProgress,
    Task,
    choose_progress,
    duration,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Ticking:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def plain_after(seconds: float) -> str:
    stream, clock = io.StringIO(), Ticking()
    with PlainProgress(stream, clock=clock).step("Starting crab-1", timeout_s=30):
        clock.time += seconds
    return stream.getvalue()


def test_a_short_step_is_one_plain_line() -> None:
    assert plain_after(1.9) == "Starting crab-1 … (at most 30 s)\n"


def test_a_long_step_gets_a_second_line_with_its_duration() -> None:
    assert plain_after(2.5) == "Starting crab-1 … (at most 30 s)\nStarting crab-1: 2.5 s\n"


def test_a_failed_step_says_so_however_short() -> None:
    stream, clock = io.StringIO(), Ticking()
    progress = PlainProgress(stream, clock=clock)
    with pytest.raises(KeyError), progress.step("Starting crab-1"):
        raise KeyError
    assert stream.getvalue() == "Starting crab-1 …\nStarting crab-1: failed after 0.0 s\n"


def test_warnings_and_lines_are_written_at_once() -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream)
    progress.warn("Guest is emulated", hint="Enable virtualization.")
    progress.say("Repaired crab-1.")
    assert stream.getvalue() == "Warning: Guest is emulated\nHint: Enable virtualization.\nRepaired crab-1.\n"


def test_without_a_terminal_no_control_sequence_is_written() -> None:
    assert "\x1b" not in plain_after(5)
    stream = io.StringIO()
    with PlainProgress(stream).step("Wait for \x1b[31mred"):
        pass
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    ("quiet", "verbose", "stream", "expected"),
    [
        (True, False, Terminal(), NullProgress),
        (False, False, Terminal(), ConsoleProgress),
        (False, True, Terminal(), PlainProgress),
        (False, False, io.StringIO(), PlainProgress),
    ],
)
def test_the_form_fits_the_options_and_the_stream(
    quiet: bool, verbose: bool, stream: io.StringIO, expected: type[object]
) -> None:
    assert type(choose_progress(quiet=quiet, verbose=verbose, stream=stream)) is expected


def test_quiet_progress_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    progress = NullProgress()
    with progress.step("x", timeout_s=3) as step:
        step.detail("y")
        step.advance(1, 2)
    progress.warn("x", hint="y")
    progress.say("z")
    assert capfd.readouterr() == ("", "")


def test_times_tell_the_deadline_until_a_fraction_is_known_and_then_the_rest() -> None:
    task = Task("Upload", started_at=100.0, timeout_s=60)
    assert task.times(105.0) == "5.0 s of at most 60 s"
    task.advance(25, 100)
    assert task.times(110.0) == " 25% 10 s, about 30 s left"
    assert Task("Wait", started_at=100.0).times(100.5) == "0.5 s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (119, "119 s"),
        (120, "2 min 00 s"),
        (3725, "62 min 05 s"),
        (9000, "2.5 h"),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def console(monkeypatch: pytest.MonkeyPatch, *, no_color: bool) -> tuple[Terminal, Ticking, ConsoleProgress]:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    else:
        monkeypatch.delenv("NO_COLOR", raising=False)
    stream, clock = Terminal(), Ticking()
    return stream, clock, ConsoleProgress(stream, clock=clock)


def without_styles(text: str) -> str:
    return re.sub(r"\x1b\[\d*m", "", text)


def test_a_terminal_shows_every_running_step_with_its_detail(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clock, progress = console(monkeypatch, no_color=True)
    with progress.step("Starting a", timeout_s=30) as first, progress.step("Starting b"):
        first.detail("SSH banner \x1b[2J")
        clock.time += 3
        with progress.step("Starting d"):
            progress.say("Repaired c.")
    shown = without_styles(stream.getvalue())
    assert "Starting a: SSH banner ?[2J" in shown
    assert "3.0 s of at most 30 s" in shown
    assert "Starting b" in shown
    assert "Repaired c.\n" in shown
    assert shown.rstrip().endswith("Starting a: 3.0 s")


@pytest.mark.parametrize("no_color", [True, False])
def test_colour_is_used_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch, no_color: bool) -> None:
    stream, _, progress = console(monkeypatch, no_color=no_color)
    progress.warn("Guest is emulated")
    assert ("\x1b[33m" in stream.getvalue()) is not no_color


def test_guest_text_is_never_taken_for_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, _, progress = console(monkeypatch, no_color=True)
    progress.say("[bold]x[/bold] [/nonsense]")
    assert "[bold]x[/bold] [/nonsense]" in stream.getvalue()


def test_a_closed_display_gives_the_cursor_back_though_a_step_never_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, _, progress = console(monkeypatch, no_color=True)
    left_behind = progress.step("Starting a")
    left_behind.__enter__()
    assert "\x1b[?25l" in stream.getvalue()
    progress.close()
    assert "\x1b[?25h" in stream.getvalue()
    length = len(stream.getvalue())
    with progress.step("Starting b"):
        left_behind.__exit__(None, None, None)
    assert len(stream.getvalue()) == length


@pytest.mark.parametrize("form", ["plain", "console"])
def test_what_a_guest_said_cannot_drive_the_terminal(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    stream, _, live = console(monkeypatch, no_color=True)
    progress: Progress = PlainProgress(stream) if form == "plain" else live
    progress.warn("cloud-init failed:\n\x1b[2Jlog", hint="\x9b31m")
    assert "cloud-init failed:\n?[2Jlog" in stream.getvalue()
    assert "\x9b" not in stream.getvalue()


def run_in_threads(work: Callable[[int], None], *, count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("form", ["plain", "console", "recording"])
def test_many_threads_may_show_steps_at_once(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    stream, _, live = console(monkeypatch, no_color=True)
    recording = RecordingProgress()
    forms: dict[str, Progress] = {"plain": PlainProgress(stream), "console": live, "recording": recording}
    progress = forms[form]

    def work(number: int) -> None:
        for turn in range(10):
            with progress.step(f"step-{number}-{turn}"):
                progress.say(f"said-{number}-{turn}")

    run_in_threads(work, count=8)
    said = recording.texts("say") if form == "recording" else stream.getvalue()
    assert all(f"said-{number}-{turn}" in said for number in range(8) for turn in range(10))


def test_a_recording_keeps_steps_and_their_outcome() -> None:
    progress = RecordingProgress()
    with progress.step("good") as step:
        step.detail("half")
    with pytest.raises(KeyError), progress.step("bad"):
        raise KeyError
    assert [(event.kind, event.text) for event in progress.events] == [
        ("start", "good"),
        ("detail", "half"),
        ("end", "good"),
        ("start", "bad"),
        ("failed", "bad"),
    ]
