"""What a clone keeps through molts: logins that were renewed in it come back first, and go in again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import pytest

from fakes import Killed, Process, World, a_world, effects_told_to, guestlogins
from fakes.guestlogins import HOME
from fakes.guests import FakeGuest
from fakes.soundness import repair_all, unsound
from moltfleet.model.domain import CommandResult
from moltfleet.model.effects import Effect
from moltfleet.model.errors import ExitCode, GuestFailed, NoSpace, WrongState
from moltfleet.model.logins import SyncRequest
from moltfleet.model.requests import NEWEST, BuildRequest, MoltRequest, StopRequest
from moltfleet.operations import (
    delete,
    golden_build,
    kept,
    listing,
    molt,
    repair,
    snapshots,
    start,
    stop,
    sync_auth,
    undo,
    warm,
)
from moltfleet.operations.fleet import Fleet

CODEX = ".codex/auth.json"
MINE = ".mytool/token"


def world_with_logins(*clones: str, allow: tuple[str, ...] = ("codex", "gh")) -> World:
    """A host that has logins, and clones that have none of them yet."""
    world = a_world(
        clones=clones or ("crab-1",),
        logins={"allow": list(allow), "more": {"mytool": {"files": [f"~/{MINE}"], "rotates": True}}},
    )
    world.host_logins.has(CODEX, token(world, 0))
    world.host_logins.has(".config/gh/hosts.yml", "oauth_token: gho_0")
    return world


def token(world: World, number: int) -> str:
    moment = 1_763_629_200 + 60 * number
    return json.dumps({"last_refresh": moment, "refresh_token": f"secret-{number}"})


def sync(world: World, *names: str, **request: object) -> sync_auth.SyncResult:
    (result,) = sync_auth.sync_auth(world.fleet, names or ("crab-1",), SyncRequest(**request))  # type: ignore[arg-type]
    return result


def synced(*clones: str, **options: object) -> World:
    world = world_with_logins(*clones, **options)  # type: ignore[arg-type]
    for name in clones or ("crab-1",):
        assert sync(world, name).error is None
    return world


def in_guest(world: World, path: str = CODEX, name: str = "crab-1") -> str:
    return world.guest(name).read(HOME + path).partition("\n")[2]


def renew(world: World, number: int, name: str = "crab-1") -> None:
    """What a tool does in the guest: the token before is worth nothing from here on."""
    world.clock.sleep(30)
    world.guest(name).write(HOME + CODEX, f"{world.clock.now()}\n{token(world, number)}")


def on_host(world: World, path: str = CODEX) -> str:
    return world.host_logins.files[path].content.decode()


def molt_it(world: World, **options: object) -> molt.MoltResult:
    (result,) = molt.molt(world.fleet, ["crab-1"], MoltRequest(**options))  # type: ignore[arg-type]
    return result


def frozen_text(world: World, name: str = "crab-1") -> str:
    """All that the layers of the clean point and below hold."""
    clean = world.record(name).clean
    assert clean is not None
    below = [stamp.volume for stamp in clean.stamps] + [world.record(name).golden_volume]
    return str([world.storage.disks[volume].written for volume in below])


def test_a_molt_brings_the_renewed_token_back_and_gives_it_to_the_clean_guest() -> None:
    world = synced()
    assert in_guest(world) == token(world, 0)
    renew(world, 1)
    result = molt_it(world)
    assert (result.outcome, result.mode) == ("molted", "warm")
    assert result.logins and (result.logins.pulled, result.logins.pushed) == (("codex",), ("codex", "gh"))
    assert on_host(world) == in_guest(world) == token(world, 1)
    assert in_guest(world, ".config/gh/hosts.yml") == "oauth_token: gho_0"
    assert world.host_logins.kept == [token(world, 0).encode()]


def test_fifty_molts_lose_no_token_and_leave_none_where_it_does_not_belong() -> None:
    world = synced()
    for number in range(1, 51):
        renew(world, number)
        assert molt_it(world, cold=number % 5 == 0).outcome == "molted"
        assert on_host(world) == in_guest(world) == token(world, number)
    assert "secret-" not in frozen_text(world)
    assert "secret-" not in str(world.record("crab-1"))
    assert "secret-" not in str(world.progress.events)
    assert not any("secret-" in command for _, command in world.hypervisor.commands)
    assert unsound(world) == []


def test_a_clone_without_logins_is_not_asked_for_any() -> None:
    world = world_with_logins()
    before = len(world.guests.sessions)
    result = molt_it(world)
    assert result.logins is None
    assert len(world.guests.sessions) == before
    assert in_guest(world) == ""


def test_a_guest_that_does_not_answer_is_molted_all_the_same() -> None:
    world = synced()
    renew(world, 1)
    # Nobody gets in any more, and the agent is dead.
    world.hypervisor.behave("crab-1", has_agent=False)
    world.guest("crab-1").write("authorized", "")
    started = world.clock.monotonic()
    result = molt_it(world)
    assert result.outcome == "molted"
    assert result.logins and not result.logins.pulled
    assert "logins of 'crab-1' were not pulled back: " in result.logins.notes[0]
    assert world.clock.monotonic() - started < 120
    assert in_guest(world) == on_host(world) == token(world, 0)
    # What it renewed is not gone: undo has it.
    world.hypervisor.behave("crab-1", has_agent=True)
    result = undo.undo(world.fleet, "crab-1")
    assert result.logins and result.logins.pulled == ("codex",)
    assert on_host(world) == in_guest(world) == token(world, 1)


def test_a_host_that_cannot_store_a_token_keeps_the_guest_as_it_is() -> None:
    world = synced()
    renew(world, 1)
    world.host_logins.error = NoSpace("Login file cannot be written")
    result = molt_it(world)
    assert result.error is not None and result.error.exit_code is ExitCode.NO_CAPACITY
    assert in_guest(world) == token(world, 1)
    world.host_logins.error = None
    assert molt_it(world).outcome == "molted"
    assert on_host(world) == in_guest(world) == token(world, 1)


def test_a_clone_that_is_off_is_said_and_not_asked() -> None:
    world = synced()
    stop.stop(world.fleet, ["crab-1"], StopRequest(now=True))
    result = molt_it(world)
    assert result.logins and result.logins.notes == ("it was off: its logins could not be pulled back",)
    assert in_guest(world) == token(world, 0)


def test_stopping_and_deleting_bring_tokens_back_first() -> None:
    world = synced()
    renew(world, 1)
    stop.stop(world.fleet, ["crab-1"], StopRequest())
    assert on_host(world) == token(world, 1)
    start.start(world.fleet, ["crab-1"])
    renew(world, 2)
    (result,) = delete.delete(world.fleet, ["crab-1"])
    assert (result.outcome, on_host(world)) == ("deleted", token(world, 2))


def test_of_two_that_changed_the_newer_counts_and_the_other_is_kept() -> None:
    world = synced()
    renew(world, 5)
    world.host_logins.has(CODEX, token(world, 9))
    result = molt_it(world)
    assert result.logins and result.logins.pulled == ()
    assert on_host(world) == in_guest(world) == token(world, 9)
    assert world.host_logins.kept == [token(world, 5).encode()]


def test_what_is_not_renewed_never_comes_back() -> None:
    world = synced()
    world.guest("crab-1").write(f"{HOME}.config/gh/hosts.yml", f"{world.clock.now()}\noauth_token: theirs")
    molt_it(world)
    assert on_host(world, ".config/gh/hosts.yml") == "oauth_token: gho_0"


def test_undo_of_an_old_state_does_not_bring_its_old_token_back() -> None:
    world = synced()
    renew(world, 1)
    molt_it(world)
    renew(world, 2)
    result = undo.undo(world.fleet, "crab-1")
    assert result.error is None
    assert on_host(world) == in_guest(world) == token(world, 2)


def test_a_kept_layer_gets_the_token_of_today() -> None:
    world = synced()
    molt_it(world, keep="monday")
    renew(world, 3)
    assert kept.restore(world.fleet, "crab-1", "monday").error is None
    assert on_host(world) == in_guest(world) == token(world, 3)


def test_a_clean_point_made_anew_has_none_and_the_guest_has_them_again() -> None:
    world = synced()
    world.hypervisor.kernel = "6.2.0"
    renew(world, 1)
    (result,) = warm.warm(world.fleet, ["crab-1"], from_now=False)
    assert result.outcome == "warmed"
    assert "secret-" not in frozen_text(world)
    assert on_host(world) == in_guest(world) == token(world, 1)
    renew(world, 2)
    assert molt_it(world).mode == "warm"
    assert "secret-" not in frozen_text(world)
    assert in_guest(world) == token(world, 2)


def test_the_present_state_is_no_clean_point_until_its_logins_are_gone_by_a_molt() -> None:
    world = synced()
    for prepare in (lambda: None, lambda: sync(world, act="forget")):
        prepare()
        (result,) = warm.warm(world.fleet, ["crab-1"], from_now=True)
        assert isinstance(result.error, WrongState)
        assert result.error.brief == "Clone 'crab-1' holds logins, and no clean point ever does"
        assert world.record("crab-1").pending is None
    molt_it(world)
    (result,) = warm.warm(world.fleet, ["crab-1"], from_now=True)
    assert result.error is None
    # What they were in is still there to go back to, and as little a clean point as before.
    molt_it(world, keep="late")
    undo.undo(world.fleet, "crab-1")
    assert "secret-" not in frozen_text(world)


def test_undo_into_a_state_that_had_logins_is_no_clean_point_either() -> None:
    world = synced()
    sync(world, act="forget")
    molt_it(world)
    undo.undo(world.fleet, "crab-1")
    (result,) = warm.warm(world.fleet, ["crab-1"], from_now=True)
    assert isinstance(result.error, WrongState)


def test_the_status_says_which_clone_has_which() -> None:
    world = synced("crab-1", "crab-2")
    sync(world, "crab-2", act="forget")
    names = {view.name: view.logins.names if view.logins else () for view in listing.list_clones(world.fleet)}
    assert names == {"crab-1": ("codex", "gh"), "crab-2": ()}


def test_another_user_neither_pulls_nor_pushes() -> None:
    world = synced()
    world.host_logins.me = "bob@host"
    world.host_logins.has(CODEX, token(world, 40))
    result = molt_it(world)
    assert (
        result.logins and result.logins.notes[0] == "its logins are those of ann@host, who alone can pull and push them"
    )
    assert in_guest(world) == ""
    refused = sync(world)
    assert refused.error and refused.error.brief == "Clone 'crab-1' holds logins of ann@host"


def test_what_the_config_allows_no_longer_is_not_pushed() -> None:
    world = synced()
    narrower = world.config.model_copy(update={"logins": world.config.logins.model_copy(update={"allow": ("gh",)})})
    world.config = narrower
    world.fleet = world.process()
    result = molt_it(world)
    assert result.logins and result.logins.pushed == ("gh",)
    assert result.logins.notes == ("login 'codex' is not allowed any more",)
    assert in_guest(world) == ""


def killed_at_every_change(act: Callable[[Fleet], object], check: Callable[[World], None]) -> int:
    """Kill the act after each of its changes in turn, repair, and look."""
    number = 0
    while True:
        number += 1
        world = synced()
        renew(world, 1)
        process = Process(kill_after=number)
        with contextlib.suppress(Killed):
            act(world.process(process))
        if not process.is_dead:
            return number
        repair_all(world.fleet)
        assert unsound(world) == []
        check(world)


def nothing_is_lost(world: World) -> None:
    assert "secret-" not in frozen_text(world)
    assert token(world, 1) in (on_host(world), in_guest(world))
    assert molt_it(world).outcome == "molted"
    assert on_host(world) == in_guest(world) == token(world, 1)


def test_a_molt_that_is_killed_anywhere_loses_no_token() -> None:
    assert killed_at_every_change(lambda f: molt.molt(f, ["crab-1"], MoltRequest()), nothing_is_lost) > 8


def test_an_undo_that_is_killed_anywhere_loses_no_token() -> None:
    def molt_and_undo(fleet: Fleet) -> None:
        molt.molt(fleet, ["crab-1"], MoltRequest())
        undo.undo(fleet, "crab-1")

    assert killed_at_every_change(molt_and_undo, nothing_is_lost) > 15


def test_a_sync_that_is_killed_anywhere_loses_no_token() -> None:
    assert killed_at_every_change(lambda f: sync_auth.sync_auth(f, ["crab-1"], SyncRequest()), nothing_is_lost) > 1


def test_a_start_that_is_killed_anywhere_loses_no_token() -> None:
    def cut_and_start(fleet: Fleet) -> None:
        stop.stop(fleet, ["crab-1"], StopRequest(now=True))
        start.start(fleet, ["crab-1"])

    def is_there(world: World) -> None:
        start.start(world.fleet, ["crab-1"])
        # One that boots already is not waited for.
        world.clock.sleep(30)
        nothing_is_lost(world)

    assert killed_at_every_change(cut_and_start, is_there) > 4


@pytest.mark.parametrize("way", ["full", "damaged"])
def test_a_guest_that_answers_nonsense_stops_nothing(way: str) -> None:
    world = synced()
    answer = CommandResult(1, b"", b"No space left\x1b[2J") if way == "full" else CommandResult(0, b"1 2 !!\n", b"")
    world.hypervisor.behave("crab-1", answers={"logins.sh": answer})
    result = molt_it(world)
    assert result.outcome == "molted"
    assert result.logins and len(result.logins.notes) >= 1
    assert "\x1b" not in str(result.logins)
    failed = sync(world)
    assert isinstance(failed.error, GuestFailed)


def killed_at(effect: Effect, act: Callable[[Fleet], object], make: Callable[[], World] = synced) -> World:
    """A world in which an act was killed right after its first such effect."""
    number = 0
    for _ in range(2):
        world, process = make(), Process(kill_at_effect=number)
        with effects_told_to(process), contextlib.suppress(Killed):
            act(world.process(process))
        number = process.effects.index(effect) + 1
    assert process.is_dead
    return world


def with_a_snapshot() -> World:
    world = synced()
    snapshots.create(world.fleet, "crab-1", "noon")
    return world


def test_what_was_renewed_after_a_revert_that_was_cut_off_at_its_end_comes_back() -> None:
    world = killed_at(Effect.LOGINS_PUSHED, lambda f: snapshots.revert(f, "crab-1", "noon"), with_a_snapshot)
    renew(world, 3)
    # The revert is taken back, and the guest's state with it.
    start.start(world.fleet, ["crab-1"])
    assert on_host(world) == in_guest(world) == token(world, 3)


def test_what_was_renewed_before_a_molt_found_no_clean_point_any_more_comes_back() -> None:
    world = killed_at(Effect.LOGINS_PUSHED, lambda fleet: molt.molt(fleet, ["crab-1"], MoltRequest()))
    renew(world, 3)
    world.storage.write(world.storage.path_of("crab-1.clean.qcow2"), "by hand", "yes")
    assert isinstance(molt_it(world).error, WrongState)
    assert on_host(world) == token(world, 3)


def test_a_start_brings_back_what_its_guest_went_down_with() -> None:
    world = synced()
    renew(world, 1)
    stop.stop(world.fleet, ["crab-1"], StopRequest(now=True))
    assert on_host(world) == token(world, 0)
    start.start(world.fleet, ["crab-1"])
    assert on_host(world) == in_guest(world) == token(world, 1)


def test_a_start_gives_what_was_renewed_here_while_the_clone_was_off() -> None:
    world = synced()
    stop.stop(world.fleet, ["crab-1"], StopRequest())
    world.host_logins.has(CODEX, token(world, 2))
    start.start(world.fleet, ["crab-1"])
    assert in_guest(world) == token(world, 2)
    assert "secret-" not in frozen_text(world)


def test_a_start_goes_on_without_logins_that_cannot_be_given() -> None:
    world = synced()
    stop.stop(world.fleet, ["crab-1"], StopRequest())
    world.hypervisor.behave("crab-1", answers={"logins.sh": CommandResult(1, b"", b"No space left")})
    (result,) = start.start(world.fleet, ["crab-1"])
    assert (result.outcome, result.error) == ("started", None)
    assert world.progress.texts("warn")[-1].startswith("Not all of what 'crab-1' keeps was given to it: ")


def test_what_was_renewed_after_a_deletion_that_was_cut_off_comes_back() -> None:
    world = killed_at(Effect.DELETE_JOURNALLED, lambda fleet: delete.delete(fleet, ["crab-1"]))
    renew(world, 3)
    repair.sweep(world.fleet)
    assert world.hypervisor.find("crab-1") is None
    assert on_host(world) == token(world, 3)


def test_what_a_guest_renews_while_it_is_synced_is_not_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    world = synced()
    renew(world, 1)
    put = guestlogins._put

    def renew_and_put(guest: FakeGuest, words: list[str], input: bytes) -> CommandResult:
        renew(world, 2)
        return put(guest, words, input)

    monkeypatch.setattr(guestlogins, "_put", renew_and_put)
    assert sync(world).error is None
    assert in_guest(world) == token(world, 2)
    assert sync(world, act="pull").logins.pulled == ("codex",)
    assert on_host(world) == token(world, 2)


@pytest.mark.parametrize("answer", [CommandResult(0, b"1 2 !!\n", b""), CommandResult(1, b"", b"Input/output error")])
def test_what_cannot_be_brought_back_is_not_taken_away(answer: CommandResult, monkeypatch: pytest.MonkeyPatch) -> None:
    world = synced()
    renew(world, 1)
    with monkeypatch.context() as patched:
        patched.setattr(guestlogins, "_look", lambda *_: answer)
        assert isinstance(sync(world, act="forget").error, GuestFailed)
    assert in_guest(world) == token(world, 1)
    assert sync(world, act="forget").logins.pulled == ("codex",)
    assert (on_host(world), in_guest(world)) == (token(world, 1), "")


def test_what_is_not_allowed_any_more_is_brought_back_before_it_is_taken_away() -> None:
    world = synced()
    renew(world, 1)
    narrower = world.config.model_copy(update={"logins": world.config.logins.model_copy(update={"allow": ("gh",)})})
    world.config = narrower
    world.fleet = world.process()
    result = sync(world, act="forget")
    assert (result.error, result.logins.pulled) == (None, ("codex",))
    assert (on_host(world), in_guest(world)) == (token(world, 1), "")


def test_a_revert_pulls_back_first_and_pushes_what_counts_now() -> None:
    world = synced()
    snapshots.create(world.fleet, "crab-1", "noon")
    renew(world, 7)
    result = snapshots.revert(world.fleet, "crab-1", "noon")
    assert result.logins is not None and "codex" in result.logins.pulled
    assert on_host(world) == in_guest(world) == token(world, 7)
    assert unsound(world) == []


def test_no_clean_point_is_made_above_a_snapshot_that_holds_logins() -> None:
    world = synced()
    snapshots.create(world.fleet, "crab-1", "noon")
    (refused,) = warm.warm(world.fleet, ["crab-1"], from_now=True)
    assert isinstance(refused.error, WrongState) and "holds logins" in refused.error.brief
    sync(world, act="forget")
    molt_it(world)
    snapshots.revert(world.fleet, "crab-1", "noon")
    (refused,) = warm.warm(world.fleet, ["crab-1"], from_now=True)
    assert isinstance(refused.error, WrongState) and "holds logins" in refused.error.brief
    assert "secret-" not in frozen_text(world)


def test_flattening_keeps_a_clone_logged_in() -> None:
    world = synced()
    snapshots.create(world.fleet, "crab-1", "noon")
    renew(world, 7)
    assert snapshots.flatten(world.fleet, "crab-1").outcome == "flattened"
    assert on_host(world) == in_guest(world) == token(world, 7)


def with_two_generations() -> World:
    """A clone with a renewed login, on the older generation of a golden that was built."""
    world = world_with_logins()
    golden_build.build(world.fleet, BuildRequest("two", "debian-12", profile="minimal"))
    delete.delete(world.fleet, ["crab-1"])
    world.add_clone("crab-1", golden="two")
    golden_build.build(world.fleet, BuildRequest("two", "debian-12", profile="minimal"))
    assert sync(world).error is None
    renew(world, 1)
    return world


def test_a_clone_that_moves_to_another_generation_takes_its_logins_along() -> None:
    world = with_two_generations()
    result = molt_it(world, to=NEWEST)
    assert (result.error, result.reason) == (None, "moved from g1 to g2 of two")
    assert result.logins and result.logins.pulled == ("codex",)
    assert on_host(world) == in_guest(world) == token(world, 1)
    assert "secret-" not in frozen_text(world)
    renew(world, 2)
    assert molt_it(world).mode == "warm"
    assert on_host(world) == in_guest(world) == token(world, 2)


def test_a_move_that_was_cut_off_before_its_clean_point_ends_logged_in() -> None:
    world = with_two_generations()
    process = Process(kill_at_effect=list_of_effects().index(Effect.MOLT_RECORDED) + 1)
    with effects_told_to(process), contextlib.suppress(Killed):
        molt.molt(world.process(process), ["crab-1"], MoltRequest(to=NEWEST))
    assert process.is_dead
    start.start(world.fleet, ["crab-1"])
    assert on_host(world) == in_guest(world) == token(world, 1)
    assert "secret-" not in frozen_text(world)


def list_of_effects() -> list[Effect]:
    """Those of an undisturbed move."""
    process = Process()
    world = with_two_generations()
    with effects_told_to(process):
        molt.molt(world.process(process), ["crab-1"], MoltRequest(to=NEWEST))
    return process.effects


def test_a_clone_whose_state_cannot_be_saved_has_its_logins_all_the_same() -> None:
    world = synced()
    world.hypervisor.kernel = "6.2.0"
    renew(world, 1)
    world.hypervisor.behave("crab-1", answers={"before-save.sh": CommandResult(1, b"no", b"")})
    (result,) = warm.warm(world.fleet, ["crab-1"], from_now=False)
    assert result.error is not None
    assert on_host(world) == in_guest(world) == token(world, 1)
    assert "secret-" not in frozen_text(world)


@pytest.mark.parametrize("effect", [Effect.LOGINS_PUSHED, Effect.MOLT_RECORDED])
def test_what_was_renewed_after_a_molt_that_was_cut_off_at_its_end_comes_back(effect: Effect) -> None:
    effects: list[Effect] = []
    for number in (0, 1):
        world = synced()
        process = Process(kill_at_effect=effects.index(effect) + 1 if number else 0)
        with effects_told_to(process), contextlib.suppress(Killed):
            molt.molt(world.process(process), ["crab-1"], MoltRequest())
        effects = process.effects
    assert process.is_dead
    renew(world, 3)
    assert molt_it(world).outcome == "molted"
    assert on_host(world) == in_guest(world) == token(world, 3)


def test_an_undo_of_a_molt_that_was_cut_off_ends_with_the_token_of_today() -> None:
    effects: list[Effect] = []
    for number in (0, 1):
        world = synced()
        renew(world, 1)
        process = Process(kill_at_effect=effects.index(Effect.LOGINS_PUSHED) + 1 if number else 0)
        with effects_told_to(process), contextlib.suppress(Killed):
            molt.molt(world.process(process), ["crab-1"], MoltRequest())
        effects = process.effects
    assert process.is_dead
    renew(world, 2)
    result = undo.undo(world.fleet, "crab-1")
    assert result.logins and (result.logins.pulled, result.error) == (("codex",), None)
    assert on_host(world) == in_guest(world) == token(world, 2)
