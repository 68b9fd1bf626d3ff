"""bootstrap/rescue.sh in the shells and with the programs that guests have; git and sshd are in tests/host."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.allow("subprocess")

APPLETS = ("sh", "find", "tar", "xargs", "grep", "sed", "awk", "head", "tail", "cat", "sort", "cut", "id", "dirname")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    artifacts = tmp_path / "a home/work/artifacts"
    artifacts.mkdir(parents=True)
    (artifacts / "two words").write_text("x" * 10)
    (tmp_path / "a home/work/repos/app").mkdir(parents=True)
    return tmp_path / "a home"


@pytest.fixture(params=["dash", "busybox"])
def programs(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A PATH: this machine's programs, or those of busybox and no other, so neither git nor GNU tar."""
    directory = tmp_path / "bin"
    directory.mkdir()
    if request.param == "dash":
        for program in Path("/usr/bin").iterdir():
            if program.name not in ("git", "tmux", "sh"):
                (directory / program.name).symlink_to(program)
        (directory / "sh").symlink_to("/bin/dash")
    else:
        for name in APPLETS:
            (directory / name).symlink_to("/bin/busybox")
    return directory


def run(
    bootstrap: Path, programs: Path, home: Path, *words: str, largest: int = 1000
) -> subprocess.CompletedProcess[bytes]:
    text = (bootstrap / "rescue.sh").read_text()
    environment = {
        "PATH": str(programs), "HOME": str(home), "RESCUE": text, "RESCUE_LARGEST": "1000",
        "MOLTFLEET_ROOT": str(home), "TMUX_TMPDIR": str(home),
    }  # fmt: skip
    return subprocess.run(["sh", "-c", text, "rescue", *words], env=environment, capture_output=True)


def test_what_there_is_is_told_without_git_as_well(bootstrap: Path, programs: Path, home: Path) -> None:
    (home / "work/artifacts/.git").mkdir()
    done = run(bootstrap, programs, home, "look", "r:~/work/repos", "r:~/nowhere", "t:~/work/artifacts", "t:~/nowhere")
    trouble = f"trouble\0{home}/work/repos\0there is no git in the guest\0"
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"{trouble}tree\0{home}/work/artifacts\0end\0"


def test_a_tree_comes_as_an_archive(bootstrap: Path, programs: Path, home: Path) -> None:
    done = run(bootstrap, programs, home, "tree", f"{home}/work/artifacts".replace(" ", "\\0040"))
    assert (done.returncode, done.stderr) == (0, b"")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert [member.name for member in tar if member.isfile()] == ["./two words"]


def test_one_file_comes_as_an_archive(bootstrap: Path, programs: Path, home: Path) -> None:
    done = run(bootstrap, programs, home, "tree", "~/work/artifacts/two\\0040words")
    assert (done.returncode, done.stderr) == (0, b"")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert tar.getnames() == ["./two words"]


def test_recordings_of_crashes_are_told_and_sent(bootstrap: Path, programs: Path, home: Path) -> None:
    recording = home / "var/lib/moltfleet/watchdog/kill-1.jsonl"
    recording.parent.mkdir(parents=True)
    recording.write_text('{"schema": "moltfleet.recording/1"}\n')
    assert run(bootstrap, programs, home, "look").stdout == b"logs\0end\0"
    assert run(bootstrap, programs, home, "logs").stdout.startswith(f'==> {recording}\n{{"schema"'.encode())


def test_kills_of_the_kernel_are_crashes(bootstrap: Path, programs: Path, home: Path) -> None:
    (home / "proc").mkdir()
    (home / "proc/vmstat").write_text("nr_free_pages 1\noom_kill 0\n")
    assert run(bootstrap, programs, home, "look").stdout == b"end\0"
    (home / "proc/vmstat").write_text("nr_free_pages 1\noom_kill 12\n")
    assert run(bootstrap, programs, home, "look").stdout == b"logs\0end\0"


def test_a_word_that_is_none_is_refused(bootstrap: Path, programs: Path, home: Path) -> None:
    for words in (("what",), ("tree", "/nowhere/at/all"), ("staged", "/nowhere")):
        done = run(bootstrap, programs, home, *words)
        assert (done.returncode != 0, done.stdout) == (True, b"")


# A repository with a commit and what git takes for a stash.
COMMIT = """
git init -q "$0" && cd "$0"
git -c user.name=a -c user.email=a@b commit -q --allow-empty -m begun
git update-ref refs/stash HEAD
"""


@pytest.mark.parametrize(
    ("git", "trouble"),
    [
        ("kill -KILL $PPID", "git could not be asked about it"),
        ("exit 128", "git does not take it for a repository"),
        ('case "$*" in *rev-list*) exit 128 ;; esac; exec /usr/bin/git "$@"', "git cannot list its commits"),
        ('case "$*" in *walk-reflogs*) exit 128 ;; esac; exec /usr/bin/git "$@"', "git cannot list its stashes"),
        ('case "$*" in *status*) exit 128 ;; esac; exec /usr/bin/git "$@"', "git cannot compare its files"),
    ],
)
def test_a_repository_that_git_fails_in_is_told_as_trouble(
    bootstrap: Path, programs: Path, home: Path, git: str, trouble: str
) -> None:
    repository = home / "work/repos/app"
    subprocess.run(["sh", "-ec", COMMIT, str(repository)], check=True)
    (programs / "git").write_text(f"#!/bin/sh\n{git}\n")
    (programs / "git").chmod(0o755)
    told = run(bootstrap, programs, home, "look", "r:~/work/repos").stdout.decode().split("\0")
    assert trouble in told, told
    assert told[told.index(trouble) - 1] == str(repository)
    assert told[-2] == "end"
