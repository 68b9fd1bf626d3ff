"""Which clone an agent goes to, and what is done to get there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes import World, a_world, failed, ok
from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.model.errors import GuestFailed, InvalidInput, MoltfleetError, NotFound, WrongState
from moltfleet.model.requests import AgentRequest, StopRequest
from moltfleet.operations import stop
from moltfleet.operations.agent import bring_up, code_directory, plan_agent, session_words, start_session
from moltfleet.operations.fleet import Fleet

# As agent.sh tells them.
FACTS = "cli\tclaude\t2.0.14\tyes\ngit\tAnn\toff\n"


def shipped(world: World) -> Fleet:
    """The fleet with the program that goes into guests."""
    return replace(world.fleet, bootstrap=BootstrapFiles())


def test_a_clone_that_runs_is_found_without_a_login(clone: World) -> None:
    before = len(clone.guests.sessions)
    found = bring_up(clone.fleet, AgentRequest(name="ab-1"))
    address = clone.record("crab-1").attachment.address
    assert (found.where.name, found.where.host, found.act) == ("crab-1", address, "found")
    assert len(clone.guests.sessions) == before
    assert [(one.name, one.host_keys) for one in found.known] == [("crab-1", clone.record("crab-1").host_keys)]


def test_without_a_name_a_clone_of_the_only_golden_is_made(world: World) -> None:
    found = bring_up(world.fleet, AgentRequest())
    assert (found.where.name, found.act) == ("base-1", "created")
    assert world.guest("base-1").is_up
    assert bring_up(world.fleet, AgentRequest()).where.name == "base-2"


def test_of_several_goldens_the_configured_or_named_one_is_taken(world: World) -> None:
    world.add_golden("web")
    with pytest.raises(InvalidInput, match="No golden is named"):
        bring_up(world.fleet, AgentRequest())
    assert bring_up(world.fleet, AgentRequest(golden="web")).where.name == "web-1"
    world.config = world.config.model_copy(
        update={"defaults": world.config.defaults.model_copy(update={"golden": "web"})}
    )
    assert bring_up(world.process(), AgentRequest()).where.name == "web-2"


def test_without_any_golden_it_is_said_how_to_get_one() -> None:
    with pytest.raises(InvalidInput) as caught:
        bring_up(a_world(golden=None).fleet, AgentRequest())
    assert caught.value.hint == "Build one: moltfleet golden build NAME --image IMAGE"


def test_a_clone_that_is_off_is_started(clone: World) -> None:
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    assert plan_agent(clone.fleet, AgentRequest(name="crab")) == ("crab-1: would be started",)
    assert bring_up(clone.fleet, AgentRequest(name="crab")).act == "started"
    assert clone.guest("crab-1").is_up
    assert plan_agent(clone.fleet, AgentRequest(name="crab")) == ("crab-1: runs already",)


def test_the_newest_that_runs_is_taken(world: World) -> None:
    for name in ("zebra", "crab", "ant"):
        world.clock.sleep(60)
        world.add_clone(name)
    stop.stop(world.fleet, ["ant"], StopRequest())
    assert bring_up(world.fleet, AgentRequest(newest=True)).where.name == "crab"
    stop.stop(world.fleet, ["crab", "zebra"], StopRequest())
    with pytest.raises(NotFound, match="No clone is running"):
        bring_up(world.fleet, AgentRequest(newest=True))


def test_a_dry_run_makes_nothing(world: World) -> None:
    (line,) = plan_agent(world.fleet, AgentRequest())
    assert line.startswith("base-1: linked clone of base g1")
    assert world.hypervisor.find("base-1") is None


def test_a_clone_that_cannot_be_made_is_the_failure(world: World) -> None:
    world.hypervisor.behave("base-1", shows_banner=False)
    with pytest.raises(MoltfleetError, match="did not answer"):
        bring_up(world.fleet, AgentRequest())
    assert world.hypervisor.find("base-1") is None


def test_a_session_is_started_and_told_of(clone: World) -> None:
    clone.hypervisor.behave("crab-1", answers={"agent facts": ok(FACTS), "agent start": ok()})
    session, line = start_session(
        shipped(clone), bring_up(clone.fleet, AgentRequest(name="crab")).where, "", ("make", "a b")
    )
    assert (session, line.identity, line.programs[0].version) == ("agent", "Ann", "2.0.14")
    typed = [command for _, command in clone.hypervisor.commands if "agent start crab-1" in command]
    assert [command.endswith("""agent start crab-1 '' 'make '"'"'a b'"'"''""") for command in typed] == [True]


def test_a_guest_without_sessions_takes_no_command(clone: World) -> None:
    answers = {"agent facts": ok(FACTS), "agent start": failed("", code=9)}
    clone.hypervisor.behave("crab-1", answers=answers)
    where = bring_up(clone.fleet, AgentRequest(name="crab")).where
    assert start_session(shipped(clone), where, "", ())[0] is None
    with pytest.raises(GuestFailed) as caught:
        start_session(shipped(clone), where, "", ("make",))
    assert caught.value.hint == "Put the guest tools in: moltfleet tools install crab-1"


@pytest.mark.parametrize("words", [("a\nb",), ("\x1b",), ("x", "\x03")])
def test_what_a_terminal_would_take_for_keys_is_not_typed(clone: World, words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match="cannot be typed"):
        session_words(shipped(clone), "crab-1", "", words, act="connect")


def test_without_a_desktop_there_is_no_display_and_no_new_clone(clone: World) -> None:
    before = set(clone.hypervisor.machines)
    for request in (AgentRequest(display=True), AgentRequest(name="crab", display=True)):
        for act in (bring_up, plan_agent):
            with pytest.raises(WrongState, match="Clones of golden 'base' have no display"):
                act(clone.fleet, request)
    assert set(clone.hypervisor.machines) == before


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("", "/home/agent/work"),
        ("work/repos/app", "/home/agent/work/repos/app"),
        ("~/x", "/home/agent/x"),
        ("~", "/home/agent"),
        ("/srv/a", "/srv/a"),
    ],
)
def test_an_editor_is_given_a_whole_path(clone: World, given: str, path: str) -> None:
    assert code_directory(bring_up(clone.fleet, AgentRequest(name="crab")), given) == path
