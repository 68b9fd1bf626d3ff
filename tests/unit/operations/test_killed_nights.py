"""Nights that are killed after each change that they make: what is told is true, and the next night completes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from fakes import Killed, Process, World, effects_told_to
from fakes.leakynight import ALL, LEAKING, NIGHT, a_leaky_world
from fakes.soundness import unsound
from moltfleet.model.errors import ToolFailed
from moltfleet.model.nightly import Night, Outcome, State, StepName
from moltfleet.operations.nightly import NightRequest, run_night
from moltfleet.operations.nights import last_night

# More changes than a night makes that molts two clones, and one that also warms three; a test holds it to that.
CHANGES, CHANGES_WHEN_STALE = 40, 100


def a_stale_world() -> World:
    """A leaky world after an upgrade of QEMU: no RAM image is of any use any more."""
    world = a_leaky_world()
    world.hypervisor.facts = replace(world.hypervisor.facts, qemu_version=9_001_000)
    return world


@cache
def changes_of(request: NightRequest, make: Callable[[], World] = a_leaky_world) -> tuple[str, ...]:
    process, world = Process(), make()
    with effects_told_to(process):
        run_night(world.process(process), request)
    return tuple(process.changes)


def killed_after(change: int, request: NightRequest = NIGHT, make: Callable[[], World] = a_leaky_world) -> World:
    """A world in which a night was killed right after so many changes."""
    world = make()
    process = Process(kill_after=change)
    with effects_told_to(process), pytest.raises(Killed):
        run_night(world.process(process), request)
    return world


def untrue(world: World, night: Night) -> list[str]:
    """What a journal claims that is not so, or keeps to itself although it is done."""
    wrong = []
    for clone in night.clones:
        is_molted = world.record(clone.clone).top != f"{clone.clone}.1.qcow2"
        if clone.state is State.DONE and not is_molted:
            wrong.append(f"{clone.clone} was not molted")
        if clone.state in (State.WAITING, State.LEFT) and not clone.warmed and is_molted:
            wrong.append(f"{clone.clone} was molted, and it is not told")
    return wrong


@pytest.mark.parametrize("change", range(1, CHANGES))
def test_killed_after_any_change_the_truth_is_told_and_the_next_night_completes_it(change: int) -> None:
    check_kill(min(change, len(changes_of(NIGHT))), a_leaky_world)


@pytest.mark.parametrize("change", range(30, CHANGES_WHEN_STALE, 7))
def test_it_is_so_for_a_night_that_makes_stale_ram_anew(change: int) -> None:
    check_kill(min(change, len(changes_of(NIGHT, a_stale_world))), a_stale_world)


def check_kill(change: int, make: Callable[[], World]) -> None:
    world = killed_after(change, make=make)
    journal, last = world.nights.latest(), last_night(world.fleet)
    if journal is not None:
        assert last is not None
        assert last.outcome is (Outcome.OK if journal.outcome is Outcome.OK else Outcome.INTERRUPTED)
        assert untrue(world, journal) == []
    world.clock.sleep(3600 * 3)
    night = run_night(world.fleet, NIGHT)
    assert (night.outcome, night.failures) == (Outcome.OK, ())
    # Both are molted, by the one night or by the other, and neither of them twice.
    assert [world.record(name).top != f"{name}.1.qcow2" for name in LEAKING] == [True, True]
    assert [one.after for one in night.clones] == ["ok"] * 3
    assert all(world.chronicle.molts()[name].molts == 1 for name in world.chronicle.molts())
    assert unsound(world) == []
    if journal is not None and journal.outcome is not Outcome.OK:
        first = world.nights.all()[0]
        assert (first.outcome, night.continues) == (Outcome.INTERRUPTED, first.started_at)
        assert "was interrupted" in world.nights.reports[first.started_at]
        assert [one.state for one in first.clones if one.state is State.RUNNING] == []


def test_there_is_no_change_that_no_test_kills_after() -> None:
    changes = changes_of(NIGHT)
    assert len(changes) < CHANGES
    assert 70 < len(changes_of(NIGHT, a_stale_world)) < CHANGES_WHEN_STALE
    assert {"nights.write", "nights.file_report", "hypervisor.restore", "storage.create_overlay"} <= set(changes)


def test_a_clone_that_was_under_way_is_told_as_that() -> None:
    changes = changes_of(NIGHT)
    world = killed_after(changes.index("hypervisor.restore") + 1)
    night = run_night(world.fleet, NIGHT)
    first = world.nights.all()[0]
    fast = first.clone("fast")
    assert fast is not None
    assert (fast.state, fast.stage) == (State.INTERRUPTED, "rescue and molt")
    assert first.step(StepName.MOLT).state is State.INTERRUPTED
    assert first.step(StepName.HEALTH).state is State.LEFT
    assert night.step(StepName.REPAIR).detail == "finished what 1 clone had left open"
    assert world.notifier.told[0].text.endswith("was interrupted in step molt")


def test_who_was_still_waiting_comes_first_when_all_are_molted() -> None:
    changes = changes_of(ALL)
    last_molt = len(changes) - 1 - changes[::-1].index("hypervisor.restore")
    world = killed_after(last_molt, ALL)
    left = world.nights.all()[0]
    open_ones = {one.clone for one in left.clones if one.is_open}
    assert len(open_ones) == 1
    world.clock.sleep(60)
    night = run_night(world.fleet, ALL)
    # The others cool down.
    assert {one.clone for one in night.clones if one.state is State.DONE} <= open_ones
    assert night.outcome is Outcome.OK


def test_ctrl_c_ends_a_night_with_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_leaky_world()

    def interrupt(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("moltfleet.operations.nightclones.molt", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_night(world.fleet, NIGHT)
    (night,) = world.nights.all()
    assert (night.outcome, night.step(StepName.MOLT).state) == (Outcome.INTERRUPTED, State.INTERRUPTED)
    assert night.started_at in world.nights.reports
    monkeypatch.undo()
    world.clock.sleep(60)
    # It is told already, so nothing is said of it again.
    assert run_night(world.fleet, NIGHT).continues is None


def test_a_night_whose_journal_cannot_be_written_any_more_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_leaky_world()
    write = world.nights.write

    def full_in_the_end(night: Night) -> None:
        if world.nights.writes >= 8:
            world.nights.is_full = True
        write(night)

    monkeypatch.setattr(world.nights, "write", full_in_the_end)
    with pytest.raises(ToolFailed):
        run_night(world.fleet, NIGHT)
    last = last_night(world.fleet)
    assert last is not None
    assert last.outcome is Outcome.INTERRUPTED
