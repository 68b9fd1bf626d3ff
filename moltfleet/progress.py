"""What a person sees while waiting, on standard error: live bars, plain lines, nothing, or a record for tests.

All forms may be used from several threads at once. Refuses to write results.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from moltfleet.model.names import printable, printable_lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from moltfleet.model.ports import Progress, Step

# Shorter steps are over before a person has read their end.
WORTH_TELLING_S = 2.0


def choose_progress(*, quiet: bool, verbose: bool, stream: TextIO) -> Progress:
    """Return the form that fits; log lines (``verbose``) and a live display would overwrite each other."""
    if quiet:
        return NullProgress()
    if stream.isatty() and not verbose:
        return ConsoleProgress(stream)
    return PlainProgress(stream)


@dataclass(slots=True)
class Task:
    """A step under way and how far it is; implements the Step port."""

    title: str
    started_at: float
    timeout_s: float | None = None
    text: str = ""
    done: float = 0.0
    total: float = 0.0

    def detail(self, text: str) -> None:
        """Say what exactly is being waited for; may come from a guest, so it is made printable."""
        self.text = printable(text)

    def advance(self, done: float, total: float) -> None:
        """Say how far it is, in any unit."""
        self.done, self.total = done, total

    def times(self, now: float) -> str:
        """Say the time it took so far, and what is known of the rest."""
        elapsed = now - self.started_at
        fraction = self.fraction()
        if fraction:
            return f"{fraction:4.0%} {duration(elapsed)}, about {duration(elapsed / fraction - elapsed)} left"
        if self.timeout_s is not None:
            return f"{duration(elapsed)} of at most {duration(self.timeout_s)}"
        return duration(elapsed)

    def fraction(self) -> float | None:
        """The part that is done, 0 to 1; None while it cannot be told."""
        return min(1.0, max(0.0, self.done / self.total)) if self.total > 0 else None


def duration(seconds: float) -> str:
    """Say a time span for a person."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 120 else f"{minutes / 60:.1f} h"


def _outcome(task: Task, now: float, *, failed: bool) -> str | None:
    """The line that a finished step leaves; None when it is not worth one."""
    elapsed = now - task.started_at
    if failed:
        return f"{task.title}: failed after {duration(elapsed)}"
    return f"{task.title}: {duration(elapsed)}" if elapsed >= WORTH_TELLING_S else None


class NullProgress:
    """Says nothing (``--quiet``)."""

    @contextmanager
    def step(self, title: str, *, timeout_s: float | None = None) -> Iterator[Step]:
        """Show nothing."""
        yield Task(title, 0.0, timeout_s)

    def warn(self, text: str, *, hint: str | None = None) -> None:
        """Say nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""


class PlainProgress:
    """One line when a step starts and, when it was long or failed, one with its duration."""

    def __init__(self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._lock = threading.Lock()

    @contextmanager
    def step(self, title: str, *, timeout_s: float | None = None) -> Iterator[Step]:
        """Show the start and the end of ``title``."""
        task = Task(printable(title), self._clock(), timeout_s)
        limit = f" (at most {duration(timeout_s)})" if timeout_s is not None else ""
        self.say(f"{task.title} …{limit}")
        failed = True
        try:
            yield task
            failed = False
        finally:
            line = _outcome(task, self._clock(), failed=failed)
            if line:
                self.say(line)

    def warn(self, text: str, *, hint: str | None = None) -> None:
        """Write a warning and its hint."""
        self.say(f"Warning: {text}" + (f"\nHint: {hint}" if hint else ""))

    def say(self, text: str) -> None:
        """Write a line at once, whole even when several threads write."""
        with self._lock:
            self._stream.write(f"{printable_lines(text)}\n")
            self._stream.flush()


class ConsoleProgress:
    """A live line per running step on a terminal, with a bar where a fraction is known; honours NO_COLOR."""

    def __init__(self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console

        self._console: Console = Console(file=stream, stderr=stream is None, highlight=False, emoji=False)
        self._clock = clock
        # Taken before rich's own locks and never by _render, which rich calls while it holds them.
        self._lock = threading.Lock()
        self._tasks: tuple[Task, ...] = ()
        self._live: Live | None = None
        self._is_closed = False

    def close(self) -> None:
        """Give the terminal back, for good; steps of threads that an interrupt left behind stay invisible."""
        with self._lock:
            self._is_closed = True
            if self._live:
                self._live.stop()
                self._live = None

    @contextmanager
    def step(self, title: str, *, timeout_s: float | None = None) -> Iterator[Step]:
        """Show ``title`` live until the context ends."""
        task = Task(printable(title), self._clock(), timeout_s)
        self._add(task)
        failed = True
        try:
            yield task
            failed = False
        finally:
            self._remove(task, failed=failed)

    def warn(self, text: str, *, hint: str | None = None) -> None:
        """Write a warning and its hint above the live lines."""
        self._print(f"Warning: {text}", style="yellow")
        if hint:
            self._print(f"Hint: {hint}", style="")

    def say(self, text: str) -> None:
        """Write a line above the live lines."""
        self._print(text, style="")

    def _print(self, text: str, *, style: str) -> None:
        from rich.text import Text

        self._console.print(Text(printable_lines(text), style=style), soft_wrap=True)

    def _add(self, task: Task) -> None:
        with self._lock:
            self._tasks = (*self._tasks, task)
            if self._live is None and not self._is_closed:
                self._live = self._new_live()
                self._live.start()
            if self._live:
                self._live.refresh()

    def _new_live(self) -> Live:
        from rich.live import Live

        # Standard output carries results and must stay what it is, hence no redirection.
        return Live(
            console=self._console,
            get_renderable=self._render,
            transient=True,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def _remove(self, task: Task, *, failed: bool) -> None:
        line = _outcome(task, self._clock(), failed=failed)
        with self._lock:
            self._tasks = tuple(other for other in self._tasks if other is not task)
            if self._live:
                self._live.refresh()
            if self._live and not self._tasks:
                self._live.stop()
                self._live = None
        if line and not self._is_closed:
            self._print(line, style="red" if failed else "dim")

    def _render(self) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 1))
        now = self._clock()
        for task in self._tasks:
            fraction = task.fraction()
            mark = ProgressBar(total=1.0, completed=fraction, width=20) if fraction else Spinner("dots")
            label = f"{task.title}: {task.text}" if task.text else task.title
            grid.add_row(mark, Text(label, overflow="ellipsis", no_wrap=True), Text(task.times(now), style="dim"))
        return grid


@dataclass(frozen=True, slots=True)
class Event:
    """What was told: ``kind`` is "start", "end", "failed", "warn", "say" or "detail"."""

    kind: str
    text: str


@dataclass(slots=True)
class RecordingProgress:
    """Keeps everything for a test to look at."""

    events: list[Event] = field(default_factory=list)

    @contextmanager
    def step(self, title: str, *, timeout_s: float | None = None) -> Iterator[Step]:
        """Record the start and the end."""
        self.events.append(Event("start", title))
        end = "failed"
        try:
            yield _RecordingStep(title, self.events)
            end = "end"
        finally:
            self.events.append(Event(end, title))

    def warn(self, text: str, *, hint: str | None = None) -> None:
        """Record a warning."""
        self.events.append(Event("warn", text))

    def say(self, text: str) -> None:
        """Record a line."""
        self.events.append(Event("say", text))

    def texts(self, kind: str) -> tuple[str, ...]:
        """All texts of one kind, in order."""
        return tuple(event.text for event in self.events if event.kind == kind)


@dataclass(frozen=True, slots=True)
class _RecordingStep:
    title: str
    events: list[Event]

    def detail(self, text: str) -> None:
        self.events.append(Event("detail", text))

    def advance(self, done: float, total: float) -> None:
        """Not recorded: how often it comes is not part of what is told."""
