"""Rescues over a fake guest: what is asked for, what its answers lead to, and what a molt does with that."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeSession, World, a_world, failed, ok
from moltfleet.model.domain import CommandResult
from moltfleet.model.errors import Busy, ExitCode, GuestFailed, NoCapacity
from moltfleet.model.requests import MoltRequest, StopRequest
from moltfleet.model.rescue import Check, Outcome, PartState, Renamed, RescueResult, Unpacked, without_password
from moltfleet.operations import kept, molt, stop
from moltfleet.operations.rescue import plan_rescue, rescue, rescue_all
from moltfleet.operations.rescue_guest import MARK, _Answer, condensed, escaped
from moltfleet.operations.rescue_list import read_list

HEAD = "2d7733727cb827ea02f3811971f0769a846f9257"


def fields(*texts: str) -> bytes:
    return "".join(f"{text}\0" for text in texts).encode()


def a_repository(path: str = "/home/agent/work/repos/app", *, work: str = "11111", remote: str = "") -> bytes:
    commits, stashes, staged, unstaged, new = work
    return fields("repository", path, "work", HEAD, "refs/heads/topic", commits, stashes, staged, unstaged, new, remote)


END = fields("end")


@pytest.fixture
def world() -> World:
    return a_world(clones=("crab-1",))


def answer(world: World, **answers: bytes | CommandResult) -> None:
    """Let crab-1 answer each act with these bytes."""
    given = {
        f"rescue {act}": content if isinstance(content, CommandResult) else CommandResult(0, content, b"")
        for act, content in answers.items()
    }
    world.hypervisor.behave("crab-1", answers=given)


def rescued(world: World) -> RescueResult:
    return rescue(world.fleet, "crab-1", reason="a test")


def stored(world: World) -> dict[str, bytes]:
    ((_, files),) = world.rescues.contents.items()
    return files


def test_a_guest_without_work_has_nothing_to_rescue(world: World) -> None:
    answer(world, look=a_repository(work="00000") + END)
    result = rescued(world)
    assert (result.outcome, result.directory, result.error, result.is_safe) == (Outcome.NOTHING, None, None, True)
    assert world.rescues.all == []


def test_every_piece_is_fetched_under_a_name_of_ours(world: World) -> None:
    answer(
        world,
        look=a_repository() + fields("tree", "/a/t") + fields("screen", "/tmp/s", "%3", "work") + fields("logs") + END,
        commits=b"bundle", staged=b"s", unstaged=b"u", files=b"tar", tree=b"tar 2", screen=b"text", logs=b"killed",
    )  # fmt: skip
    result = rescued(world)
    assert (result.outcome, result.error, result.repositories) == (Outcome.RESCUED, None, 1)
    assert stored(world) == {
        "repository-1/staged.patch": b"s",
        "repository-1/unstaged.patch": b"u",
        "repository-1/files/file": b"tar",
        "repository-1/commits.bundle": b"bundle",
        "screen-1.txt": b"text",
        "logs.txt": b"killed",
        "artifacts-1/file": b"tar 2",
    }
    (saved,) = world.rescues.all
    assert saved.manifest is not None
    assert (saved.manifest.golden, saved.manifest.reason, saved.manifest.user) == ("base", "a test", "agent")
    assert saved.directory == result.directory


def test_a_word_goes_back_to_the_guest_as_escapes(world: World) -> None:
    answer(world, look=a_repository("/w/$(reboot) 'x'\n\x1b[2J", work="00100") + END, staged=b"s")
    rescued(world)
    (command,) = [command for _, command in world.hypervisor.commands if "rescue staged" in command]
    call = command[command.index("rescue staged") :].partition(";")[0]
    assert call == r"rescue staged '/w/\0044\0050reboot\0051\0040\0047x\0047\0012\0033\0133\0062J'".replace(
        r"\0133\0062J", r"\01332J"
    )


def test_escapes_leave_nothing_that_a_shell_knows() -> None:
    assert escaped(b"~/work") == "~/work"
    assert escaped(b"r:~/a b") == r"r:~/a\0040b"
    assert escaped(b"t:/x/\\~") == r"t:/x/\0134\0176"
    assert escaped(bytes(range(256))).isascii() and "'" not in escaped(bytes(range(256)))


@pytest.mark.parametrize(
    ("result", "outcome", "code"),
    [
        (b"\x1b]0;owned\x07" * 10, Outcome.UNREACHABLE, ExitCode.TOOL_FAILED),
        (fields("repository", "/a", "work", "HEAD; rm -rf /", "", "1", "0", "0", "0", "0", ""), Outcome.UNREACHABLE, 7),
        (fields("garbage") * 3, Outcome.UNREACHABLE, 7),
        (b"\0" * (2 << 20), Outcome.UNREACHABLE, 7),
        (b"", Outcome.UNREACHABLE, 7),
        (failed("sh: not found", 127), Outcome.UNREACHABLE, 7),
        (failed("", 124), Outcome.UNREACHABLE, 7),
        (a_repository(work="00000"), Outcome.PARTLY, 7),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_list_is_no_reason_to_throw_work_away(
    world: World, result: bytes | CommandResult, outcome: Outcome, code: int
) -> None:
    answer(world, look=result)
    found = rescued(world)
    assert (found.outcome, found.is_safe) == (outcome, False)
    assert found.error is not None and found.error.exit_code == code
    assert found.error.brief.isprintable()


def test_what_does_not_come_is_named_and_the_rest_is_kept(world: World) -> None:
    answer(world, look=a_repository(work="10100") + END, staged=b"s", files=b"f", commits=failed("fatal: broken", 128))
    result = rescued(world)
    assert (result.outcome, result.is_safe) == (Outcome.PARTLY, False)
    (left,) = [part for part in result.parts if part.state is PartState.LEFT]
    assert (left.kind, left.name, left.detail) == ("commits", "", "it ended with 128: fatal: broken")
    assert "repository-1/staged.patch" in stored(world)
    assert isinstance(result.error, GuestFailed)


def test_a_piece_over_the_limit_is_left_and_smaller_ones_still_come(world: World) -> None:
    world.rescues.limit = 100
    answer(world, look=a_repository(work="10100") + fields("logs") + END, staged=b"s", commits=b"x" * 500, logs=b"l")
    result = rescued(world)
    assert result.outcome is Outcome.PARTLY
    assert set(stored(world)) == {"repository-1/staged.patch", "logs.txt"}


def test_a_file_that_is_too_large_is_named(world: World) -> None:
    said = CommandResult(0, b"tar", b"too large: ./film\x1b[1m.mp4\nnoise\n")
    answer(world, look=fields("tree", "/artifacts") + END, tree=said)
    result = rescued(world)
    assert result.outcome is Outcome.PARTLY
    assert "/artifacts: ./film?[1m.mp4" in {part.origin for part in result.parts}


def test_a_part_that_is_not_what_it_should_be_is_marked(world: World) -> None:
    world.rescues.checks["repository-1/staged.patch"] = Check(PartState.BAD, "corrupt patch at line 3")
    answer(world, look=a_repository(work="00110") + END, staged=b"s", unstaged=b"u")
    result = rescued(world)
    assert result.outcome is Outcome.PARTLY
    assert set(stored(world)) == {"repository-1/staged.patch.bad", "repository-1/unstaged.patch"}


def test_what_there_was_no_time_to_look_through_is_no_reason_to_shed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(world, look=a_repository(work="00110") + END, staged=b"s", unstaged=b"u")
    stream = FakeSession.stream

    def slow(self: FakeSession, command: str, **sinks: Any) -> int:
        if "rescue unstaged" in command:
            world.clock.sleep(100_000)
        return stream(self, command, **sinks)

    monkeypatch.setattr(FakeSession, "stream", slow)
    result = rescued(world)
    assert (result.outcome, result.is_safe) == (Outcome.PARTLY, False)
    assert {part.kind: part.detail for part in result.parts} == {
        "staged": "not looked through: there was no time left",
        "unstaged": "not looked through: there was no time left",
        "files": "there was no time left",
    }
    assert set(stored(world)) == {"repository-1/staged.patch", "repository-1/unstaged.patch"}


def test_an_archive_with_more_than_files_stays_beside_what_came_out_of_it(world: World) -> None:
    world.rescues.unpacked = Unpacked(3, ("a: a link to b",), ("../x: no path",), (Renamed("artifacts-1/1", "x"),))
    answer(world, look=fields("tree", "/artifacts") + END, tree=b"tar")
    result = rescued(world)
    assert result.outcome is Outcome.PARTLY
    assert result.details == ("artifacts-1: a: a link to b", "artifacts-1: ../x: no path")
    assert set(stored(world)) == {"artifacts-1.tar"}


def test_root_leaves_archives_packed(world: World) -> None:
    world.rescues.unpacked = None
    answer(world, look=fields("tree", "/artifacts") + END, tree=b"tar")
    result = rescued(world)
    (part,) = result.parts
    assert (result.outcome, part.name, part.state) == (Outcome.RESCUED, "artifacts-1.tar", PartState.KEPT)
    assert "root" in part.detail


def test_a_guest_that_is_lost_leaves_what_came_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(world, look=a_repository(work="10100") + END, staged=b"s")
    stream = FakeSession.stream

    def broken(self: FakeSession, command: str, **sinks: Any) -> int:
        if "rescue files" in command:
            self.close()
        return stream(self, command, **sinks)

    monkeypatch.setattr(FakeSession, "stream", broken)
    result = rescued(world)
    assert result.outcome is Outcome.PARTLY
    assert [(part.kind, part.state) for part in result.parts] == [
        ("staged", PartState.SOUND),
        ("files", PartState.LEFT),
        ("commits", PartState.LEFT),
    ]


def test_a_clone_that_does_not_run_cannot_be_asked(world: World) -> None:
    stop.stop(world.fleet, ["crab-1"], StopRequest(now=True))
    result = rescued(world)
    assert (result.outcome, result.directory) == (Outcome.UNREACHABLE, None)
    assert result.error is not None and result.error.exit_code is ExitCode.WRONG_STATE


def test_a_host_without_room_refuses(world: World) -> None:
    world.rescues.refusal = NoCapacity("Rescues may not take more than 20 GiB together")
    answer(world, look=a_repository(work="00100") + END, staged=b"s")
    result = rescued(world)
    assert (result.outcome, result.error) == (Outcome.REFUSED, world.rescues.refusal)


def test_a_clone_that_another_command_works_on_is_left_alone(world: World) -> None:
    with world.locks.hold("crab-1", verb="molt"):
        result = rescued(world)
    assert result.outcome is Outcome.REFUSED
    assert isinstance(result.error, Busy)


def test_passwords_in_addresses_of_remotes_are_not_kept(world: World) -> None:
    assert without_password("https://ann:secret@example.org/x.git?token=1") == "https://example.org/x.git"
    assert without_password("git@example.org:x.git") == "git@example.org:x.git"
    assert without_password("ann:secret@example.org:x.git") == "example.org:x.git"
    answer(world, look=a_repository(work="00100", remote="https://token@example.org/x") + END, staged=b"s")
    rescued(world)
    (saved,) = world.rescues.all
    assert saved.manifest is not None
    assert saved.manifest.repositories[0].remote == "https://example.org/x"


def test_a_list_without_an_end_is_bounded() -> None:
    found = read_list(a_repository() * 150 + fields("tree", "/t") * 30 + END)
    assert (len(found.repositories), len(found.trees)) == (100, 20)
    assert found.troubles == ("more than 100 repositories", "more than 20 directories")


def test_several_are_rescued_and_a_plan_asks_nobody() -> None:
    world = a_world(clones=("crab-1", "crab-2"))
    before = len(world.hypervisor.commands)
    lines = plan_rescue(world.fleet, ["crab-*"])
    assert [line.partition(":")[0] for line in lines] == ["crab-1", "crab-2"]
    assert "~/work/repos, ~/work/artifacts" in lines[0] and "/rescued/crab-1" in lines[0]
    assert len(world.hypervisor.commands) == before
    for name in ("crab-1", "crab-2"):
        world.hypervisor.behave(name, answers={"rescue look": ok(END.decode())})
    assert [r.outcome for r in rescue_all(world.fleet, [], reason="a test")] == [Outcome.NOTHING] * 2


def molt_rescuing(world: World, **options: object) -> molt.MoltResult:
    (result,) = molt.molt(world.fleet, ["crab-1"], MoltRequest(rescue=True, **options))  # type: ignore[arg-type]
    return result


def test_a_molt_rescues_first_and_sheds_the_layer(world: World) -> None:
    answer(world, look=a_repository(work="00100") + END, staged=b"s")
    result = molt_rescuing(world)
    assert (result.outcome, result.kept) == ("molted", None)
    assert result.rescue is not None and result.rescue.outcome is Outcome.RESCUED
    assert stored(world)["repository-1/staged.patch"] == b"s"
    assert world.record("crab-1").kept == ()


def test_a_molt_of_a_clone_without_work_keeps_nothing(world: World) -> None:
    answer(world, look=END)
    result = molt_rescuing(world)
    assert (result.outcome, result.kept) == ("molted", None)


@pytest.mark.parametrize("way", ["hangs", "garbage", "off"])
def test_a_molt_keeps_the_layer_of_a_guest_that_does_not_tell(world: World, way: str) -> None:
    world.guest("crab-1").write("work", "of tuesday")
    if way == "off":
        stop.stop(world.fleet, ["crab-1"], StopRequest(now=True))
    elif way == "garbage":
        answer(world, look=b"\xff" * (3 << 20))
    else:
        answer(world, look=failed("", 124))
    top = world.record("crab-1").top
    result = molt_rescuing(world)
    assert result.outcome == "molted"
    (layer,) = world.record("crab-1").kept
    assert (layer.volume, layer.label) == (top, result.kept)
    assert result.kept is not None and result.kept.startswith("unrescued-2026-")
    assert result.rescue is not None and result.rescue.kept == result.kept
    assert any("is kept as" in text for text in world.progress.texts("warn"))


def test_a_label_that_was_asked_for_is_the_one_that_counts(world: World) -> None:
    answer(world, look=b"garbage\0")
    assert molt_rescuing(world, keep="monday").kept == "monday"


def test_a_molt_without_rescue_asks_the_guest_nothing_about_work(world: World) -> None:
    (result,) = molt.molt(world.fleet, ["crab-1"], MoltRequest())
    assert (result.outcome, result.rescue) == ("molted", None)
    assert not [command for _, command in world.hypervisor.commands if "rescue look" in command]


def test_the_plan_of_a_molt_says_that_work_is_rescued_first(world: World) -> None:
    first, second = molt.plan_molt(world.fleet, ["crab-1"], MoltRequest(rescue=True))
    assert "would look through" in first and "molt to its clean point" in second


def test_work_in_a_kept_layer_is_rescued_when_it_runs_again(world: World) -> None:
    """What docs/rescue.md says to do after a guest that did not answer."""
    world.guest("crab-1").write("work", "of tuesday")
    answer(world, look=b"garbage\0")
    label = molt_rescuing(world).kept
    assert label is not None
    assert world.guest("crab-1").read("work") == ""
    assert kept.restore(world.fleet, "crab-1", label).outcome == "restored"
    assert world.guest("crab-1").read("work") == "of tuesday"
    answer(world, look=a_repository(work="00100") + END, staged=b"s")
    result = molt_rescuing(world)
    assert (result.outcome, result.kept) == ("molted", None)
    assert stored(world)["repository-1/staged.patch"] == b"s"


def test_what_start_up_files_say_is_no_part_of_an_answer(world: World) -> None:
    noise = b"Welcome to crab-1!\n\x1b[1mnvm: ready\x1b[0m\n" + MARK
    answer(world, look=noise + a_repository(work="00100") + END, staged=noise + b"s" + MARK)
    assert rescued(world).outcome is Outcome.RESCUED
    assert stored(world) == {"repository-1/staged.patch": b"s" + MARK}


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_mark_is_found_wherever_it_is_cut(size: int) -> None:
    for content in (b"noise" + MARK + b"content" * 20, MARK + b"content" * 20):
        taken = bytearray()
        reading = _Answer(taken.extend)
        for start in range(0, len(content), size):
            reading.take(content[start : start + size])
        reading.end()
        assert bytes(taken) == b"content" * 20


def test_without_a_mark_everything_is_the_answer() -> None:
    for content in (b"x" * 100, b"x" * 200_000):
        taken = bytearray()
        reading = _Answer(taken.extend)
        reading.take(content)
        reading.take(MARK if len(content) > 64 * 1024 else b"")
        reading.end()
        assert bytes(taken).startswith(content)


def test_the_script_fits_into_what_dropbear_takes_as_a_command() -> None:
    script = (Path(__file__).parents[3] / "bootstrap/rescue.sh").read_text()
    sent = condensed(script)
    # Of 9,000 bytes; the rest is for the call, and for paths in escapes.
    assert len(shlex.quote(sent)) < 7_800
    assert "\n\n" not in sent and not any(line.startswith(("#", " ")) for line in sent.splitlines())
