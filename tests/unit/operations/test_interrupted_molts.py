"""Interrupted molts and undos: work that came after the interruption is kept, and a molt is a way out, done once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fakes import Killed, Process, World, a_world, effects_told_to
from fakes.soundness import repair_all, unsound
from moltfleet.model.effects import Effect
from moltfleet.model.records import Verb
from moltfleet.model.requests import MoltRequest
from moltfleet.model.results import MoltResult
from moltfleet.operations import kept, molt, start, undo
from moltfleet.operations.fleet import Fleet
from moltfleet.progress import RecordingProgress

MOLT: Callable[[Fleet], object] = lambda fleet: molt.molt(fleet, ["crab-1"], MoltRequest())  # noqa: E731
UNDO: Callable[[Fleet], object] = lambda fleet: undo.undo(fleet, "crab-1")  # noqa: E731


def prepared() -> World:
    """crab-1 with "old" work on its shed layer, "new" work on its top."""
    world = a_world(clones=("crab-1",))
    world.guest("crab-1").write("work", "old")
    MOLT(world.fleet)
    world.guest("crab-1").write("work", "new")
    return world


def killed_at(effect: Effect, act: Callable[[Fleet], object]) -> World:
    """The prepared world after an act in it was killed right after an effect."""
    undisturbed, other, world = Process(), prepared(), prepared()
    with effects_told_to(undisturbed):
        act(other.process(undisturbed))
    process = Process(kill_at_effect=undisturbed.effects.index(effect) + 1)
    with effects_told_to(process), pytest.raises(Killed):
        act(world.process(process))
    return world


def lose_power(world: World) -> None:
    world.hypervisor.destroy("crab-1")


def work_on(world: World, text: str = "later") -> None:
    """Use a clone that looks ready, for longer than a molt takes."""
    world.clock.sleep(300)
    world.guest("crab-1").write("work", text)


def molt_one(world: World, **options: object) -> MoltResult:
    world.hypervisor.commands.clear()
    (result,) = molt.molt(world.fleet, ["crab-1"], MoltRequest(**options))  # type: ignore[arg-type]
    return result


def everywhere(world: World) -> set[str | None]:
    """What the layers hold that the record can go back to."""
    record = world.record("crab-1")
    tops = [record.top, *([record.shed.volume] if record.shed else []), *(layer.volume for layer in record.kept)]
    return {world.storage.content(volume).get("work") for volume in tops}


# Work on the new layer of a molt


@pytest.mark.parametrize("next_command", ["start", "molt", "undo"])
def test_work_after_a_killed_molt_survives_the_power_loss_that_came_then(next_command: str) -> None:
    world = killed_at(Effect.MOLT_READIED, MOLT)
    work_on(world)
    lose_power(world)
    result = {
        "start": lambda: start.start(world.fleet, ["crab-1"])[0],
        "molt": lambda: molt_one(world),
        "undo": lambda: undo.undo(world.fleet, "crab-1"),
    }[next_command]()
    assert result.error is None
    (layer,) = world.record("crab-1").kept
    assert layer.label and layer.label.startswith("interrupted-2026-11-20t")
    assert {"later", "new"} <= everywhere(world)
    assert any(f"kept as {layer.label!r}" in text for text in world.progress.texts("say"))
    assert unsound(world) == []
    assert kept.restore(world.fleet, "crab-1", layer.label).error is None
    assert world.guest("crab-1").read("work") == "later"


def test_work_is_kept_when_the_guest_that_holds_it_does_not_answer_any_more() -> None:
    world = killed_at(Effect.MOLT_READIED, MOLT)
    work_on(world)
    world.hypervisor.behave("crab-1", hangs=True)
    molt_one(world)
    world.hypervisor.behave("crab-1", hangs=False)
    repair_all(world.fleet)
    assert {"later", "new"} <= everywhere(world)
    assert unsound(world) == []


def test_work_is_kept_when_the_clean_point_turns_out_to_be_void() -> None:
    world = killed_at(Effect.MOLT_READIED, MOLT)
    work_on(world)
    lose_power(world)
    world.storage.write(world.storage.path_of("crab-1.clean.qcow2"), "blockcommit", "yes")
    (result,) = start.start(world.fleet, ["crab-1"])
    assert result.error and "was written to" in result.error.brief
    assert {"later", "new"} <= everywhere(world)


def test_a_layer_that_was_only_restored_on_goes(world: World) -> None:
    world = killed_at(Effect.MOLT_READIED, MOLT)
    world.clock.sleep(5)
    world.guest("crab-1").write("log", "of the restore")
    lose_power(world)
    start.start(world.fleet, ["crab-1"])
    assert world.record("crab-1").kept == ()
    assert unsound(world) == []


def test_layers_of_attempts_that_failed_do_not_pile_up() -> None:
    world = prepared()
    world.hypervisor.behave("crab-1", needs="nothing that a molt brings")
    for _ in range(3):
        assert molt_one(world).error is not None
        running = world.hypervisor.machines["crab-1"].running
        assert running
        # What a guest writes that boots and never gets ready.
        world.storage.write(running.chain[0], "log", "of a boot")
    assert world.record("crab-1").kept == ()


# One molt, not two


def restores(world: World) -> int:
    return sum("after-molt.sh" in command for _, command in world.hypervisor.commands)


@pytest.mark.parametrize("effect", [Effect.MOLT_JOURNALLED, Effect.MOLT_REDEFINED, Effect.MOLT_DESTROYED])
def test_a_molt_of_a_clone_with_an_interrupted_one_is_done_once(effect: Effect) -> None:
    world = killed_at(effect, MOLT)
    result = molt_one(world)
    assert (result.outcome, result.mode, restores(world)) == ("molted", "warm", 1)
    record = world.record("crab-1")
    assert record.shed and world.storage.content(record.shed.volume)["work"] == "new"
    assert unsound(world) == []


@pytest.mark.parametrize("now", [None, "", "tuesday"])
def test_the_label_given_now_counts_and_else_the_one_of_the_interrupted_molt(now: str | None) -> None:
    world = killed_at(Effect.MOLT_DESTROYED, lambda fleet: molt.molt(fleet, ["crab-1"], MoltRequest(keep="monday")))
    result = molt_one(world, keep=now)
    (layer,) = world.record("crab-1").kept
    assert result.kept == layer.label
    assert layer.label == now or (now is None and layer.label == "monday") or now == ""
    assert world.storage.content(layer.volume)["work"] == "new"


def test_a_cold_molt_after_an_interrupted_one_is_cold() -> None:
    world = killed_at(Effect.MOLT_DESTROYED, MOLT)
    result = molt_one(world, cold=True)
    assert (result.mode, result.reason) == ("cold", "asked for")


def test_a_guest_that_does_not_come_back_is_molted_once_with_one_deadline() -> None:
    world = killed_at(Effect.MOLT_STARTED, MOLT)
    world.hypervisor.behave("crab-1", shows_banner=False)
    result = molt_one(world)
    assert result.error is not None
    record = world.record("crab-1")
    assert record.pending and record.pending.verb is Verb.MOLT
    world.hypervisor.behave("crab-1", shows_banner=True)
    assert molt_one(world).outcome == "molted"
    assert "new" in everywhere(world)
    assert unsound(world) == []


def test_a_start_that_cannot_finish_a_molt_says_the_two_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    world = killed_at(Effect.MOLT_DESTROYED, MOLT)
    world.hypervisor.behave("crab-1", needs="work")
    hints: list[str] = []
    monkeypatch.setattr(RecordingProgress, "warn", lambda _, text, *, hint=None: hints.append(hint or ""))
    (result,) = start.start(world.fleet, ["crab-1"])
    assert result.error is not None
    assert hints[-1] == "Molt it again: moltfleet molt crab-1. Or take it back: moltfleet undo crab-1"
    assert undo.undo(world.fleet, "crab-1").error is None
    assert world.guest("crab-1").read("work") == "new"


# Past an undo


@pytest.mark.parametrize("effect", [Effect.UNDO_JOURNALLED, Effect.UNDO_DESTROYED, Effect.UNDO_REDEFINED])
def test_a_molt_does_not_finish_an_interrupted_undo_first(effect: Effect) -> None:
    world = killed_at(effect, UNDO)
    started = world.clock.monotonic()
    result = molt_one(world)
    assert (result.outcome, result.mode) == ("molted", "warm")
    assert world.clock.monotonic() - started < 5
    record = world.record("crab-1")
    assert record.shed and world.storage.content(record.shed.volume)["work"] == "new"
    assert unsound(world) == []


def test_work_after_a_killed_undo_is_what_a_molt_sheds() -> None:
    world = killed_at(Effect.UNDO_STARTED, UNDO)
    work_on(world)
    lose_power(world)
    assert molt_one(world).outcome == "molted"
    assert "later" in everywhere(world)
    assert unsound(world) == []


def test_work_after_a_killed_undo_is_kept_when_its_layer_does_not_boot_any_more() -> None:
    world = killed_at(Effect.UNDO_STARTED, UNDO)
    work_on(world)
    world.hypervisor.behave("crab-1", needs="works")
    world.storage.write(world.storage.path_of("crab-1.2.qcow2"), "works", "yes")
    lose_power(world)
    (result,) = start.start(world.fleet, ["crab-1"])
    assert result.outcome == "started"
    assert world.guest("crab-1").read("work") == "new"
    assert "later" in everywhere(world)
    assert [layer.label for layer in world.record("crab-1").kept] != []
    assert unsound(world) == []
