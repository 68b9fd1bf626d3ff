"""The one door to other programs on this machine; it takes an argument list and refuses a shell."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from moltfleet.model.errors import DeadlinePassed, ToolFailed
from moltfleet.model.names import printable_lines

_LOG = logging.getLogger(__name__)
_CONVERSING: list[subprocess.Popen[bytes]] = []
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished program. ``exit_code`` is negative for the signal that ended it."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text, for parsing; not safe for a terminal."""
        return self.stdout.decode("utf-8", "replace")


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    input: bytes | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> RunResult:
    """Run a program to its end and return what it wrote.

    Standard input is empty unless ``input`` is given; the environment is PATH, HOME, the C.UTF-8 locale and ``env``.
    With ``check`` an exit status other than 0 raises. The arguments are logged, so no secret belongs there.

    Raises: ToolFailed, with the program's standard error in the details; DeadlinePassed, the program being killed.
    """
    _LOG.debug("running %s", shlex.join(argv))
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL if input is None else None,
            input=input,
            capture_output=True,
            timeout=timeout_s,
            env=_environment(env),
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _late(argv, timeout_s, error) from error
    except OSError as error:
        raise _not_started(argv, error) from error
    result = RunResult(tuple(argv), done.returncode, done.stdout, done.stderr)
    if check and result.exit_code != 0:
        raise failure(result)
    return result


def hand_over(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
    """Let a program have this terminal until it ends; returns its exit status (128+n for a signal).

    It gets our whole environment beside ``env``, as terminal programs need it, and Ctrl-C is its own affair meanwhile.

    Raises: ToolFailed when it cannot be started.
    """
    _LOG.debug("handing the terminal to %s", shlex.join(argv))
    with _keyboard_signals_left_alone():
        try:
            child = subprocess.Popen(list(argv), env={**os.environ, **(env or {})})
        except OSError as error:
            raise _not_started(argv, error) from error
        status = child.wait()
    return 128 - status if status < 0 else status


def converse(argv: Sequence[str]) -> socket.socket:
    """Start a program and return its standard input and output as one socket; it is to end when that is closed.

    It gets our whole environment, as ssh finds its agent there; what it says of itself is nobody's to read.

    Raises: ToolFailed when it cannot be started.
    """
    _LOG.debug("conversing with %s", shlex.join(argv))
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            _CONVERSING.append(
                subprocess.Popen(
                    list(argv),
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
    except OSError as error:
        ours.close()
        raise _not_started(argv, error) from error
    # Those that have ended are not waited for otherwise.
    _CONVERSING[:] = [process for process in _CONVERSING if process.poll() is None]
    return ours


def failure(result: RunResult) -> ToolFailed:
    """Build the error for a program that ended with a failure."""
    program = Path(result.argv[0]).name
    said = printable_lines(result.stderr.decode("utf-8", "replace").strip())
    how = f"exit status {result.exit_code}" if result.exit_code >= 0 else _signal_name(-result.exit_code)
    last = said.splitlines()[-1][:200] if said else ""
    return ToolFailed(
        f"Program {program!r} failed ({how})" + (f": {last}" if last else ""),
        details=f"{shlex.join(result.argv)}\n{said}".strip(),
    )


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    kept = {"PATH": os.environ.get("PATH", _DEFAULT_PATH), "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C.UTF-8"}
    return {**kept, **(extra or {})}


def _late(argv: Sequence[str], timeout_s: float, error: subprocess.TimeoutExpired) -> DeadlinePassed:
    said = printable_lines((error.stderr or b"").decode("utf-8", "replace"))
    return DeadlinePassed(
        f"Program {Path(argv[0]).name!r} did not end within {timeout_s:g} s",
        details=f"{shlex.join(argv)}\n{said}".strip(),
    )


def _not_started(argv: Sequence[str], error: OSError) -> ToolFailed:
    program = argv[0]
    if isinstance(error, FileNotFoundError):
        return ToolFailed(
            f"Program {program!r} is not installed",
            details=str(error),
            hint=f"Install the package that contains {Path(program).name}, or correct PATH.",
        )
    return ToolFailed(f"Program {program!r} cannot be started: {error.strerror}", details=str(error))


def _signal_name(number: int) -> str:
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:
        return f"killed by signal {number}"


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Outlive a signal. Not SIG_IGN: an ignored signal would stay ignored in the child, a handler does not."""


@contextlib.contextmanager
def _keyboard_signals_left_alone() -> Iterator[None]:
    # The terminal sends Ctrl-C and Ctrl-\ to the child as well, being in the same process group.
    before = {number: signal.signal(number, _nothing) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
