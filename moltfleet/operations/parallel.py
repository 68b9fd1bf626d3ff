"""Several targets side by side: bounded, one failure leaving the others, Ctrl-C ending the wait at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

_R = TypeVar("_R")


def each(targets: Sequence[str], act: Callable[[str], _R], *, jobs: int) -> tuple[_R, ...]:
    """Call ``act`` for each target, at most ``jobs`` at once; results in the order of the targets.

    ``act`` turns expected failures into results itself; anything it raises is raised here, after the others ended.
    The threads are daemons: what an interrupt leaves half-done is what the journal is for.
    """
    if len(targets) <= 1 or jobs <= 1:
        return tuple(act(target) for target in targets)
    waiting: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
    for item in enumerate(targets):
        waiting.put(item)
    results: dict[int, _R] = {}
    failures: list[BaseException] = []
    workers = [
        threading.Thread(target=_work, args=(waiting, act, results, failures), daemon=True)
        for _ in range(min(jobs, len(targets)))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        # A join with a timeout can be interrupted; one without cannot.
        while worker.is_alive():
            worker.join(0.2)
    if failures:
        raise failures[0]
    return tuple(results[index] for index in range(len(targets)))


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
            results[index] = act(target)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(error)
            return
