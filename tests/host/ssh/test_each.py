"""`moltfleet each` over real sshds with real git: own tasks, own branches, work fetched, and guests that lie."""

from __future__ import annotations

import json
import os
import pwd
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fakes import a_world
from host.ssh.rescued import PLAIN, git
from moltfleet.adapters.clock import SystemClock
from moltfleet.adapters.rescue.store import RescueFiles
from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.cli.app import app
from moltfleet.cli.invocation import Invocation
from moltfleet.model.domain import Endpoint
from moltfleet.model.size import Size
from moltfleet.operations.fleet import Fleet

NAMES = ("crab-1", "crab-2", "crab-3")
IDENTITY = {key: value for key, value in PLAIN.items() if key.startswith("GIT_")}


class Bootstrap(BootstrapFiles):
    """The real programs; ``before`` is what a lying guest does with that of rescues."""

    before = ""

    def read(self, name: str) -> bytes:
        lie = f"{self.before}\n".encode() if name == "rescue.sh" else b""
        return lie + super().read(name)


class Guests:
    """The Guests port: each clone is a server of its own."""

    def __init__(self, servers: dict[str, Any]) -> None:
        self.servers = servers

    def banner(self, endpoint: Endpoint, *, timeout_s: float) -> str | None:
        return self.servers[endpoint.name].guests().banner(endpoint, timeout_s=timeout_s)

    def login(self, endpoint: Endpoint, *, timeout_s: float) -> Any:
        return self.servers[endpoint.name].guests().login(endpoint, timeout_s=timeout_s)


@dataclass
class Many:
    """Three clones, each with a clone of the repository ``here`` at ~/app."""

    fleet: Fleet
    bootstrap: Bootstrap
    homes: dict[str, Path]
    here: Path
    servers: dict[str, Any]

    def do(self, *words: str) -> Any:
        invocation = Invocation(build_fleet=lambda *_: self.fleet, environment={"HOME": str(self.here)})
        return CliRunner().invoke(app, ["each", *words], obj=invocation, catch_exceptions=False)

    def json(self, *words: str, code: int = 0) -> dict[str, dict[str, Any]]:
        """Results by clone."""
        done = self.do("--json", *words)
        assert done.exit_code == code, done.output
        return {result["clone"]: result for result in json.loads(done.stdout)["results"]}


@pytest.fixture
def many(guest_of: Callable[..., Any], tmp_path: Path) -> Many:
    here = tmp_path / "here"
    here.mkdir()
    git(here, "init", "--quiet")
    (here / "main.c").write_text("one\n")
    git(here, "add", ".")
    git(here, "commit", "--quiet", "-m", "first")
    homes, servers = {}, {}
    world = a_world(clones=NAMES, emulation_factor=1)
    for name in NAMES:
        homes[name] = tmp_path / name
        homes[name].mkdir()
        git(tmp_path, "clone", "--quiet", str(here), str(homes[name] / "app"))
        servers[name] = guest_of(name, **IDENTITY, HOME=homes[name], TMUX_TMPDIR=homes[name])
        record = world.record(name)
        attachment = replace(record.attachment, kind="user", ssh_port=servers[name].endpoint.port)
        user, keys = pwd.getpwuid(os.getuid()).pw_name, servers[name].endpoint.host_keys
        world.hypervisor.write_record(name, replace(record, attachment=attachment, host_keys=keys, user=user))
    limits = {"per_clone": Size.of_mib(50), "total": Size.of_mib(200)}
    store = RescueFiles(tmp_path / "kept", is_root=False, measure_free=lambda _: Size.of_gib(50), **limits)
    bootstrap = Bootstrap()
    fleet = replace(world.fleet, guests=Guests(servers), bootstrap=bootstrap, clock=SystemClock(), rescues=store)
    return Many(fleet, bootstrap, homes, here, servers)


WORK = """\
TASK=${MOLTFLEET_TASK:-any}; echo "$TASK" >>main.c && git commit -qam "$TASK" && echo "on $(git branch --show-current)"
"""


def test_each_clone_does_its_task_on_its_branch_and_all_of_them_come_back(many, tmp_path):
    (tmp_path / "tasks").write_text("fix the $(login)\n\nwrite 'tests' \"now\"\nno\n")
    words = ("--tasks", str(tmp_path / "tasks"), "--repo", "app", "--branch", "try/it", "--into", str(many.here))
    done = many.do("crab-*", *words, "--", WORK)
    assert (done.exit_code, done.stderr.count("Error")) == (0, 0)
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert [row.split()[:3] for row in rows[1:]] == [[name, "done", "0"] for name in NAMES]
    assert [row.partition("branch ")[2] for row in rows[1:]] == [f"try/it/{name} on try/it/{name}" for name in NAMES]
    subjects = [git(many.here, "log", "-1", "--format=%s", f"try/it/{name}") for name in NAMES]
    assert subjects == ["fix the $(login)", "write 'tests' \"now\"", "no"]
    assert git(many.here, "show", "try/it/crab-1:main.c") == "one\nfix the $(login)"
    # Nothing else has changed here, and every bundle is kept, too.
    assert git(many.here, "status", "--porcelain") == "" and git(many.here, "log", "-1", "--format=%s") == "first"
    assert sorted(saved.clone for saved in many.fleet.rescues.saved()) == list(NAMES)
    # A second time goes on where the first ended.
    many.json("crab-1", *words[2:], "--", "git commit -q --allow-empty -m again")
    assert git(many.here, "rev-list", "--count", "try/it/crab-1") == "3"


def test_a_failure_in_one_leaves_the_others_and_is_told(many):
    done = many.do(
        "crab-*",
        "--jobs",
        "2",
        "--",
        "echo in $MOLTFLEET_CLONE; [ $MOLTFLEET_CLONE != crab-2 ] || { echo why >&2; exit 3; }",
    )
    assert done.exit_code == 1
    assert [line.split()[1:3] for line in done.stdout.splitlines()[1:]] == [
        ["done", "0"],
        ["failed", "3"],
        ["done", "0"],
    ]
    assert "  | why\nError: Command in 'crab-2' ended with 3\n" in done.stderr


def test_what_takes_too_long_is_ended_in_the_guest_and_its_work_comes_all_the_same(many):
    line = f"{WORK}echo more >>main.c; [ $MOLTFLEET_CLONE = crab-2 ] || exit 0; echo $$ >~/pid; exec sleep 4321"
    words = ("--repo", "~/app", "--branch", "b", "--into", str(many.here), "--timeout", "6")
    results = many.json("crab-*", *words, "--", line, code=1)
    outcomes = [(result["outcome"], result["exit_status"]) for result in results.values()]
    assert outcomes == [("done", 0), ("late", None), ("done", 0)]
    assert results["crab-2"]["error"]["brief"] == "Command in 'crab-2' did not end within 6 s"
    assert [result["taken"] for result in results.values()] == [True] * 3
    directory = Path(results["crab-2"]["fetched"]["directory"])
    assert "+more" in (directory / "repository-1/unstaged.patch").read_text()
    pid, deadline = (many.homes["crab-2"] / "pid").read_text().strip(), time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "it goes on in the guest"
        time.sleep(0.1)


def test_a_guest_that_stands_still_keeps_nobody_else_waiting(many):
    listener = many.servers["crab-2"].process
    listener.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        results = many.json("crab-*", "--timeout", "3", "--", "true", code=1)
        assert time.monotonic() - started < 15
    finally:
        listener.send_signal(signal.SIGCONT)
    assert [result["outcome"] for result in results.values()] == ["done", "late", "done"]
    assert results["crab-2"]["error"]["code"] == "timeout"


def test_a_connection_that_breaks_off_is_told_of_its_clone_alone(many):
    line = "[ $MOLTFLEET_CLONE != crab-3 ] || { echo said; sleep 1; kill -9 $PPID; sleep 5; }"
    results = many.json("crab-*", "--", line, code=1)
    assert [result["outcome"] for result in results.values()] == ["done", "done", "unreached"]
    assert results["crab-3"]["error"]["code"] == "guest-unreachable"
    assert results["crab-3"]["stdout"] == "said\n"


@pytest.mark.parametrize(("repository", "below"), [("app", "/app"), ("~/app", "/app"), ("~", ""), ("", "")])
def test_it_runs_in_the_directory_that_was_named_or_at_home(many, repository, below):
    result = many.json("crab-1", "--repo", repository, "--", "pwd")["crab-1"]
    assert result["stdout"] == f"{many.homes['crab-1']}{below}\n"


def test_artifacts_are_fetched_without_a_repository(many):
    results = many.json(
        "crab-1", "crab-2", "--fetch", "out", "--", "mkdir -p out/deep && echo $MOLTFLEET_CLONE >out/deep/result"
    )
    for name, result in results.items():
        assert (Path(result["fetched"]["directory"]) / "artifacts-1/deep/result").read_text() == f"{name}\n"


def test_nothing_new_is_no_failure(many):
    results = many.json("crab-1", "--repo", "app", "--branch", "b", "--into", str(many.here), "--", "true")
    assert (results["crab-1"]["fetched"], results["crab-1"]["taken"]) == (
        {"outcome": "nothing", "directory": None},
        False,
    )
    assert git(many.here, "branch", "--list", "b/*") == ""


def test_where_it_cannot_begin_nothing_is_run_or_fetched(many):
    (many.homes["crab-1"] / "app/.git").rename(many.homes["crab-1"] / "gone")
    results = many.json("crab-1", "crab-2", "--repo", "app", "--branch", "b", "--", "touch ~/ran", code=1)
    assert (results["crab-1"]["exit_status"], results["crab-1"]["fetched"]) == (125, None)
    assert results["crab-1"]["error"]["brief"] == "Command in 'crab-1' was not begun"
    assert not (many.homes["crab-1"] / "ran").exists() and (many.homes["crab-2"] / "ran").exists()


def test_a_guest_that_floods_and_drives_terminals_is_bounded(many):
    flood = r"printf '\033]0;owned\007\033[2J'; head -c 6000000 /dev/zero | tr '\0' x"
    end = r"; printf '\n\033[31mred\033]8;;http://evil\007\n'; exit 1"
    result = many.json("crab-1", "--", flood + end, code=7)["crab-1"]
    assert result["truncated"] and len(result["stdout"]) == 2**20
    assert result["stdout"].endswith("\n\x1b[31mred\x1b]8;;http://evil\x07\n")
    shown = many.do("crab-1", "--", flood + end)
    assert "\x1b" not in shown.output and "\x07" not in shown.output and len(shown.output) < 4000
    assert "red" in shown.stdout


def lying_bundle(where: Path) -> Path:
    """A bundle whose branch leads to a commit that is not in it."""
    (where / "head").write_bytes(b"# v2 git bundle\n" + b"1" * 40 + b" refs/heads/b/crab-1\n\n")
    git(where, "init", "--quiet")
    pack = where / "empty.pack"
    pack.write_bytes(bytes.fromhex("5041434b0000000200000000029d08823bd8a8eab510ad6ac75c823cfd3ed31e"))
    bundle = where / "bundle"
    bundle.write_bytes((where / "head").read_bytes() + pack.read_bytes())
    return bundle


def test_a_bundle_that_lies_is_not_taken(many, tmp_path):
    (tmp_path / "lie").mkdir()
    many.bootstrap.before = f"case $1 in commits) cat {lying_bundle(tmp_path / 'lie')}; exit 0 ;; esac"
    before = git(many.here, "for-each-ref")
    result = many.json("crab-1", "--repo", "app", "--branch", "b", "--into", str(many.here), "--", WORK, code=7)[
        "crab-1"
    ]
    assert (result["outcome"], result["taken"], result["fetched"]["outcome"]) == ("done", False, "partly")
    assert git(many.here, "for-each-ref") == before


def test_a_branch_here_only_moves_forward_and_never_under_a_person(many):
    git(many.here, "checkout", "--quiet", "-b", "b/crab-1")
    git(many.here, "commit", "--quiet", "--allow-empty", "-m", "mine")
    words = ("--repo", "app", "--branch", "b", "--into", str(many.here))
    for _ in range(2):
        result = many.json("crab-1", *words, "--", WORK, code=7)["crab-1"]
        assert result["error"]["brief"].startswith("Branch 'b/crab-1' was not taken into ")
        assert git(many.here, "log", "-1", "--format=%s", "b/crab-1") == "mine"
        git(many.here, "checkout", "--quiet", "-")


def test_a_place_that_is_no_repository_is_found_out_before_anything_runs(many, tmp_path):
    (tmp_path / "plain").mkdir()
    done = many.do("crab-1", "--repo", "app", "--branch", "b", "--into", str(tmp_path / "plain"), "--", "touch ~/ran")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: '{tmp_path}/plain' is no git repository\n")
    assert not (many.homes["crab-1"] / "ran").exists()
