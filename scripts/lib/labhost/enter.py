"""Run commands inside a lab: join its namespaces, change user, pass signals and the exit status through."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from labhost import namespaces
from labhost.errors import LabError
from labhost.packages import SEARCH_PATH
from labhost.place import Init, Place

PASSED_ON = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
SI_KERNEL = 0x80  # siginfo of a signal from the terminal: it reached the command as well
CALLERS_OWN = ("SUDO_", "XDG_", "DBUS_", "SSH_AUTH_SOCK", "MAIL")
NOT_FOUND, NOT_EXECUTABLE = 127, 126


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a command runs as inside the lab."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str


def run_inside(init: Init, argv: Sequence[str]) -> None:
    """Run a command as root inside the lab and raise when it fails."""
    command = ["nsenter", "-t", str(init.pid), "-m", "-n", "-p", "--", *argv]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        raise LabError(result.stderr.strip() or f"{argv[0]} failed", code=result.returncode)


def run_command(place: Place, init: Init, argv: Sequence[str], *, user: str | None) -> int:
    """Run a command in the lab in the foreground and return its exit status, 128 + n for a signal."""
    folder = get_working_directory()
    namespaces.join_host(init.pid)
    identity = get_identity(user or "root")
    signal.pthread_sigmask(signal.SIG_BLOCK, {*PASSED_ON, signal.SIGCHLD})
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _become_command(place, argv, identity, folder)
    return _accompany(child)


def get_identity(user: str) -> Identity:
    """Look a user up inside the lab: a name, or UID:GROUP for one without an account."""
    if ":" in user:
        return _get_numeric_identity(user)
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise LabError(f"User {user!r} does not exist in the lab", code=3) from None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Identity(entry.pw_uid, entry.pw_gid, groups, entry.pw_name, entry.pw_dir)


def _get_numeric_identity(user: str) -> Identity:
    uid, _, group = user.partition(":")
    try:
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        return Identity(int(uid), gid, (gid,), uid, "/")
    except (KeyError, ValueError):
        raise LabError(f"User {user!r} is neither a name nor UID:GROUP", code=2) from None


def make_environment(place: Place, identity: Identity) -> dict[str, str]:
    """Return the caller's environment with everything that belongs to another user replaced."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(CALLERS_OWN)}
    kept.setdefault("PATH", SEARCH_PATH)
    kept.update(MOLTFLEET_LAB=place.name, XDG_RUNTIME_DIR=f"/run/user/{identity.uid}")
    if identity.uid != 0:
        kept.update(HOME=identity.home, USER=identity.name, LOGNAME=identity.name, SHELL="/bin/bash")
    else:
        kept.setdefault("HOME", "/root")
    return kept


def _become_command(place: Place, argv: Sequence[str], identity: Identity, folder: str) -> None:
    """Change to the identity and execute the command; never returns."""
    try:
        namespaces.give_up_clock()
        os.setgroups(identity.groups)
        os.setgid(identity.gid)
        os.setuid(identity.uid)
        namespaces.die_with_parent(signal.SIGTERM)
        environment = make_environment(place, identity)
        _change_directory(folder, environment["HOME"], "/")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*PASSED_ON, signal.SIGCHLD})
        os.execvpe(argv[0], list(argv), environment)
    except FileNotFoundError:
        _say(f"lab: {argv[0]}: command not found")
        os._exit(NOT_FOUND)
    except OSError as error:
        _say(f"lab: {argv[0]}: {error.strerror}")
    finally:
        os._exit(NOT_EXECUTABLE)


def get_working_directory() -> str:
    """Return the caller's directory, or the root if it has been removed."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return "/"


def _change_directory(*candidates: str) -> None:
    for folder in candidates:
        with suppress(OSError):
            os.chdir(folder)
            return


def _say(text: str) -> None:
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())


def _accompany(child: int) -> int:
    """Pass signals on until the child ends; return its exit status."""
    while True:
        received = signal.sigwaitinfo({*PASSED_ON, signal.SIGCHLD})
        if received.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return 128 - code if code < 0 else code
        elif received.si_code != SI_KERNEL:
            with suppress(ProcessLookupError):
                os.kill(child, received.si_signo)
