"""A report as text for a terminal of 80 columns; color only where the caller says that there is one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from moltguest.health.figures import amount, duration, percent, rate
from moltguest.health.report import Agent, Count, Health, Level, Place, Session, Trend

WIDTH = 80
_LABEL = 10
_BAR = 30
_COLORS = {Level.OK: "32", Level.NOTE: "36", Level.WARN: "33", Level.CRITICAL: "31;1"}


def table(report: Health, *, trend: bool = False, color: bool = False) -> str:
    """Return the whole report; with ``trend`` also what the forecast was made from."""
    blocks = [
        [_title(report, color=color)],
        _facts(report),
        *([_evidence(report)] if trend else []),
        _agents(report.agents),
        _sessions(report.sessions),
        list(_findings(report, color=color)),
        [line for text in report.unseen for line in _wrapped("not seen", text)],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _title(report: Health, *, color: bool) -> str:
    word = _colored(report.level.value, report.level, color=color)
    since = f"up {duration(report.uptime_s)}"
    name = report.host[: WIDTH - 36] or "this guest"
    return f"{name}: {word}{since:>{WIDTH - len(name) - 2 - len(report.level.value)}}"


def _colored(text: str, level: Level, *, color: bool) -> str:
    return f"\x1b[{_COLORS[level]}m{text}\x1b[0m" if color else text


def _facts(report: Health) -> list[str]:
    memory = report.memory
    used = memory.total - memory.available
    filled, left = round(_BAR * used / memory.total), amount(memory.available)
    swap = f"{amount(memory.swap_used)} of {amount(memory.swap_total)}" if memory.swap_total else "none"
    amounts = (
        *(("agents", amount(memory.agents)), ("cache", amount(memory.cache))),
        *(("shm", amount(memory.shm)), ("swap", swap)),
    )
    lines = [
        _line("memory", f"{'#' * filled}{'.' * (_BAR - filled)} {amount(used)} of {amount(memory.total)}, {left} left"),
        _line("", "  ".join(f"{name} {value}" for name, value in amounts)),
    ]
    for trend in _told(report.trends):
        lines += _wrapped("trend", trend)
    return [
        *lines,
        _line("pressure", _pressure(report)),
        _line("load", _load(report)),
        *(_line("disk" if number == 0 else "", _place(place)) for number, place in enumerate(report.places)),
        *_wrapped("tasks", "  ".join(_count(count) for count in report.counts)),
        *_wrapped("kills", _kills(report)),
        *_wrapped("guards", _guards(report)),
    ]


def _line(label: str, text: str) -> str:
    return f"{label:<{_LABEL}}{text}"[:WIDTH].rstrip()


def _wrapped(label: str, text: str) -> list[str]:
    """Return text of any length beside its label."""
    rest = " " * _LABEL
    return textwrap.wrap(text, WIDTH, initial_indent=f"{label:<{_LABEL}}", subsequent_indent=rest) or [label]


def _told(trends: Iterable[Trend]) -> Iterator[str]:
    """The guest's trend, and those of agents that say more than ok."""
    for trend in trends:
        if not trend.key or trend.verdict not in ("ok", "unknown"):
            yield f"{f'agent {trend.name} ' if trend.key else ''}{_course(trend)}"


def _course(trend: Trend) -> str:
    if trend.rate is None or trend.seconds is None:
        return f"{trend.verdict}: {trend.reason}"
    end = f"used up in {duration(trend.seconds)} at {rate(trend.rate)}"
    return f"{trend.verdict}: {end}, seen for {duration(trend.seen_s or 0)}"


def _pressure(report: Health) -> str:
    if not any(report.pressure.values()):
        return "not measured"
    told = [(name, found) for name, found in report.pressure.items() if found]
    return "  ".join(f"{name} {found.some_avg60:.1f} %" for name, found in told) + "  (some, last minute)"


def _load(report: Health) -> str:
    if not report.load:
        return "not measured"
    cpus = f"{report.cpus} CPU{'s' if report.cpus > 1 else ''}"
    return f"{'  '.join(f'{load:.2f}' for load in report.load)}  (of 1, 5, 15 minutes, on {cpus})"


def _place(place: Place) -> str:
    what = "memory" if place.in_memory else "disk"
    inodes = f"  inodes {percent(place.inodes_full)}" if place.inodes else ""
    return f"{place.path:<10}{percent(place.full):>5} of {amount(place.total):>8} {what}{inodes}"


def _count(count: Count) -> str:
    most = f" of {count.most}" if count.most else ""
    return f"{count.what} {count.used}{most}{f' in {count.where}' if count.where else ''}"


def _kills(report: Health) -> str:
    text = f"by the kernel {report.kills.total}, by the watchdog {report.watchdog.kills}"
    if not report.watchdog.last:
        return text
    ago = report.watchdog.last_ago_s
    return f"{text}; last{f' {duration(ago)} ago' if ago is not None else ''}: {report.watchdog.last}"


def _guards(report: Health) -> str:
    held = report.containment
    most = f"at most {amount(held.agents_max)}" if held.agents_max is not None else "without limit"
    agents = f"agents.slice {most}" if held.cgroup_version == 2 else "cgroups not version 2"
    return f"watchdog {report.watchdog.state}  {agents}  earlyoom {'running' if held.earlyoom else 'not running'}"


def _evidence(report: Health) -> list[str]:
    lines = []
    for trend in report.trends:
        name = f"agent {trend.name}" if trend.key else "guest"
        lines += _wrapped("forecast", f"{name}: {_course(trend)}")
        seen = f"{amount(trend.used)} of {amount(trend.total)}, {trend.samples} samples of {duration(trend.span_s)}"
        lines.append(_line("", seen))
        if trend.bound_s is not None and trend.rate is not None:
            lines.append(_line("", f"slope of {trend.points} floors in {duration(trend.seen_s or 0)}"))
            text = f"at that rate no more than {duration(trend.bound_s)} of warning were possible"
            lines.append(_line("", text))
    return lines


def _agents(agents: tuple[Agent, ...]) -> list[str]:
    rows = [("AGENT", "SCOPE", "USED", "ENDED AT", "PROCESSES")]
    rows += [(a.name, a.scope or "none", amount(a.used), amount(a.end), str(a.processes)) for a in agents]
    return _columns(rows, widths=(12, 30, 10, 10, 9), right=(2, 3, 4))


def _sessions(sessions: tuple[Session, ...]) -> list[str]:
    rows = [("SESSION", "PROGRAM", "ATTACHED", "IDLE", "DIRECTORY")]
    for session in sessions:
        attached = "yes" if session.attached else "no"
        rows.append((session.name, session.program, attached, duration(session.idle_s), session.directory))
    return _columns(rows, widths=(16, 12, 8, 10, 26), right=(3,))


def _columns(rows: Sequence[tuple[str, ...]], widths: tuple[int, ...], right: tuple[int, ...]) -> list[str]:
    """Return rows in columns of at most these widths; no more than the heading is nothing."""
    if len(rows) < 2:
        return []
    sizes = [min(most, max(len(row[index]) for row in rows)) for index, most in enumerate(widths)]
    return [
        "  ".join(
            _cut(cell, size).rjust(size) if index in right else _cut(cell, size).ljust(size)
            for index, (cell, size) in enumerate(zip(row, sizes, strict=True))
        ).rstrip()
        for row in rows
    ]


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 3] + "..."


def _findings(report: Health, *, color: bool) -> Iterator[str]:
    for finding in report.findings:
        first, *rest = _wrapped(finding.level.value, finding.text)
        yield first.replace(finding.level.value, _colored(finding.level.value, finding.level, color=color), 1)
        yield from rest
        yield from _wrapped("", finding.advice)
