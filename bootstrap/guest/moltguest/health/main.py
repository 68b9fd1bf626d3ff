"""The program vm-health-check: what was asked for, once or again and again, for people or for programs."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, replace

from moltguest.health.collect import Senses, collect
from moltguest.health.report import Health, Level
from moltguest.health.table import table

USAGE = """\
usage: vm-health-check [--trend] [--json] [--watch [SECONDS]] [--root DIR]

Shows how this guest is: memory, agents, disks, limits, sessions, and what goes wrong next.

  --trend            more about where memory is heading, and what that is told from
  --json             one JSON document (schema moltfleet.guest-health/1); with --watch one on each line
  --watch [SECONDS]  again and again, every 30 seconds unless said otherwise
  --root DIR         read /proc, /sys, /etc, /run and /tmp below DIR, and ask no program

Exit status: 0 all is well, 1 something is to be looked at, 2 act now, 3 the guest cannot be looked at, 64 usage.
"""
UNSEEN, BAD_USAGE = 3, 64
_EXIT = {Level.OK: 0, Level.NOTE: 0, Level.WARN: 1, Level.CRITICAL: 2}
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"
_SHORTEST_S, _LONGEST_S = 1.0, 86400.0


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for; ``every_s`` is None for a single look."""

    trend: bool = False
    json: bool = False
    every_s: float | None = None
    root: str = "/"
    help: bool = False


def parse(arguments: list[str]) -> Options:
    """Read the command line. Raises: ValueError with what is wrong."""
    options, rest = Options(), list(arguments)
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if word in ("--trend", "--json", "--help", "-h") and not equals:
            name = {"-h": "help"}.get(word, word.lstrip("-"))
            options = replace(options, **{name: True})  # type: ignore[arg-type]
        elif word == "--watch":
            if not equals and rest and not rest[0].startswith("-"):
                value = rest.pop(0)
            options = replace(options, every_s=_seconds(value) if value else 30.0)
        elif word == "--root":
            if not equals:
                value = rest.pop(0) if rest else ""
            if not value:
                raise ValueError("--root has no value")
            options = replace(options, root=value)
        else:
            raise ValueError(f"{word!r} is not an option")
    return options


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise ValueError(f"--watch {text!r} is not a number of seconds from 1 to 86400")
    return seconds


def main(arguments: list[str]) -> int:
    """Run the program; see USAGE for what it returns."""
    try:
        options = parse(arguments)
    except ValueError as error:
        sys.stderr.write(f"vm-health-check: {error}\n{USAGE}")
        return BAD_USAGE
    if options.help:
        sys.stdout.write(USAGE)
        return 0
    # A terminal may not know every letter that a name has.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        return _watch(options, options.every_s) if options.every_s else _show(options, "")
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Nobody reads any more; without this, the interpreter says so once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (OSError, ValueError) as error:
        sys.stderr.write(f"vm-health-check: this guest cannot be looked at: {error}\n")
        return UNSEEN


def _watch(options: Options, every_s: float) -> int:
    clear = _CLEAR if sys.stdout.isatty() and not options.json else ""
    while True:
        _show(options, clear)
        time.sleep(every_s)


def _show(options: Options, before: str) -> int:
    report = collect(Senses(root=options.root))
    sys.stdout.write(before + _written(report, options))
    sys.stdout.flush()
    return _EXIT[report.level]


def _written(report: Health, options: Options) -> str:
    if options.json:
        return json.dumps(report.document(), indent=None if options.every_s else 2) + "\n"
    return table(report, trend=options.trend, color=_has_color())


def _has_color() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM", "dumb") != "dumb"
