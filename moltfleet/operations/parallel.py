"""Several targets side by side: bounded, one failure leaving the others, Ctrl-C ending the work of all."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from moltfleet.model.ports import Clock

_R = TypeVar("_R")
# How long an interrupted command waits for its threads to notice; a second Ctrl-C ends that, too.
_PATIENCE_S = 5.0


class Abandoned(KeyboardInterrupt):
    """The command that this thread works for was interrupted, and clears away what it made."""


class _Worker(threading.Thread):
    """A thread that can be told that nobody waits for it any more.

    A daemon: what it leaves half-done because it does not notice in time is what the journal is for.
    """

    def __init__(self, work: Callable[[], None], is_abandoned: threading.Event) -> None:
        super().__init__(target=work, daemon=True)
        self.is_abandoned = is_abandoned


def check_wanted() -> None:
    """End the thread that calls this when its command was interrupted. Raises: Abandoned."""
    thread = threading.current_thread()
    if isinstance(thread, _Worker) and thread.is_abandoned.is_set():
        raise Abandoned


def pause(clock: Clock, seconds: float) -> None:
    """Wait between two looks at something, as long as somebody wants to know. Raises: Abandoned."""
    check_wanted()
    clock.sleep(seconds)
    check_wanted()


def each(targets: Sequence[str], act: Callable[[str], _R], *, jobs: int) -> tuple[_R, ...]:
    """Call ``act`` for each target, at most ``jobs`` at once; results in the order of the targets.

    ``act`` turns expected failures into results itself; anything it raises is raised here, after the others ended.
    On Ctrl-C no further target is begun, and waits that are made with :func:`pause` end.
    """
    if len(targets) <= 1 or jobs <= 1:
        return tuple(act(target) for target in targets)
    waiting: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
    for item in enumerate(targets):
        waiting.put(item)
    results: dict[int, _R] = {}
    failures: list[BaseException] = []
    is_abandoned = threading.Event()
    workers = [
        _Worker(lambda: _work(waiting, act, results, failures), is_abandoned) for _ in range(min(jobs, len(targets)))
    ]
    for worker in workers:
        worker.start()
    try:
        _await(workers)
    except BaseException:
        is_abandoned.set()
        _await(workers, until=time.monotonic() + _PATIENCE_S)
        raise
    if failures:
        raise failures[0]
    return tuple(results[index] for index in range(len(targets)))


def _await(workers: Sequence[threading.Thread], *, until: float = float("inf")) -> None:
    for worker in workers:
        # A join with a timeout can be interrupted; one without cannot.
        while worker.is_alive() and time.monotonic() < until:
            worker.join(0.2)


def _work(
    waiting: queue.SimpleQueue[tuple[int, str]],
    act: Callable[[str], _R],
    results: dict[int, _R],
    failures: list[BaseException],
) -> None:
    while True:
        try:
            index, target = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            check_wanted()
            results[index] = act(target)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(error)
            return
