"""`moltfleet key`: exit codes, output, and what is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import World, a_world
from moltfleet.model.publickeys import fingerprint

Do = Callable[..., Any]
ANN = "ssh-ed25519 AAAAann1 ann"


@pytest.fixture
def world() -> World:
    return a_world(clones=("crab-1", "crab-2"))


@pytest.fixture
def call(run: Do, world: World) -> Do:
    def invoke(*words: str, **options: Any) -> Any:
        build = lambda config, uri, progress: replace(world.fleet, progress=progress)  # noqa: E731
        return run(*words, build_fleet=build, **options)

    return invoke


@pytest.fixture
def ann(tmp_path: Path) -> str:
    (tmp_path / "ann.pub").write_text(f"# hers\n{ANN}\n")
    return str(tmp_path / "ann.pub")


def let_in(world: World) -> list[str]:
    return [name for name in ("crab-1", "crab-2") if ANN in world.guest(name).read("authorized").splitlines()]


def test_a_key_is_added_and_remembered(call: Do, world: World, ann: str) -> None:
    outcome = call("key", "authorise", "crab-1", "--key", ann)
    assert (outcome.exit_code, outcome.stderr) == (0, "Later clones get 1 more key.\n")
    assert outcome.stdout == (
        "CLONE    OUTCOME       SECONDS  DETAIL\ncrab-1   authorised        0.0  1 key by its guest agent\n"
    )
    assert (let_in(world), world.keys.lines) == (["crab-1"], [ANN])
    outcome = call("key", "authorise", "--all", "--key", ann, "--json")
    assert [one["outcome"] for one in json.loads(outcome.stdout)["results"]] == ["authorised", "authorised"]
    assert outcome.stderr == "Later clones get it anyway.\n"
    assert (let_in(world), world.keys.lines) == (["crab-1", "crab-2"], [ANN])


def test_once_is_not_for_later(call: Do, world: World, ann: str) -> None:
    outcome = call("key", "authorise", "crab-1", "--key", ann, "--once")
    assert "1 key by its guest agent, until its next molt" in outcome.stdout
    assert world.record("crab-1").keys == ()
    assert (let_in(world), world.keys.lines) == (["crab-1"], [])


def test_without_a_name_it_is_only_for_later(call: Do, world: World, ann: str) -> None:
    outcome = call("key", "authorise", "--key", ann, "--json")
    assert outcome.exit_code == 0
    assert json.loads(outcome.stdout) == {"schema": "moltfleet.key-authorise/1", "results": []}
    assert (let_in(world), world.keys.lines) == ([], [ANN])


def test_without_a_key_it_is_that_of_the_user(call: Do, world: World) -> None:
    world.guest("crab-1").write("authorized", "ssh-ed25519 AAAAother")
    assert call("key", "authorise", "crab-1").exit_code == 0
    assert world.guest("crab-1").read("authorized").splitlines()[1:] == ["ssh-ed25519 AAAAme me"]
    assert world.keys.lines == []


def test_a_user_without_keys_is_told(call: Do, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.keys, "user_public_keys", lambda: ())
    outcome = call("key", "authorise", "crab-1")
    assert outcome.exit_code == 2
    assert outcome.stderr.splitlines()[0] == "Error: There is no public key to add"


def test_a_dry_run_adds_and_remembers_nothing(call: Do, world: World, ann: str) -> None:
    outcome = call("key", "authorise", "crab-*", "--key", ann, "--dry-run")
    assert outcome.stdout.splitlines() == [
        f"crab-1: add {fingerprint(ANN)}",
        f"crab-2: add {fingerprint(ANN)}",
        f"remember {fingerprint(ANN)} for later clones",
    ]
    assert (let_in(world), world.keys.lines) == ([], [])


def test_all_are_those_that_run(call: Do, world: World, ann: str) -> None:
    world.hypervisor.destroy("crab-1")
    outcome = call("key", "authorise", "--all", "--key", ann, "--json")
    assert outcome.exit_code == 0
    assert [one["clone"] for one in json.loads(outcome.stdout)["results"]] == ["crab-2"]


def test_one_that_is_off_is_a_wrong_state_and_the_key_is_remembered(call: Do, world: World, ann: str) -> None:
    world.hypervisor.destroy("crab-1")
    outcome = call("key", "authorise", "crab-1", "--key", ann)
    assert outcome.exit_code == 4
    assert "Clone 'crab-1' is not running" in outcome.stderr
    assert world.keys.lines == [ANN]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "Error: No clone is named; --all means every clone that runs"),
        (("crab-1", "--all"), "Error: Names and --all exclude each other"),
        (("--once", "--key", "ann.pub"), "Error: No clone is named; --all means every clone that runs"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(call: Do, words: tuple[str, ...], text: str) -> None:
    outcome = call("key", "authorise", *words)
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith(text)


def test_a_private_key_is_refused_before_anything_is_done(call: Do, world: World, tmp_path: Path) -> None:
    (tmp_path / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n")
    outcome = call("key", "authorise", "crab-1", "--key", str(tmp_path / "id"))
    assert outcome.exit_code == 2
    assert "is a private key" in outcome.stderr and "c2VjcmV0" not in outcome.stderr
    assert world.keys.lines == []


def test_an_unknown_clone_is_not_found_and_nothing_remembered(call: Do, world: World, ann: str) -> None:
    assert call("key", "authorise", "crab-9", "--key", ann).exit_code == 3
    assert world.keys.lines == []


def test_keys_are_listed_with_where_they_are_from(call: Do, ann: str) -> None:
    call("key", "authorise", "--key", ann)
    rows = [line.split() for line in call("key", "list").stdout.splitlines()]
    assert rows[0] == ["FINGERPRINT", "TYPE", "FROM", "COMMENT"]
    assert [row[1:] for row in rows[1:]] == [
        ["ssh-ed25519", "fleet", "fleet"],
        ["ssh-ed25519", "home", "me"],
        ["ssh-ed25519", "authorised", "ann"],
    ]
    assert rows[3][0] == fingerprint(ANN)


def test_a_key_is_forgotten(call: Do, world: World, ann: str) -> None:
    call("key", "authorise", "--key", ann)
    outcome = call("key", "forget", fingerprint(ANN), "--dry-run")
    assert outcome.stdout == f"forget {fingerprint(ANN)}\n"
    assert world.keys.lines == [ANN]
    outcome = call("key", "forget", fingerprint(ANN), "--json")
    assert json.loads(outcome.stdout)["keys"][0]["fingerprint"] == fingerprint(ANN)
    assert world.keys.lines == []
    assert call("key", "forget", fingerprint(ANN)).exit_code == 3


def test_what_clones_keep_is_forgotten_with_it(call: Do, world: World, ann: str) -> None:
    call("key", "authorise", "crab-1", "--key", ann)
    outcome = call("key", "forget", fingerprint(ANN), "--dry-run")
    assert outcome.stdout == f"forget {fingerprint(ANN)}\ncrab-1: keep {fingerprint(ANN)} no longer\n"
    assert world.record("crab-1").keys == (ANN,)
    assert call("key", "forget", fingerprint(ANN)).exit_code == 0
    assert world.record("crab-1").keys == ()


def test_a_key_that_only_a_clone_keeps_is_meant_by_its_whole_fingerprint(
    call: Do, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.keys, "user_public_keys", lambda: (ANN,))
    call("key", "authorise", "crab-1")
    assert world.record("crab-1").keys == (ANN,)
    assert call("key", "forget", fingerprint(ANN)[:12]).exit_code == 3
    assert world.record("crab-1").keys == (ANN,)
    outcome = call("key", "forget", fingerprint(ANN), "--json")
    assert [key["fingerprint"] for key in json.loads(outcome.stdout)["keys"]] == [fingerprint(ANN)]
    assert world.record("crab-1").keys == ()
