"""agent-session: tmux sessions that outlive a logout and a killed agent, each with a server and a scope of its own.

One server for each session, so that what ends one ends no other; and each pane in a scope of its own, so that a
program which runs out of memory in one takes neither its server nor the other panes with it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from moltguest.scope import crashes
from moltguest.scope.child import Child
from moltguest.scope.contain import NotContained, Scope, contain
from moltguest.scope.programs import which
from moltguest.scope.supervise import unit_name
from moltguest.watchdog.files import printable

USAGE = """\
usage: agent-session [NAME] [DIRECTORY]   start a session, or go back to it; NAME is "agent", DIRECTORY ~/work
       agent-session --detached [NAME] [DIRECTORY]
       agent-session --list
       agent-session --crashes [NAME]
       agent-session --end NAME

A session lives on when you log out (leave it with Ctrl-b d) and when an agent in it is ended. How agents ended that did
not mean to stands in ~/.agent-session/crashes.log, with the cause and the memory of that moment.
"""
# Plain tmux's own server is left to the person.
_NAME = re.compile(r"(?!default$)[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_PANE = "exec /usr/local/lib/moltfleet/current/bin/agent-session --pane"
_SHOWN_CRASHES = 20
# Of somebody's login that ends before the session does.
_NOT_KEPT = ("TMUX", "TMUX_PANE", "SSH_TTY", "SSH_CONNECTION", "SSH_CLIENT", "XDG_SESSION_ID")


class NoSession(Exception):
    """There is no session, and will be none. ``status`` is what we end with."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Session:
    """A session that runs."""

    name: str
    attached: bool
    program: str
    directory: str


def main(arguments: list[str]) -> int:
    """Run the program. Returns 2 for a bad command line, 3 when there is no such session or directory."""
    if arguments[:1] == ["--pane"]:
        return pane()
    if arguments[:1] in (["--help"], ["-h"]):
        sys.stdout.write(USAGE)
        return 0
    try:
        act, words = _parse(arguments)
        return int(act(*words))
    except NoSession as error:
        sys.stderr.write(f"agent-session: {error}\n{USAGE if error.status == 2 else ''}")
        return error.status
    except OSError as error:
        sys.stderr.write(f"agent-session: {error}\n")
        return 1


def _parse(arguments: list[str]):  # type: ignore[no-untyped-def] # acts differ in their words
    word = arguments[0] if arguments and arguments[0].startswith("-") else ""
    rest = arguments[1:] if word else arguments
    acts = {
        "": (enter, 2),
        "--detached": (start, 2),
        "--list": (show, 0),
        "--crashes": (show_crashes, 1),
        "--end": (end, 1),
    }
    if word not in acts:
        raise NoSession(f"{word!r} is not an option", 2)
    act, most = acts[word]
    if len(rest) > most or (word == "--end" and not rest):
        raise NoSession("too many words" if rest else "which session is to end?", 2)
    if rest and not _NAME.fullmatch(rest[0]):
        raise NoSession(
            f"{printable(rest[0])!r} is no name of a session: letters, digits, - and _, and not 'default'", 2
        )
    return act, rest


def enter(name: str = "agent", directory: str = "") -> int:
    """Attach to a session, which is started if need be."""
    start(name, directory, quiet=True)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        sys.stdout.write(f"Session {name} runs; from a terminal: agent-session {name}\n")
        return 0
    if os.environ.get("TMUX"):
        sys.stdout.write(f"Session {name} runs; leave this one first (Ctrl-b d), then: agent-session {name}\n")
        return 0
    return os.execvp("tmux", ["tmux", "-L", name, "attach-session", "-t", f"={name}"])


def start(name: str = "agent", directory: str = "", *, quiet: bool = False) -> int:
    """Start a session in a scope of its own, unless it runs."""
    if _ask(name, "has-session", "-t", f"={name}") is None:
        _start(name, _directory(directory))
    if not quiet:
        sys.stdout.write(f"Session {name} runs\n")
    return 0


def _start(name: str, directory: str) -> None:
    tmux = which("tmux", os.environ)
    if tmux is None:
        raise NoSession("there is no tmux: sudo apt-get install tmux", 127)
    _stay_after_logout()
    setting = ("start-server", ";", "set-option", "-g", "default-command", _PANE, ";")
    argv = ("tmux", "-L", name, *setting, "new-session", "-d", "-s", name, "-c", directory)
    child = Child(argv, tmux, environment(os.environ, name, os.getuid()), expendable=False)
    try:
        contain(child.pid, Scope(unit_name(f"session-{name}"), f"Session {name}"))
    except NotContained as error:
        sys.stderr.write(f"agent-session: {name} has no scope of its own, and may end with your login: {error}\n")
    except BaseException:
        child.give_up()
        raise
    child.let_go()
    child.wait()
    if child.code:
        raise NoSession(f"tmux did not start session {name}: exit status {child.code}")


def environment(now: Mapping[str, str], name: str, uid: int) -> dict[str, str]:
    """Return the environment that a session's server, and so everything in it, is started with."""
    kept = {key: value for key, value in now.items() if key not in _NOT_KEPT}
    return {"XDG_RUNTIME_DIR": f"/run/user/{uid}", "SHELL": "/bin/sh", **kept, crashes.SESSION: name}


def _directory(wished: str) -> str:
    if wished:
        if not os.path.isdir(wished):
            raise NoSession(f"there is no directory {printable(wished)!r}", 3)
        return os.path.abspath(wished)
    work = os.path.join(os.path.expanduser("~"), "work")
    os.makedirs(work, exist_ok=True)
    return work


def _stay_after_logout() -> None:
    """See that this user's service manager stays: otherwise it ends with the last login, and what runs below it."""
    import pwd

    if os.getuid() == 0:
        return
    name = pwd.getpwuid(os.getuid()).pw_name
    mark = f"/var/lib/systemd/linger/{name}"
    for argv in (["loginctl", "enable-linger"], ["sudo", "-n", "loginctl", "enable-linger", name]):
        if os.path.exists(mark):
            return
        _run(argv)
    if not os.path.exists(mark):
        sys.stderr.write(f"agent-session: it ends when you log out, unless: sudo loginctl enable-linger {name}\n")


def pane() -> int:
    """Be a pane: a login shell in a scope of its own; without one it is still a shell."""
    shell = os.environ.get("SHELL") or "/bin/sh"
    child = os.getpid()
    try:
        contain(child, Scope(unit_name(f"pane-{os.environ.get(crashes.SESSION, '')}"), "A pane of a session"))
    except NotContained as error:
        sys.stderr.write(f"agent-session: this pane has no scope of its own: {error}\n")
    import signal

    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.execv(shell, [f"-{os.path.basename(shell)}"])


def sessions() -> Iterator[Session]:
    """Yield the sessions of this user that run."""
    folder = f"{os.environ.get('TMUX_TMPDIR') or '/tmp'}/tmux-{os.getuid()}"
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    form = "#{session_attached} #{pane_current_command}\t#{pane_current_path}"
    for name in names:
        said = _ask(name, "list-panes", "-t", f"={name}:", "-F", form) if _NAME.fullmatch(name) else None
        if not said:
            continue
        first, _, directory = said.splitlines()[0].partition("\t")
        attached, _, program = first.partition(" ")
        yield Session(name, attached != "0", printable(program, 24), printable(directory, 60))


def show() -> int:
    """Print the sessions."""
    found = list(sessions())
    width = max((len(session.name) for session in found), default=0)
    for session in found:
        state = "attached" if session.attached else "detached"
        sys.stdout.write(f"{session.name:<{width}}  {state}  {session.program:<12} {session.directory}\n")
    if not found:
        sys.stdout.write("No session runs; start one: agent-session\n")
    return 0


def show_crashes(name: str = "") -> int:
    """Print the latest crashes, of one session or all."""
    path = crashes.path(os.path.expanduser("~"))
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line for line in file if not name or f" session={name} " in line]
    except FileNotFoundError:
        lines = []
    sys.stdout.write("".join(lines[-_SHOWN_CRASHES:]) or "No agent has crashed\n")
    return 0


def end(name: str) -> int:
    """End a session with everything in it."""
    if _ask(name, "kill-server") is None:
        raise NoSession(f"there is no session {name}", 3)
    sys.stdout.write(f"Session {name} has ended\n")
    return 0


def _ask(name: str, *words: str) -> str | None:
    """Ask a session's server. Returns None when there is none, or it refuses."""
    return _run(["tmux", "-L", name, *words])


def _run(argv: list[str]) -> str | None:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
