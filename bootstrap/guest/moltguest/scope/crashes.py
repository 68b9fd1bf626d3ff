"""How agents of a session ended when they did not mean to: one line each in ~/.agent-session/crashes.log."""

from __future__ import annotations

import json
import os
import time

from moltguest.limits import MIB
from moltguest.scope.watch import Observed
from moltguest.watchdog.files import printable, read, read_fields
from moltguest.watchdog.statefile import PATH as STATE

# Set by agent-session for everything that runs in a session.
SESSION = "AGENT_SESSION"
FOLDER = ".agent-session"
NAME = "crashes.log"
# What a shell shows for SIGABRT, by which V8 ends when its heap is full.
ABORTED = 134
_LARGEST = 1 << 20
# An end by the watchdog is written down by it within that time.
_RECENT_S = 30.0


def path(home: str) -> str:
    """Return where the log of a home lies."""
    return os.path.join(home, FOLDER, NAME)


def note(name: str, code: int, observed: Observed, why: str) -> None:
    """Add a line, in a session only; a home that cannot be written is no reason to fail."""
    session, home = os.environ.get(SESSION, ""), os.environ.get("HOME", "")
    if not session or not home.startswith("/"):
        return
    try:
        os.makedirs(os.path.join(home, FOLDER), mode=0o700, exist_ok=True)
        _shorten(path(home))
        with open(path(home), "a", encoding="utf-8") as file:
            file.write(line(session, name, code, observed, why))
    except OSError:
        return


def line(session: str, name: str, code: int, observed: Observed, why: str) -> str:
    """Return one crash: when, where, who, why, and the memory of that moment."""
    available = read_fields("/proc/meminfo").get(b"MemAvailable", 0) >> 10
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    words = [
        f"session={printable(session)}",
        f"program={printable(name)}",
        f"status={code}",
        f'cause="{why}"',
        f"used={observed.used // MIB}MiB",
        f"peak={observed.peak // MIB}MiB",
        f"guest_available={available}MiB",
    ]
    return f"{when} {' '.join(words)}\n"


def cause(code: int, by_kernel: str) -> str:
    """Return why a program ended: the kernel at a limit, the watchdog, V8, or a signal from elsewhere."""
    if by_kernel:
        return by_kernel
    if said := _watchdogs_word():
        return said
    if code == ABORTED:
        return "aborted, as Node.js does when its heap is full"
    return f"signal {code - 128}" if code > 128 else f"exit status {code}"


def _watchdogs_word() -> str:
    """Return what the watchdog said of its last kill when that was just now, empty otherwise."""
    try:
        state = json.loads(read(f"/{STATE}", _LARGEST) or b"{}")
        last = state["last"]
        recent = 0 <= time.monotonic() - float(last["uptime"]) <= _RECENT_S
        return "watchdog: " + printable(str(last["message"]), 160).replace('"', "'") if recent else ""
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _shorten(log: str) -> None:
    """Keep the second half of a log that has become long."""
    try:
        if os.path.getsize(log) < _LARGEST:
            return
        with open(log, "rb") as file:
            kept = file.read()[_LARGEST // 2 :]
    except OSError:
        return
    with open(log + ".new", "wb") as file:
        file.write(kept[kept.find(b"\n") + 1 :])
    os.replace(log + ".new", log)
