"""One command in many clones: who gets which task, how many at once, and what becomes of those that fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import World, a_world, failed, ok
from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.model.domain import CommandResult, Endpoint
from moltfleet.model.each import EachRequest, EachResult, check_branch
from moltfleet.model.errors import ExitCode, InvalidInput, NotFound, ToolFailed
from moltfleet.model.requests import StopRequest
from moltfleet.model.rescue import Check, Outcome, PartState
from moltfleet.operations import stop
from moltfleet.operations.each import _Tail, plan_each, run_each
from moltfleet.operations.fleet import Fleet

HEAD = "2d7733727cb827ea02f3811971f0769a846f9257"
REPOSITORY = ("repository", "/home/agent/app", "work", HEAD, "refs/heads/b/crab-1", "1", "0", "0", "0", "0", "")
WORK = "".join(f"{field}\0" for field in (*REPOSITORY, "screen", "/s", "%1", "x", "logs", "end"))


@pytest.fixture
def world() -> World:
    return a_world(clones=("crab-1", "crab-2", "crab-3"))


def shipped(world: World) -> Fleet:
    """The fleet with the programs that go into guests."""
    return replace(world.fleet, bootstrap=BootstrapFiles())


def run(world: World, *names: str, **request: object) -> tuple[EachResult, ...]:
    return run_each(shipped(world), names or ("crab-*",), EachRequest("make", **request))  # type: ignore[arg-type]


class Taker:
    """The Branches port, which notes what it is given."""

    def __init__(self, problem: ToolFailed | None = None) -> None:
        self.problem = problem
        self.taken: list[tuple[tuple[str, ...], str]] = []

    def check(self) -> None:
        pass

    def take(self, bundles: Sequence[Path], branch: str) -> bool:
        if self.problem:
            raise self.problem
        self.taken.append((tuple(str(path) for path in bundles), branch))
        return bool(bundles)


def test_every_clone_runs_it_and_its_output_is_kept(world: World) -> None:
    world.hypervisor.behave("crab-2", answers={"each 0": failed("no make\n", code=2)})
    world.hypervisor.behave("crab-3", answers={"each 0": ok("made\n")})
    first, second, third = run(world)
    assert (first.outcome, first.exit_status, first.error, first.rescue) == ("done", 0, None, None)
    assert (second.outcome, second.exit_status, second.stderr) == ("failed", 2, b"no make\n")
    assert second.error and (second.error.brief, second.error.excerpt) == (
        "Command in 'crab-2' ended with 2",
        "no make",
    )
    assert (third.outcome, third.stdout) == ("done", b"made\n")


def test_one_that_is_off_and_one_that_hangs_leave_the_others(world: World) -> None:
    stop.stop(world.fleet, ["crab-1"], StopRequest())
    world.hypervisor.behave("crab-2", hangs=True)
    results = run(world, timeout_s=30)
    assert [(result.outcome, result.exit_status) for result in results] == [
        ("unreached", None),
        ("late", None),
        ("done", 0),
    ]
    assert [result.error and result.error.exit_code for result in results] == [
        ExitCode.WRONG_STATE,
        ExitCode.TIMEOUT,
        None,
    ]


def test_tasks_are_dealt_out_in_the_order_of_the_names(world: World) -> None:
    results = run(world, tasks=("one", "two $(x)"))
    assert [(result.clone, result.task) for result in results] == [("crab-1", "one"), ("crab-2", "two $(x)")]
    assert world.progress.texts("say")[-1] == "Without a task: crab-3"
    commands = [command for name, command in world.hypervisor.commands if name == "crab-2" and " each 0 " in command]
    assert [command.endswith(" each 0 '' '' crab-2 'two $(x)' make") for command in commands] == [True]


def test_more_tasks_than_clones_are_refused_before_anything_runs(world: World) -> None:
    with pytest.raises(InvalidInput) as caught:
        run(world, tasks=("x",) * 5)
    assert caught.value.hint == "Make more: moltfleet create GOLDEN -n 2"
    with pytest.raises(InvalidInput, match="are too long"):
        run(world, tasks=("'" * 30_000,))
    with pytest.raises(NotFound):
        run(world, "lobster-*")
    assert not [command for _, command in world.hypervisor.commands if " each " in command]


def test_a_dry_run_says_what_would_be_run(world: World) -> None:
    request = EachRequest("make test", tasks=("fix\x1b it",), repository="app", branch="b")
    assert plan_each(shipped(world), ["crab-*"], request) == (
        "crab-1: make test in app on branch b/crab-1, task 'fix? it'",
    )


@pytest.mark.parametrize(("jobs", "most"), [(2, 2), (None, 3)])
def test_no_more_run_at_once_than_asked_for(world: World, jobs: int | None, most: int) -> None:
    running, highest, lock = 0, 0, threading.Lock()
    everybody = threading.Barrier(most)

    class Session:
        def stream(self, command: str, **_: object) -> int:
            nonlocal running, highest
            with lock:
                running += 1
                highest = max(highest, running)
            # Two of three meet, the last comes alone.
            with suppress(threading.BrokenBarrierError):
                everybody.wait(0.5)
            with lock:
                running -= 1
            return 0

    class Guests:
        @contextmanager
        def login(self, endpoint: Endpoint, *, timeout_s: float) -> Iterator[Session]:
            yield Session()

    fleet = replace(shipped(world), guests=Guests())  # type: ignore[arg-type]
    results = run_each(fleet, ["crab-*"], EachRequest("make", jobs=jobs))
    assert [result.outcome for result in results] == ["done"] * 3
    assert highest == most


def with_work(world: World, name: str = "crab-1", *, status: int = 0) -> None:
    answers = {
        "rescue look": CommandResult(0, WORK.encode(), b""),
        "rescue commits": CommandResult(0, b"bundle", b""),
        " each 0 ": CommandResult(status, b"", b""),
    }
    world.hypervisor.behave(name, answers=answers)


def test_the_work_of_a_branch_comes_by_the_way_of_a_rescue_without_screens_and_logs(world: World) -> None:
    with_work(world, status=1)
    taker = Taker()
    request = EachRequest("make", repository="app", branch="b")
    (result,) = run_each(shipped(world), ["crab-1"], request, branches=taker)
    assert (result.branch, result.taken, result.outcome) == ("b/crab-1", True, "failed")
    assert result.rescue is not None and result.rescue.outcome is Outcome.RESCUED
    ((bundles, branch),) = taker.taken
    assert bundles == (f"{result.rescue.directory}/repository-1/commits.bundle",) and branch == "b/crab-1"
    (saved,) = world.rescues.all
    assert saved.manifest is not None and saved.manifest.reason == "each"
    (look,) = [command for _, command in world.hypervisor.commands if "rescue look" in command]
    assert look.partition("rescue look ")[2].split(";")[0] == "'r:~/app'"
    assert not [
        command for _, command in world.hypervisor.commands if "rescue screen" in command or "rescue logs" in command
    ]


@pytest.mark.parametrize("check", [Check(PartState.BAD, "it lies"), Check(PartState.KEPT, "not looked through")])
def test_only_a_bundle_that_was_found_sound_is_offered(world: World, check: Check) -> None:
    with_work(world)
    world.rescues.checks["repository-1/commits.bundle"] = check
    taker = Taker()
    (result,) = run_each(shipped(world), ["crab-1"], EachRequest("make", repository="app", branch="b"), branches=taker)
    assert (result.taken, taker.taken) == (False, [((), "b/crab-1")])
    assert result.error and result.error.exit_code is ExitCode.TOOL_FAILED


def test_a_branch_that_cannot_be_taken_is_the_failure_of_its_clone(world: World) -> None:
    with_work(world)
    taker = Taker(ToolFailed("Branch was not taken"))
    results = run_each(
        shipped(world), ["crab-1", "crab-2"], EachRequest("make", repository="app", branch="b"), branches=taker
    )
    assert [(result.outcome, result.taken) for result in results] == [("done", False), ("done", False)]
    assert results[0].error is taker.problem


def test_what_was_not_begun_or_not_reached_is_not_fetched(world: World) -> None:
    with_work(world, status=125)
    stop.stop(world.fleet, ["crab-2"], StopRequest())
    results = run(world, "crab-1", "crab-2", repository="app", branch="b", fetch=("out",))
    assert [result.rescue for result in results] == [None, None]
    assert results[0].error and results[0].error.brief == "Command in 'crab-1' was not begun"


def test_output_without_an_end_is_kept_in_bounded_memory() -> None:
    tail = _Tail()
    for number in range(300):
        tail.take(bytes([number % 256]) * 65536)
        assert len(tail.kept) <= 2 << 20
    assert (len(tail.end()), tail.truncated) == (1 << 20, True)
    assert tail.end()[-1:] == bytes([299 % 256])


@pytest.mark.parametrize(
    ("path", "asked"), [("app", "r:~/app"), ("~/app", "r:~/app"), ("~", "r:~"), ("/srv/app", "r:/srv/app")]
)
def test_a_path_in_a_guest_begins_at_its_users_home(world: World, path: str, asked: str) -> None:
    with_work(world)
    run(world, "crab-1", repository=path, branch="b")
    (look,) = [command for _, command in world.hypervisor.commands if "rescue look" in command]
    assert look.partition("rescue look ")[2].split(";")[0].strip("'") == asked


@pytest.mark.parametrize("name", ["fix", "fix-login", "a/b_c", "v1.2", "ann/try+1"])
def test_a_branch_may_be_called_so(name: str) -> None:
    assert check_branch(name) == name


NO_BRANCHES = (
    "",
    "-b",
    "a//b",
    "/a",
    "a/",
    "a..b",
    "a.lock/b",
    "a b",
    "a~1",
    "a^",
    "a:b",
    "@{u}",
    "a/.b",
    "a.",
    "ä",
    "a\n",
)


@pytest.mark.parametrize("name", [*NO_BRANCHES, "x" * 101])
def test_and_not_so(name: str) -> None:
    with pytest.raises(InvalidInput, match="is no name that branches can begin with"):
        check_branch(name)
