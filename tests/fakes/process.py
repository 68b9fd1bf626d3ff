"""A process that can be killed, or told that a call failed, at any point: every port of its fleet asks it first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from moltfleet.model.effects import Effect
from moltfleet.model.errors import MoltfleetError

# Calls that change something beyond the process.
CHANGING = frozenset(
    {
        ("hypervisor", method)
        for method in (
            "define",
            "write_record",
            "set_disk",
            "start",
            "destroy",
            "suspend",
            "resume",
            "request_shutdown",
            "undefine",
            "save",
            "restore",
            "freeze_disk",
            "discard_snapshots",
            "authorize_key",
        )
    }
    | {("takeover", method) for method in ("take", "give_back")}
    | {("nights", method) for method in ("write", "file_report")}
    | {("host_logins", "merge")}
    | {("storage", method) for method in ("create_overlay", "create_empty", "upload", "copy_flat", "delete")}
)


class Killed(BaseException):
    """The process is no more; not an Exception, as no handler of a killed process runs."""


class Process:
    """One run of the program. Its ports stop answering when it is killed, so that no clean-up of its own can work.

    ``kill_after`` and ``fail_at`` count changing calls from 1; ``kill_at_effect`` counts effects.
    """

    def __init__(
        self,
        *,
        kill_after: int = 0,
        kill_at_effect: int = 0,
        fail_at: int = 0,
        error: MoltfleetError | None = None,
    ) -> None:
        self.changes: list[str] = []
        self.effects: list[Effect] = []
        self.is_dead = False
        # Tells whether room is kept for a domain; set by the host that the process is on.
        self.has_room: Callable[[str], bool] = lambda name: True
        self._kill_after = kill_after
        self._kill_at_effect = kill_at_effect
        self._fail_at = fail_at
        self._error = error
        self._lock = threading.Lock()

    def before(self, port: str, method: str) -> None:
        """Called before a port does anything."""
        with self._lock:
            if self.is_dead:
                raise Killed
            is_next = (port, method) in CHANGING and len(self.changes) + 1 == self._fail_at
            if is_next and self._error is not None:
                self._fail_at = 0
                raise self._error

    def after(self, port: str, method: str) -> None:
        """Called when a port has done its work."""
        if (port, method) not in CHANGING:
            return
        with self._lock:
            self.changes.append(f"{port}.{method}")
            if len(self.changes) == self._kill_after:
                self._die()

    def on_effect(self, effect: Effect) -> None:
        """Called when the program logged an effect."""
        with self._lock:
            if self.is_dead:
                raise Killed
            self.effects.append(effect)
            if len(self.effects) == self._kill_at_effect:
                self._die()

    def _die(self) -> None:
        self.is_dead = True
        raise Killed


class Watched:
    """A port as one process sees it."""

    def __init__(self, target: object, port: str, process: Process) -> None:
        self.target = target
        self._port = port
        self.process = process

    def __getattr__(self, method: str) -> Any:
        value = getattr(self.target, method)
        if not callable(value):
            return value

        def call(*args: Any, **options: Any) -> Any:
            self.process.before(self._port, method)
            if (self._port, method) in (("hypervisor", "start"), ("hypervisor", "restore")):
                assert self.process.has_room(args[0]), f"{args[0]} was brought up, and no room was kept for it"
            result = value(*args, **options)
            self.process.after(self._port, method)
            return result

        return call


class _EffectHandler(logging.Handler):
    def __init__(self, tell: Callable[[Effect], None]) -> None:
        super().__init__(logging.INFO)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.effect)  # type: ignore[attr-defined]


@contextmanager
def effects_told_to(process: Process) -> Iterator[None]:
    """Let a process know each effect at the moment it is logged."""
    logger = logging.getLogger("moltfleet.effects")
    handler, level = _EffectHandler(process.on_effect), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
