"""Several targets side by side: in order, bounded, one failure leaving the others."""

from __future__ import annotations

import threading
import time

import pytest

from moltfleet.operations.parallel import each


@pytest.mark.parametrize("jobs", [1, 2, 3, 100])
def test_results_come_in_the_order_of_the_targets(jobs: int) -> None:
    targets = [str(number) for number in range(20)]

    def act(target: str) -> str:
        time.sleep(0.001 * (20 - int(target)))
        return target * 2

    assert each(targets, act, jobs=jobs) == tuple(target * 2 for target in targets)


def test_no_more_than_the_wanted_number_is_at_work() -> None:
    at_work, most = 0, 0
    lock = threading.Lock()

    def act(_: str) -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.005)
        with lock:
            at_work -= 1

    each([str(number) for number in range(12)], act, jobs=3)
    assert most == 3


def test_what_one_raises_is_raised_after_the_others_ended() -> None:
    done: list[str] = []

    def act(target: str) -> None:
        if target == "0":
            raise ZeroDivisionError(target)
        time.sleep(0.01)
        done.append(target)

    with pytest.raises(ZeroDivisionError):
        each(["0", "1", "2", "3"], act, jobs=2)
    assert sorted(done) == ["1", "2", "3"]


def test_nothing_to_do_is_nothing_done() -> None:
    assert each([], lambda target: target, jobs=4) == ()


def test_a_single_target_is_done_in_the_callers_thread() -> None:
    assert each(["one"], lambda _: threading.current_thread(), jobs=4) == (threading.current_thread(),)
