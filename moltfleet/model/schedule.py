"""What is to run by itself, when, and how that is written down: units of systemd, or a block of a crontab."""

from __future__ import annotations

import datetime
import re
import shlex
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from moltfleet.model.errors import InvalidInput
from moltfleet.model.names import printable

NIGHTLY = "moltfleet-nightly"
SURVEY = "moltfleet-survey"
# The first line of every file of ours: what does not begin with it belongs to somebody else.
MARK = "# Written by `moltfleet schedule install`, and taken away by `moltfleet schedule remove`."
BLOCK_BEGIN = "# BEGIN moltfleet schedule: written by `moltfleet schedule install`"
BLOCK_END = "# END moltfleet schedule"
# Past its own deadline a night gets this long to come to its end before systemd ends it.
_GRACE_S = 1800
_PLAIN = re.compile(r"[A-Za-z0-9_@:,./=+-]+")
# Only what divides an hour or a day is regular in a crontab.
_MINUTES = tuple(n for n in range(1, 31) if 60 % n == 0)
_HOURS = tuple(n for n in range(1, 13) if 24 % n == 0)


class Kind(StrEnum):
    """Who runs it: the user's own systemd, the system's on behalf of a user, or cron."""

    USER = "user"
    SYSTEM = "system"
    CRON = "cron"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine. ``home`` is the home directory, ``config_home`` where settings are."""

    name: str
    uid: int
    home: str
    config_home: str


class Accounts(Protocol):
    """The users of this machine, and what they could change."""

    def me(self) -> Account:
        """Who runs this."""

    def find(self, name: str) -> Account | None:
        """Look a user up."""

    def is_member(self, name: str, group: str) -> bool:
        """Whether a user is in a group; False when there is no such group."""

    def weak_spot(self, path: str) -> str | None:
        """What on the way to ``path``, links followed, others than root could replace; None when nothing."""


@dataclass(frozen=True, slots=True)
class At:
    """A time of the day, by this machine's clock."""

    hour: int
    minute: int

    @classmethod
    def parse(cls, text: str) -> At:
        """Read "3:30" or "03:30". Raises: InvalidInput."""
        found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)
        if found is None:
            raise InvalidInput(f"{printable(text)!r} is not a time of the day", hint="Such as 03:30.")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.hour:02}:{self.minute:02}"


@dataclass(frozen=True, slots=True)
class Every:
    """A distance that divides the hour or the day; no minutes at all means never."""

    minutes: int

    @classmethod
    def parse(cls, text: str) -> Every:
        """Read "10m", "2h", a bare number of minutes, or "never". Raises: InvalidInput."""
        found = re.fullmatch(r"(\d{1,4}) ?(m|min|h)?", text)
        minutes = int(found[1]) * (60 if found[2] == "h" else 1) if found else -1
        if text == "never":
            minutes = 0
        if minutes in (0, *_MINUTES, *(hours * 60 for hours in _HOURS)):
            return cls(minutes)
        raise InvalidInput(
            f"{printable(text)!r} is no distance that divides an hour or a day",
            hint=f"Minutes: {', '.join(map(str, _MINUTES))}; hours: {', '.join(f'{n}h' for n in _HOURS)}; or never.",
        )

    def __str__(self) -> str:
        if not self.minutes:
            return "never"
        return f"{self.minutes // 60}h" if self.minutes % 60 == 0 else f"{self.minutes}m"


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is to run. ``program`` are the words before the command; ``night_hours`` is when a night ends by itself.

    ``textfile`` is where metrics go after each survey, None for nowhere; ``run_as`` is set for the system's systemd.
    """

    kind: Kind
    at: At
    survey_every: Every
    program: tuple[str, ...]
    night_hours: float
    textfile: str | None = None
    run_as: str | None = None

    def night(self) -> tuple[str, ...]:
        """The command line of a night."""
        return (*self.program, "nightly", "--yes", "--quiet")

    def surveys(self) -> tuple[tuple[str, ...], ...]:
        """The command lines of a survey, one after the other."""
        if not self.survey_every.minutes:
            return ()
        metrics = () if self.textfile is None else ((*self.program, "metrics", "--textfile", self.textfile),)
        return ((*self.program, "survey", "--record", "--ask", "suspects", "--protect", "--quiet"), *metrics)


@dataclass(frozen=True, slots=True)
class UnitFile:
    """A file of systemd's, by its name."""

    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Job:
    """Something that runs by itself, as it is found. ``next`` and ``last`` are ISO 8601 in UTC, None when unknown.

    ``state`` is "active" or what is wrong; ``result`` is how the last run ended, empty when that is not told.
    """

    kind: Kind
    name: str
    when: str
    command: str
    state: str
    next: str | None = None
    last: str | None = None
    result: str = ""


def unit_files(schedule: Schedule) -> tuple[UnitFile, ...]:
    """Write the units of a schedule."""
    night_s = int(schedule.night_hours * 3600) + _GRACE_S
    files = [
        _service(schedule, NIGHTLY, "the nightly run", (schedule.night(),), limit_s=night_s),
        _timer(NIGHTLY, "the nightly run", f"*-*-* {schedule.at}:00"),
    ]
    if schedule.surveys():
        files.append(_service(schedule, SURVEY, "a look at all clones", schedule.surveys(), limit_s=600))
        files.append(_timer(SURVEY, "a look at all clones", _calendar(schedule.survey_every), catches_up=False))
    return tuple(files)


def _service(
    schedule: Schedule, name: str, what: str, commands: tuple[tuple[str, ...], ...], *, limit_s: int
) -> UnitFile:
    lines = [MARK, "[Unit]", f"Description=moltfleet: {what}"]
    if schedule.kind is Kind.SYSTEM:
        # libvirt's one daemon, or its many: whichever there is.
        lines += ["After=network.target libvirtd.service libvirtd.socket virtqemud.socket"]
    lines += ["", "[Service]", "Type=oneshot"]
    lines += [f"ExecStart={exec_line(words)}" for words in commands]
    if schedule.run_as is not None:
        lines += [f"User={schedule.run_as}", "NoNewPrivileges=yes"]
    # It stops as after Ctrl-C; what it does not finish stands in its journal.
    lines += ["KillSignal=SIGINT", f"TimeoutStartSec={limit_s}", "TimeoutStopSec=120", "Nice=10"]
    return UnitFile(f"{name}.service", "\n".join(lines) + "\n")


def _timer(name: str, what: str, calendar: str, *, catches_up: bool = True) -> UnitFile:
    lines = [MARK, "[Unit]", f"Description=moltfleet: when to start {what}", "", "[Timer]", f"OnCalendar={calendar}"]
    if catches_up:
        # After a boot, if the machine was off at that time.
        lines.append("Persistent=true")
    lines += ["AccuracySec=30s", "", "[Install]", "WantedBy=timers.target"]
    return UnitFile(f"{name}.timer", "\n".join(lines) + "\n")


def _calendar(every: Every) -> str:
    if every.minutes < 60:
        return f"*-*-* *:0/{every.minutes}:00"
    return f"*-*-* 0/{every.minutes // 60}:00:00"


def exec_line(words: tuple[str, ...]) -> str:
    """Write a command line for ExecStart= (systemd.service(5)). Raises: InvalidInput for what no line can hold."""
    return " ".join(_exec_word(word) for word in words)


def _exec_word(word: str) -> str:
    _require_line(word)
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def cron_block(schedule: Schedule) -> str:
    """Write the lines of a crontab (crontab(5)); what fails is mailed by cron, what goes well is not."""
    lines = [BLOCK_BEGIN, f"{schedule.at.minute} {schedule.at.hour} * * * {_cron_command((schedule.night(),))}"]
    if schedule.surveys():
        lines.append(f"{_cron_times(schedule.survey_every)} {_cron_command(schedule.surveys())}")
    return "".join(f"{line}\n" for line in (*lines, BLOCK_END))


def _cron_times(every: Every) -> str:
    if every.minutes < 60:
        return f"*/{every.minutes} * * * *"
    return f"0 */{every.minutes // 60} * * *"


def _cron_command(commands: tuple[tuple[str, ...], ...]) -> str:
    for word in (word for words in commands for word in words):
        _require_line(word)
    # cron turns a bare % into the end of the line, wherever it stands.
    return "; ".join(f"{shlex.join(words)} >/dev/null".replace("%", "\\%") for words in commands)


def _require_line(word: str) -> None:
    if not word.isprintable():
        raise InvalidInput(f"{printable(word)!r} has characters that no schedule can hold")


def without_block(crontab: str) -> str:
    """Return a crontab without our block, every other line as it was. Raises: InvalidInput for a block without end."""
    kept: list[str] = []
    inside = False
    for line in crontab.splitlines(keepends=True):
        bare = line.rstrip("\r\n")
        if bare == BLOCK_BEGIN:
            inside = True
        elif bare == BLOCK_END and inside:
            inside = False
        elif not inside:
            kept.append(line)
    if inside:
        raise InvalidInput(
            "The crontab has a block of moltfleet's without its end",
            hint=f"Put the line '{BLOCK_END}' after it: crontab -e",
        )
    return "".join(kept)


def with_block(crontab: str, block: str) -> str:
    """Return a crontab with our block as its last lines."""
    others = without_block(crontab)
    return f"{others}{'' if not others or others.endswith(chr(10)) else chr(10)}{block}"


def block_lines(crontab: str) -> tuple[str, ...]:
    """The lines of our block, without its marks."""
    lines = crontab.splitlines()
    if BLOCK_BEGIN not in lines:
        return ()
    begin = lines.index(BLOCK_BEGIN)
    end = lines.index(BLOCK_END, begin) if BLOCK_END in lines[begin:] else len(lines)
    return tuple(lines[begin + 1 : end])


def next_run(times: str, now: datetime.datetime) -> datetime.datetime | None:
    """When a line of our block runs next, by the five fields that we write; None for fields of another form."""
    minute, hour, *rest = times.split()
    minutes, hours = _numbers(minute, 60), _numbers(hour, 24)
    if rest != ["*", "*", "*"] or not minutes or not hours:
        return None
    moment = now.replace(second=0, microsecond=0) + datetime.timedelta(minutes=1)
    while moment.minute not in minutes or moment.hour not in hours:
        moment += datetime.timedelta(minutes=1)
    return moment


def _numbers(field: str, count: int) -> frozenset[int]:
    if field == "*":
        return frozenset(range(count))
    found = re.fullmatch(r"\*/(\d{1,2})|(\d{1,2})", field)
    if found is None:
        return frozenset()
    return frozenset({int(found[2])} if found[2] else range(0, count, max(1, int(found[1]))))
