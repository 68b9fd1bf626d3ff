"""What containment needs from the machine it runs on, as a Protocol; and the processes and programs it sees there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from moltfleet.model.domain import CommandResult
from moltfleet.model.size import Size


@dataclass(frozen=True, slots=True)
class Process:
    """A running process: its kernel name (at most 15 characters), its cgroup below the root, its OOM adjustment."""

    pid: int
    name: str
    cgroup: str
    oom_score_adj: int


@dataclass(frozen=True, slots=True)
class Entry:
    """Whom a file or directory belongs to, and its permission bits."""

    owner: int
    group: int
    mode: int


class Machine(Protocol):
    """This machine. Paths are absolute. Every method may raise a MoltfleetError, none a foreign one."""

    def is_root(self) -> bool:
        """Whether this process may change the machine."""

    def memory(self) -> Size:
        """The kernel's MemTotal."""

    def exists(self, path: str) -> bool:
        """Whether there is a file or directory."""

    def read(self, path: str) -> bytes | None:
        """A small file's content; None when there is none. Raises: HostUnavailable when it may not be read."""

    def mode(self, path: str) -> int:
        """A file's permission bits."""

    def entry(self, path: str) -> Entry | None:
        """Whom a file or directory belongs to, links followed; None when there is none, or none that is seen."""

    def write(self, path: str, content: bytes, *, mode: int) -> None:
        """Replace a file in one step, its directories made. Raises: WrongState for a symbolic link."""

    def remove(self, path: str) -> None:
        """Remove a file, if there is one."""

    def missing_directories(self, path: str) -> tuple[str, ...]:
        """The directories that would be made for a file, outermost first."""

    def remove_directory(self, path: str) -> bool:
        """Remove a directory; False when it is not empty. A missing one is fine."""

    def find_program(self, name: str) -> str | None:
        """The path of a program, also of one in a directory for root's programs."""

    def run(
        self, argv: Sequence[str], *, input: bytes = b"", check: bool = True, timeout_s: float = 60.0
    ) -> CommandResult:
        """Run a program to its end. Raises: ToolFailed (unless ``check`` is off), DeadlinePassed."""

    def units(self, names: Sequence[str], properties: Sequence[str]) -> tuple[Mapping[str, str], ...]:
        """Properties of systemd units as text, one mapping per unit that matches; ``Id`` is always there."""

    def processes(self, *prefixes: str) -> tuple[Process, ...]:
        """All processes whose name begins with one of these, sorted by number."""

    def free_page_reporting(self) -> Mapping[str, bool]:
        """For each running domain of libvirt, by name: whether its balloon reports free pages."""

    def hold(self) -> AbstractContextManager[None]:
        """Keep other containment runs out. Raises: Busy."""
