"""Commands in several clones and copies both ways."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fakes import World, failed, ok
from moltfleet.model.errors import ExitCode, GuestUnreachable, HostKeyChanged, InvalidInput, NotFound
from moltfleet.model.requests import StopRequest
from moltfleet.operations import guest, stop


def run(
    world: World, *names: str, command: str = "uptime", jobs: int | None = None
) -> tuple[list[object], list[object]]:
    said: list[object] = []
    results = guest.execute(world.fleet, names, command, on_output=lambda *what: said.append(what), jobs=jobs)
    return [(result.clone, result.outcome, result.detail) for result in results], said


def test_output_and_status_of_a_command_are_passed_on(clone: World) -> None:
    clone.hypervisor.behave("crab-1", answers={"uptime": failed("no", code=3)})
    results, said = run(clone, "crab-1")
    assert results == [("crab-1", "executed", "3")]
    assert said == [("crab-1", True, b"no")]


def test_several_clones_are_asked_in_order_of_their_names(clone: World) -> None:
    clone.add_clone("crab-2")
    clone.hypervisor.behave("crab-2", answers={"uptime": ok("two")})
    results, said = run(clone, "crab-*", jobs=4)
    assert [name for name, *_ in results] == ["crab-1", "crab-2"]  # type: ignore[misc]
    assert said == [("crab-2", False, b"two")]


def test_one_that_is_off_does_not_keep_the_others(clone: World) -> None:
    clone.add_clone("crab-2")
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    results = guest.execute(clone.fleet, ["crab-*"], "true", on_output=lambda *_: None)
    assert [result.outcome for result in results] == ["failed", "executed"]
    assert results[0].error and results[0].error.exit_code is ExitCode.WRONG_STATE
    assert results[0].error.hint == "Start it: moltfleet start crab-1"


def test_another_users_clone_is_told_our_key_by_its_agent(clone: World) -> None:
    clone.guest("crab-1").write("authorized", "ssh-ed25519 AAAAother")
    assert run(clone, "crab-1")[0] == [("crab-1", "executed", "0")]
    assert "Fleet key was added to 'crab-1' by its guest agent" in clone.progress.texts("say")


def test_a_clone_without_agent_that_refuses_the_key_is_said(clone: World) -> None:
    clone.hypervisor.behave("crab-1", has_agent=False, refuses_key=True)
    (result,) = guest.execute(clone.fleet, ["crab-1"], "true", on_output=lambda *_: None)
    assert isinstance(result.error, GuestUnreachable)


def test_another_host_key_is_never_talked_around(clone: World) -> None:
    clone.hypervisor.behave("crab-1", host_key="ssh-ed25519 AAAAevil")
    (result,) = guest.execute(clone.fleet, ["crab-1"], "true", on_output=lambda *_: None)
    assert isinstance(result.error, HostKeyChanged)
    assert clone.progress.texts("say") == ()


def test_every_login_is_closed_again(clone: World) -> None:
    run(clone, "crab-1")
    assert all(session.is_closed for session in clone.guests.sessions)


def test_an_unknown_clone_is_not_found(clone: World) -> None:
    with pytest.raises(NotFound):
        run(clone, "crab-9")


def test_a_deadline_ends_a_command_and_says_which(clone: World) -> None:
    clone.hypervisor.behave("crab-1", hangs=True)
    (result,) = guest.execute(clone.fleet, ["crab-1"], "make", on_output=lambda *_: None, timeout_s=30)
    assert result.error and result.error.exit_code is ExitCode.TIMEOUT
    assert result.error.brief == "Command in 'crab-1' did not end within 30 s"
    assert result.seconds == pytest.approx(30)


@pytest.mark.allow("subprocess")
@pytest.mark.parametrize("has_timeout", [True, False])
def test_a_guest_ends_a_command_itself_where_it_can(tmp_path: Path, has_timeout: bool) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "bash", "sleep", "touch", *(["timeout"] if has_timeout else [])):
        (programs / name).symlink_to(shutil.which(name) or name)
    line = f"touch {tmp_path}/begun; sleep 3; touch '{tmp_path}/the end'; exit 7"
    argv = [str(programs / "sh"), "-c", guest.bounded(line, 0.5)]
    environment = {"PATH": str(programs), "SHELL": str(programs / "bash")}
    done = subprocess.run(argv, env=environment, check=False, capture_output=True)
    assert (tmp_path / "begun").exists()
    assert ((tmp_path / "the end").exists(), done.returncode) == ((False, 124) if has_timeout else (True, 7))


def test_a_file_goes_into_a_clone_and_comes_back(clone: World, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    guest.copy(clone.fleet, str(tmp_path / "notes.txt"), "crab-1:work/notes.txt")
    assert clone.guest("crab-1").read("work/notes.txt") == "notes"
    guest.copy(clone.fleet, "crab-1:work/notes.txt", str(tmp_path / "back.txt"))
    assert (tmp_path / "back.txt").read_text() == "notes"


@pytest.mark.parametrize(("source", "destination"), [("a", "b"), ("crab-1:a", "crab-1:b"), ("./x:y", "/z:w")])
def test_one_side_and_only_one_is_in_a_clone(clone: World, source: str, destination: str) -> None:
    with pytest.raises(InvalidInput, match="One side of a copy"):
        guest.copy(clone.fleet, source, destination)


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("crab-1:work/x", ("crab-1", "work/x")),
        ("crab-1:", ("crab-1", "")),
        ("crab-1:a:b", ("crab-1", "a:b")),
        ("./crab-1:x", (None, "./crab-1:x")),
        ("/tmp/a:b", (None, "/tmp/a:b")),
        ("notes.txt", (None, "notes.txt")),
    ],
)
def test_a_path_is_split_at_the_clones_name(text: str, split: tuple[str | None, str]) -> None:
    assert guest.split_path(text) == split
