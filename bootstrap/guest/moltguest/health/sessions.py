"""The tmux sessions of this guest: who works where, which of them nobody would miss, and what died in them."""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from moltguest.health.programs import Programs
from moltguest.health.report import Session
from moltguest.watchdog.files import printable

IDLE_S = 3600.0
_MOST_SERVERS, _MOST_SESSIONS = 16, 64
_SHELLS = ("bash", "sh", "zsh", "fish", "dash", "ksh")
# tmux escapes what is special to a shell, also blanks.
_FORMAT = (
    "#{session_attached} #{session_activity} #{pane_id} #{pane_tty} "
    "=#{q:pane_current_command} #{q:session_name} =#{q:pane_current_path}"
)
# What node prints when its heap is full, in all versions since 10.
V8_FATAL = re.compile(r"FATAL ERROR: .{0,200}JavaScript heap out of memory")


@dataclass(frozen=True, slots=True)
class Server:
    """A user's tmux server."""

    socket: str
    owner: int

    def argv(self, *words: str) -> list[str]:
        """Return the words that ask it something."""
        return ["tmux", "-S", self.socket, *words]


@dataclass(frozen=True, slots=True)
class Sessions:
    """All sessions, and the names of those in which a program ended because V8's heap was full."""

    found: tuple[Session, ...]
    v8_deaths: tuple[str, ...]


def read_sessions(
    programs: Programs, now: float, agents: Mapping[int, str], *, root: str = "/", me: int | None = None
) -> Sessions:
    """Return the sessions that this user may see, root those of all.

    ``now`` is the time of day, ``agents`` are the agents' names by the numbers of their terminals.
    """
    found: list[Session] = []
    deaths: list[str] = []
    user = os.geteuid() if me is None else me
    for server in _servers(root, user):
        text = programs.ask(server.argv("list-sessions", "-F", _FORMAT), user=server.owner) or ""
        for line in text.splitlines()[:_MOST_SESSIONS]:
            session, pane, terminal = _parsed(line, server, now)
            if session is None:
                continue
            found.append(replace(session, program=agents.get(terminal, session.program)))
            if session.program in _SHELLS and _died_of_v8(programs, server, pane):
                deaths.append(session.name)
    return Sessions(tuple(_noted(found)), tuple(deaths))


def _servers(root: str, user: int) -> Iterator[Server]:
    base = root.rstrip("/") + "/tmp"
    try:
        names = sorted(name for name in os.listdir(base) if name.startswith("tmux-") and name[5:].isdigit())
    except OSError:
        return
    for name in names[:_MOST_SERVERS]:
        owner = int(name[5:])
        try:
            made_by = os.lstat(f"{base}/{name}")
            sockets = sorted(os.listdir(f"{base}/{name}"))[:_MOST_SERVERS]
        except OSError:
            continue
        # Somebody else's directory under a user's name is not that user's.
        if not stat.S_ISDIR(made_by.st_mode) or made_by.st_uid != owner or user not in (0, owner):
            continue
        yield from (Server(f"{base}/{name}/{socket}", owner) for socket in sockets)


def _parsed(line: str, server: Server, now: float) -> tuple[Session | None, str, int]:
    words = _words(line)
    if len(words) != 7 or not words[0].isdigit() or not words[1].isdigit() or not re.fullmatch(r"%\d{1,9}", words[2]):
        return None, "", 0
    attached, activity, pane, tty, program, name, directory = words
    idle_s = max(0.0, now - int(activity[:12]))
    session = Session(
        name=printable(name),
        user=_name_of(server.owner),
        attached=attached != "0",
        idle_s=idle_s,
        directory=printable(directory[1:], 120),
        program=printable(program[1:]),
        server=printable(server.socket.rpartition("/")[2]),
    )
    return session, pane, terminal_number(tty)


def terminal_number(path: str) -> int:
    """Return the number by which /proc/PID/stat tells a terminal, 0 for what is none of tmux's.

    Pseudo terminals have the majors from 136 on, of 256 minors each (Linux, Documentation/admin-guide/devices.txt).
    """
    number = path.removeprefix("/dev/pts/")
    if number == path or not number.isdigit() or len(number) > 5:
        return 0
    major, minor = divmod(int(number), 256)
    return (136 + major) << 8 | minor


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return []


def _name_of(owner: int) -> str:
    import pwd

    try:
        return printable(pwd.getpwuid(owner).pw_name)
    except KeyError:
        return str(owner)


def _died_of_v8(programs: Programs, server: Server, pane: str) -> bool:
    """Whether the end of what stands in a pane tells so; nothing of it is kept."""
    text = programs.ask(server.argv("capture-pane", "-p", "-S", "-100", "-t", pane), user=server.owner) or ""
    return V8_FATAL.search(text) is not None


def _noted(sessions: list[Session]) -> Iterator[Session]:
    """Mark those that could be ended: nobody looks at them, and nothing happens in them or it happens twice."""
    newest: dict[tuple[str, str, str], Session] = {}
    for session in sessions:
        known = newest.get(_work(session))
        if known is None or (session.attached, -session.idle_s) > (known.attached, -known.idle_s):
            newest[_work(session)] = session
    for session in sessions:
        other = newest[_work(session)]
        if session.attached:
            yield session
        elif other is not session and session.program not in _SHELLS:
            yield replace(session, note="redundant", why=f"{other.name} runs {session.program} in the same directory")
        elif session.idle_s >= IDLE_S:
            yield replace(session, note="idle", why="nobody is attached, and nothing was typed or printed")
        else:
            yield session


def _work(session: Session) -> tuple[str, str, str]:
    return session.user, session.program, session.directory
