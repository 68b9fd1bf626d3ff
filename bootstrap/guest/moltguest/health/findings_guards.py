"""Findings about what keeps watch, which limits are missing, and sessions that nobody would miss."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from moltguest.health.facts import Facts
from moltguest.health.figures import duration
from moltguest.health.report import Finding, Level, Session, Watchdog

_STATES = {"absent": "is not running", "silent": "does not answer", "dry run": "only says what it would do"}
_INSTALL = "From the host: moltfleet tools install NAME"


def guards_findings(facts: Facts) -> Iterator[Finding]:
    """Return what there is to say about watchdog and limits."""
    yield from _watchdog(facts.watchdog, "sudo systemctl restart moltfleet-watchdog" if facts.version else _INSTALL)
    held = facts.containment
    if held.cgroup_version != 2:
        text = "Control groups are not version 2: agents are watched, but no limit holds them"
        yield Finding("containment", Level.NOTE, text, "Boot with systemd.unified_cgroup_hierarchy=1")
    elif held.expected and facts.agents and held.agents_max is None:
        yield Finding("containment", Level.WARN, "Agents have no limit together (agents.slice)", _INSTALL)


def _watchdog(watchdog: Watchdog, advice: str) -> Iterator[Finding]:
    if watchdog.state != "watching":
        text = f"The watchdog {_STATES.get(watchdog.state, watchdog.state)}: nobody stops an agent that leaks"
        yield Finding("watchdog", Level.WARN, text, advice)
    for key in watchdog.disabled:
        text = f"Agent {key.rpartition('@')[0] or key} was ended too often and is not to be started again"
        yield Finding("agent-disabled", Level.WARN, text, "Once the cause is known: sudo moltfleet-watchdog --reset")
    for problem in watchdog.problems:
        yield Finding("watchdog-problem", Level.NOTE, f"Watchdog: {problem}", "journalctl -u moltfleet-watchdog")


def sessions_findings(sessions: Iterable[Session]) -> Iterator[Finding]:
    """Return which sessions could be ended."""
    for session in sessions:
        if session.note:
            since = f" for {duration(session.idle_s)}" if session.note == "idle" else ""
            text = f"Session {session.name} is {session.note}{since}: {session.why}"
            yield Finding(f"session-{session.note}", Level.NOTE, text, _ending(session))


def _ending(session: Session) -> str:
    """Return how a session is ended; its names are somebody else's text, and this is copied into a shell."""
    if session.server == session.name:
        return f"agent-session --end {shlex.quote(session.name)}"
    server = "" if session.server == "default" else f" -L {shlex.quote(session.server)}"
    return f"tmux{server} kill-session -t {shlex.quote('=' + session.name)}"
