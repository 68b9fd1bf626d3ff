"""`moltfleet sync-auth`: exit codes, output, and what is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import World, a_world
from fakes.guestlogins import HOME

Do = Callable[..., Any]
CODEX = ".codex/auth.json"
TOKEN = json.dumps({"last_refresh": 1_763_629_200, "refresh_token": "secret"})


@pytest.fixture
def world() -> World:
    world = a_world(clones=("crab-1", "crab-2"), logins={"allow": ["codex", "gh"]})
    world.host_logins.has(CODEX, TOKEN)
    return world


@pytest.fixture
def call(run: Do, world: World) -> Do:
    def invoke(*words: str, **options: Any) -> Any:
        build = lambda config, uri, progress: replace(world.fleet, progress=progress)  # noqa: E731
        return run("sync-auth", *words, build_fleet=build, **options)

    return invoke


def has_it(world: World, name: str) -> bool:
    return TOKEN in world.guest(name).read(HOME + CODEX)


def test_logins_are_given_and_what_is_missing_is_said(call: Do, world: World) -> None:
    outcome = call("crab-1")
    assert (outcome.exit_code, outcome.stderr) == (0, "Syncing logins of crab-1 …\n")
    assert outcome.stdout == (
        "CLONE    OUTCOME    PULLED    PUSHED    NOTES\n"
        "crab-1   synced     -         codex     this machine has no login 'gh'\n"
    )
    assert has_it(world, "crab-1") and not has_it(world, "crab-2")


def test_a_login_that_is_renewed_and_shared_is_warned_about(call: Do, world: World) -> None:
    call("crab-1", "--only", "codex")
    outcome = call("crab-2", "--only", "codex", "--json")
    warning = "login 'codex' is in crab-1, too: whoever renews it may log the others out"
    assert json.loads(outcome.stdout)["results"][0]["logins"]["notes"] == [warning]
    assert warning[1:] in outcome.stderr


def test_what_another_user_gave_and_what_does_not_renew_itself_is_not_warned_about(call: Do, world: World) -> None:
    call("crab-1", "--only", "codex")
    world.host_logins.me = "bob@host"
    assert "too" not in call("crab-2", "--only", "codex").stdout
    world.host_logins.me = "ann@host"
    world.add_clone("crab-3")
    world.host_logins.has(CODEX, '{"OPENAI_API_KEY": "sk-secret", "last_refresh": null}')
    outcome = call("crab-3", "--only", "codex")
    assert (outcome.exit_code, "too" in outcome.stdout) == (0, False)


def test_a_dry_run_asks_no_guest(call: Do, world: World) -> None:
    outcome = call("crab-*", "--only", "codex", "--dry-run")
    assert outcome.stdout == (
        "crab-1: would pull back codex if it is newer there\n"
        "crab-1: would get codex, now and after every molt\n"
        "crab-2: would pull back codex if it is newer there\n"
        "crab-2: would get codex, now and after every molt\n"
    )
    assert not has_it(world, "crab-1")
    call("crab-1")
    outcome = call("crab-1", "--forget", "--dry-run")
    assert outcome.stdout == ("crab-1: would pull back what it renewed, take away codex, gh, and not get it again\n")
    assert has_it(world, "crab-1")


def test_forgotten_ones_are_gone(call: Do, world: World) -> None:
    call("crab-1")
    assert call("crab-1", "--forget", "--only", "codex").exit_code == 0
    assert not has_it(world, "crab-1")
    logins = world.record("crab-1").logins
    assert logins is not None and logins.names == ("gh",)
    assert "it has none of them" in call("crab-2", "--forget").stdout


def test_pulling_gives_nothing(call: Do, world: World) -> None:
    assert call("crab-1", "--pull").stdout == (
        "CLONE    OUTCOME    PULLED    PUSHED    NOTES\ncrab-1   pulled     -         -\n"
    )
    assert world.record("crab-1").logins is None and not has_it(world, "crab-1")


def test_what_a_guest_has_by_itself_comes_back(call: Do, world: World) -> None:
    world.guest("crab-1").write(HOME + CODEX, f"{world.clock.now()}\n{TOKEN.replace('200', '900')}")
    assert json.loads(call("crab-1", "--pull", "--json").stdout)["results"][0]["logins"]["pulled"] == ["codex"]
    assert "900" in world.host_logins.files[CODEX].content.decode()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("crab-9",), 3, "crab-9"),
        (("crab-1", "--only", "claude"), 2, "Login 'claude' may not be given to clones"),
        (("crab-1", "--pull", "--forget"), 2, "exclude each other"),
        ((), 2, "NAME"),
    ],
)
def test_what_cannot_be_done_is_refused(call: Do, words: tuple[str, ...], code: int, told: str) -> None:
    outcome = call(*words)
    assert outcome.exit_code == code
    assert told in outcome.stderr


def test_nothing_is_given_as_long_as_nothing_is_named(run: Do) -> None:
    world = a_world(clones=("crab-1",))
    world.host_logins.has(CODEX, TOKEN)
    build = lambda config, uri, progress: replace(world.fleet, progress=progress)  # noqa: E731
    outcome = run("sync-auth", "crab-1", build_fleet=build)
    assert outcome.exit_code == 2
    assert outcome.stderr == (
        "Error: No login may be given to clones\n"
        'Hint: Name it in moltfleet.toml: [logins] allow = ["claude", "git"].'
        " There are claude, codex, gemini, gh, git, signing.\n"
    )
    assert not has_it(world, "crab-1")


def test_one_that_was_never_ready_gets_none(call: Do, world: World) -> None:
    world.add_clone("crab-3", start=False)
    outcome = call("crab-3")
    assert outcome.exit_code == 4
    assert "no clean point yet" in outcome.stderr


def test_the_config_names_what_it_does_not_know(run: Do, tmp_path: Path) -> None:
    file = tmp_path / "moltfleet.toml"
    for text, told in (
        ('[logins]\nallow = ["claud"]', "there is no login 'claud', only claude, codex"),
        ('[logins.more.x]\nfiles = ["/etc/shadow"]', "'/etc/shadow' is not a file below the home"),
        ('[logins.more.x]\nfiles = ["~/../x"]', "is not a file below the home"),
        ('[logins.more.x]\nfile = ["~/x"]', "is unknown"),
        ("[logins]\nsigning_key = 'id'", "signing_key"),
    ):
        file.write_text(text)
        outcome = run("--config", str(file), "sync-auth", "crab-1")
        assert outcome.exit_code == 2
        assert told in outcome.stderr
