"""Several targets side by side: in order, bounded, one failure leaving the others."""

from __future__ import annotations

import threading
import time

import pytest

from fakes import FakeClock, World
from fakes.soundness import unsound
from moltfleet.model.domain import Endpoint
from moltfleet.model.requests import BuildRequest, CreateRequest
from moltfleet.operations import create, golden_build, parallel
from moltfleet.operations.parallel import Abandoned, each, pause


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


# Ctrl-C


def interrupt_when(event: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C, once, when something has happened and the main thread waits for its workers."""
    join = threading.Thread.join
    presses = [KeyboardInterrupt]

    def interruptible(thread: threading.Thread, timeout: float | None = None) -> None:
        if event.is_set() and presses:
            raise presses.pop()
        join(thread, 0.01 if timeout else timeout)

    monkeypatch.setattr(threading.Thread, "join", interruptible)


def test_an_interrupt_ends_waits_and_begins_no_further_target(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended, at_work = [], [], threading.Event()

    def act(target: str) -> None:
        begun.append(target)
        at_work.set()
        try:
            while True:
                pause(FakeClock(), 1)
                time.sleep(0.001)
        except Abandoned:
            ended.append(target)
            raise

    interrupt_when(at_work, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        each(["0", "1", "2", "3"], act, jobs=2)
    assert sorted(begun) == sorted(ended)
    assert set(begun) <= {"0", "1"}


def test_a_worker_that_does_not_notice_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    at_work, release = threading.Event(), threading.Event()

    def act(_: str) -> None:
        at_work.set()
        release.wait(timeout=10)

    monkeypatch.setattr(parallel, "_PATIENCE_S", 0.05)
    interrupt_when(at_work, monkeypatch)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        each(["0", "1"], act, jobs=2)
    assert time.monotonic() - started < 5
    release.set()


def test_nobody_abandons_the_main_thread() -> None:
    clock = FakeClock()
    pause(clock, 3)
    assert clock.monotonic() == FakeClock().monotonic() + 3


def wait_for_banners(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let guests boot for as long as it takes, and interrupt that."""
    at_work = threading.Event()

    def no_banner(_: Endpoint, *, timeout_s: float) -> None:
        at_work.set()
        time.sleep(0.005)

    monkeypatch.setattr(world.guests, "banner", no_banner)
    interrupt_when(at_work, monkeypatch)


def test_interrupted_while_several_clones_boot_all_are_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(jobs=3)
    world.add_golden()
    wait_for_banners(world, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        create.create(world.fleet, CreateRequest("base", count=3))
    assert set(world.hypervisor.machines) == {"base"}
    assert unsound(world) == []


def test_interrupted_while_a_golden_is_proven_nothing_of_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(jobs=2)
    banner = world.guests.banner
    at_work = threading.Event()

    def no_banner_of_probes(endpoint: Endpoint, *, timeout_s: float) -> str | None:
        if "probe" not in endpoint.name:
            return banner(endpoint, timeout_s=timeout_s)
        at_work.set()
        time.sleep(0.005)
        return None

    monkeypatch.setattr(world.guests, "banner", no_banner_of_probes)
    interrupt_when(at_work, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        golden_build.build(world.fleet, BuildRequest("two", "debian-12", profile="minimal"))
    assert world.hypervisor.machines == {}
    assert unsound(world) == []
    assert not [thread for thread in threading.enumerate() if isinstance(thread, parallel._Worker)]
