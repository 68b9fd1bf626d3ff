"""To be run by name. `agent` and `each` in a full guest: sessions that live on, and branches that come back."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Iterator

import pytest

from .conftest import COMMAND, LONGEST_S, User

pytestmark = pytest.mark.full_guest

CLONE = "perch"
GIT = "git -c user.name=Ann -c user.email=ann@example.org"
# In a login of a person: what is typed is typed with pauses, as a program that begins reads nothing yet.
TYPED = r"(sleep 25; printf 'touch ~/seen\r'; sleep 10; printf '\002d'; sleep 5)"


@pytest.fixture(scope="module")
def perch(owner: User, river: str) -> Iterator[str]:
    """A clone with the guest tools, tmux and git."""
    owner.run("create", river, CLONE)
    yield CLONE
    owner.run("delete", CLONE, "--yes")


def wait(owner: User, command: str) -> None:
    deadline = time.monotonic() + 120
    while owner.shell(CLONE, f"{command} && echo yes", check=False) != "yes":
        assert time.monotonic() < deadline, command
        time.sleep(2)


def test_a_session_lives_on_and_takes_commands(owner: User, perch: str) -> None:
    document = owner.json("agent", perch, "--", "echo $$ > ~/first; exec sleep 1000")
    assert (document["session"], document["act"]) == ("agent", "found")
    wait(owner, "test -s ~/first")
    # No login is open any more; where somebody is at work, a command gets a window of its own.
    assert "agent  detached" in owner.shell(perch, "agent-session --list")
    assert owner.run("agent", perch, "--", "touch ~/second").stdout.endswith(
        f"Session agent runs in {perch}; from a terminal: moltfleet agent {perch}\n"
    )
    wait(owner, "test -e ~/second")
    assert owner.shell(perch, "kill -0 $(cat ~/first) && echo alive") == "alive"
    scope = owner.shell(perch, "cat /proc/$(cat ~/first)/cgroup")
    assert "pane_agent" in scope or "pane-agent" in scope, scope


def test_a_person_is_attached_and_leaves_it_running(owner: User, perch: str) -> None:
    line = f"{TYPED} | script -q -e -c {shlex.quote(f'{COMMAND} agent {perch}')} /dev/null"
    argv = owner.lab.argv(("env", "TERM=xterm-256color", "sh", "-c", line), user=owner.name)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{perch}: no claude, no codex, no gemini" in done.stdout
    assert owner.shell(perch, "test -e ~/seen && echo yes") == "yes"
    assert "agent  detached" in owner.shell(perch, "agent-session --list")


def test_git_is_told_of_and_no_secret_is(owner: User, perch: str) -> None:
    owner.shell(perch, "git config --global user.name Ann && git config --global user.email ann@example.org")
    owner.shell(perch, "git config --global commit.gpgSign true && git config --global gpg.format ssh")
    owner.shell(perch, 'mkdir -p ~/.claude && echo \'{"token": "sk-secret"}\' > ~/.claude/.credentials.json')
    said = owner.run("--json", "agent", perch).stdout
    assert json.loads(said)["git"] == {"identity": "Ann <ann@example.org>", "signing": "no-key"}
    assert "sk-secret" not in said
    owner.shell(perch, "git config --global --unset commit.gpgSign")


def test_branches_of_clones_come_back_into_a_repository_here(owner: User, perch: str) -> None:
    here = owner.write("here/main.c", "one\n").rpartition("/")[0]

    def git(*words: str) -> str:
        return owner.lab.run(*GIT.split(), "-C", here, *words, user=owner.name).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    git("bundle", "create", "--quiet", f"{here}/../app.bundle", "--all")
    owner.run("copy", f"{here}/../app.bundle", f"{perch}:app.bundle")
    owner.shell(perch, "rm -rf app && git clone --quiet app.bundle app && cd app && git checkout --quiet -B main")
    tasks = owner.write("tasks", "it's the $(first) task\n")
    work = 'echo two >>main.c && git commit -qam "$MOLTFLEET_TASK" && echo three >>main.c'
    words = ("--tasks", tasks, "--repo", "app", "--branch", "try", "--into", here, "--timeout", "300")
    (result,) = owner.json("each", perch, *words, "--", work)["results"]
    assert (result["outcome"], result["taken"], result["branch"]) == ("done", True, f"try/{perch}")
    assert git("log", "-1", "--format=%s", f"try/{perch}") == "it's the $(first) task"
    assert git("show", f"try/{perch}:main.c") == "one\ntwo"
    patch = f"{result['fetched']['directory']}/repository-1/unstaged.patch"
    assert "+three" in owner.lab.run("cat", patch, user=owner.name).stdout
    assert owner.run("rescue", "show", perch).returncode == 0
