"""The program in the scope: held back until its place is proven, then given every signal that we are given."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType

# Raised, never lowered: what the kernel ends first when memory runs out, and no protection that somebody handed down.
SCORE = 500
# What a terminal sends to everybody in the foreground, so that the program has it already.
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_HANDED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)
# Ignored by Python for its own sake.
_PYTHONS = (signal.SIGPIPE, signal.SIGXFSZ)


class Child:
    """A program that is about to be, is, or was."""

    def __init__(
        self, argv: Sequence[str], program: str, environment: Mapping[str, str], *, expendable: bool = True
    ) -> None:
        """Make its process, which waits. Everything about signals is as it was when we were started."""
        self.status: int | None = None
        self._expendable = expendable
        self._asleep, self._go = os.pipe()
        self._before = {number: signal.getsignal(number) for number in (*_FROM_TERMINAL, *_HANDED_ON)}
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            # Nobody could be told how it ended (wait(2)).
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.pid = os.fork()
        if self.pid == 0:
            self._become(argv, program, environment)
        os.close(self._asleep)

    def _become(self, argv: Sequence[str], program: str, environment: Mapping[str, str]) -> None:
        os.close(self._go)
        for number in (*_PYTHONS, *(n for n, was in self._before.items() if was is not signal.SIG_IGN)):
            signal.signal(number, signal.SIG_DFL)
        if os.read(self._asleep, 1) != b"g":
            os._exit(125)
        if self._expendable:
            raise_score()
        try:
            os.execve(program, list(argv), dict(environment))
        except OSError as error:
            sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
            sys.stderr.flush()
            os._exit(127 if isinstance(error, FileNotFoundError) else 126)

    def let_go(self) -> None:
        """Start the program; from now on signals are handed on to it."""
        for number in _FROM_TERMINAL:
            signal.signal(number, signal.SIG_IGN)
        for number in _HANDED_ON:
            if self._before[number] is not signal.SIG_IGN:
                signal.signal(number, self._hand_on)
        os.write(self._go, b"g")
        os.close(self._go)

    def give_up(self) -> None:
        """End a process that was never let go."""
        os.close(self._go)
        os.waitpid(self.pid, 0)

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return

    def has_ended(self) -> bool:
        """Look whether it has; one that was stopped from its terminal stops us, too, so that the shell sees it."""
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            if pid == 0:
                return False
            if os.WIFSTOPPED(status):
                os.kill(os.getpid(), signal.SIGSTOP)
                self._hand_on(signal.SIGCONT, None)
                continue
            self.status = status
        return True

    def wait(self) -> None:
        """Wait until it has ended."""
        while self.status is None:
            _, self.status = os.waitpid(self.pid, 0)

    @property
    def killed_by(self) -> int:
        """The signal that ended it, 0 for none."""
        return os.WTERMSIG(self.status) if self.status is not None and os.WIFSIGNALED(self.status) else 0

    @property
    def code(self) -> int:
        """The status that a shell would show."""
        if self.status is None:
            return 125
        return 128 + self.killed_by if self.killed_by else os.WEXITSTATUS(self.status)


def raise_score() -> None:
    """Be ended rather than others; raising needs no privilege, and what is higher stays (proc(5), oom_score_adj)."""
    try:
        with open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:
            if int(file.read()) < SCORE:
                file.write(str(SCORE).encode())
    except (OSError, ValueError):
        return


def end_alike(killed_by: int) -> None:
    """End by a signal as the program did, so that whoever waits sees the same; without a core of our own."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if killed_by != signal.SIGKILL:
        signal.signal(killed_by, signal.SIG_DFL)
    os.kill(os.getpid(), killed_by)
