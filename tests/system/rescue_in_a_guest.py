"""To be run by name. Work pulled out of real guests before molts: well, full, lying, and too far gone to answer."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import FULL_CONFIG, User

pytestmark = pytest.mark.full_guest

CLONE = "trout"
WORK = """
set -e
export GIT_AUTHOR_NAME=trout GIT_AUTHOR_EMAIL=trout@example.org
export GIT_COMMITTER_NAME=trout GIT_COMMITTER_EMAIL=trout@example.org
mkdir -p ~/work/repos/app ~/work/artifacts/report
cd ~/work/repos/app
git init --quiet
echo one >main.c
git add main.c
git commit --quiet -m first
echo two >main.c
git add main.c
echo three >main.c
echo new >"new file"
echo '<p>done</p>' >~/work/artifacts/report/index.html
tmux new-session -d -s work 'echo what the agent said; exec sleep 1000'
sync
"""
# More than anybody takes, of what would drive a terminal.
LIAR = r"#!/bin/sh\nyes \"$(printf '\033[2J\033]0;owned\007')\" | head -c 1073741824\n"


@pytest.fixture(scope="module")
def trout(owner: User, river: str) -> Iterator[str]:
    """A clone with the guest tools."""
    owner.run("create", river, CLONE)
    yield CLONE
    owner.configure(FULL_CONFIG)
    owner.run("delete", CLONE, "--yes")


def root(owner: User, script: str) -> str:
    """What a script run as root in the clone prints."""
    return owner.shell(CLONE, f"sudo sh -c {shlex.quote(script)}")


def rescued(owner: User, *, code: int = 0) -> dict[str, Any]:
    (result,) = owner.json("rescue", CLONE, code=code)["results"]
    assert isinstance(result, dict)
    return result


def molted(owner: User, *options: str) -> dict[str, Any]:
    (result,) = owner.json(*options, "molt", CLONE, "--rescue", "--yes")["results"]
    assert result["outcome"] == "molted", result
    assert isinstance(result, dict)
    return result


def applied(owner: User, directory: str) -> str:
    """Apply a rescue with git as docs/rescue.md says, and return the file as it was in the guest."""
    script = """
    set -e
    rm -rf ~/app && git clone --quiet "$1/repository-1/commits.bundle" ~/app && cd ~/app
    git apply --index "$1/repository-1/staged.patch"
    test "$(git show :main.c)" = two
    git apply "$1/repository-1/unstaged.patch"
    cp -r "$1/repository-1/files/." .
    cat main.c 'new file'
    """
    return owner.lab.run("sh", "-c", script, "-", directory, user=owner.name).stdout


def test_all_kinds_of_work_are_stored_and_git_applies_them(owner: User, trout: str) -> None:
    owner.shell(trout, WORK)
    result = rescued(owner)
    assert (result["outcome"], result["error"]) == ("rescued", None), result
    # Whether anything was ever killed in this guest is not what is asked here.
    assert {part["kind"]: part["state"] for part in result["parts"] if part["kind"] != "logs"} == {
        "staged": "sound",
        "unstaged": "sound",
        "files": "sound",
        "commits": "sound",
        "screen": "kept",
        "tree": "sound",
    }
    assert applied(owner, result["directory"]) == "three\nnew\n"
    read = owner.lab.run("sh", "-c", 'cd "$1" && cat artifacts-1/report/index.html screen-*.txt', "-",
                         result["directory"], user=owner.name).stdout  # fmt: skip
    assert "<p>done</p>" in read and "what the agent said" in read
    owner.run("rescue", "show", trout)


def test_a_molt_sheds_the_layer_when_its_work_is_here(owner: User, trout: str) -> None:
    result = molted(owner)
    assert (result["rescue"]["outcome"], result["kept"]) == ("rescued", None)
    assert owner.shell(trout, "ls ~/work/repos") == ""
    assert applied(owner, result["rescue"]["directory"]) == "three\nnew\n"
    again = molted(owner)
    assert (again["rescue"]["outcome"] in ("nothing", "rescued"), again["kept"]) == (True, None)


def test_a_full_disk_in_the_guest_is_no_hindrance(owner: User, trout: str) -> None:
    owner.shell(trout, WORK)
    root(
        owner,
        "fallocate -l $(df --output=avail -B1 / | tail -1) /var/tmp/fill; head -c 1G /dev/zero >/var/tmp/more; sync",
    )
    assert owner.shell(trout, "echo x >~/x 2>/dev/null || echo full") == "full"
    result = molted(owner)
    assert (result["rescue"]["outcome"], result["kept"]) == ("rescued", None)
    assert applied(owner, result["rescue"]["directory"]) == "three\nnew\n"


def test_a_guest_that_floods_keeps_its_layer(owner: User, trout: str) -> None:
    owner.shell(trout, WORK)
    root(owner, f'printf "{LIAR}" >/usr/bin/git')
    hasty = owner.write("hasty.toml", f"{FULL_CONFIG}[rescue]\nseconds = 15\n")
    result = molted(owner, "--config", hasty)
    assert result["rescue"]["outcome"] in ("partly", "unreachable")
    assert result["kept"].startswith("unrescued-")
    shown = owner.run("rescue", "list", trout)
    assert "\x1b" not in shown.stdout + shown.stderr
    owner.run("kept", "delete", trout, result["kept"], "--yes")


def test_the_work_of_a_guest_too_far_gone_is_recovered_from_its_layer(owner: User, trout: str) -> None:
    owner.shell(trout, WORK)
    # sshd and the agent stand still, as when there is no memory left; what was written is on the disk.
    stop = "sleep 2; pkill -STOP -x qemu-ga; pkill -STOP -x sshd"
    root(owner, f"sync; setsid sh -c '{stop}' >/dev/null 2>&1 </dev/null &")
    hasty = owner.write("hasty.toml", f"{FULL_CONFIG}[timeouts]\nlogin = 8\n")
    owner.lab.run("sleep", "5")
    result = molted(owner, "--config", hasty)
    assert result["rescue"] == {"outcome": "unreachable", "directory": None}
    label = result["kept"]
    assert label.startswith("unrescued-")
    assert owner.shell(trout, "ls ~/work/repos") == ""
    owner.run("kept", "restore", trout, label)
    again = rescued(owner)
    assert again["outcome"] == "rescued", again
    assert applied(owner, again["directory"]) == "three\nnew\n"
    owner.run("molt", trout, "--yes")


def test_old_rescues_go_when_told(owner: User, trout: str) -> None:
    before = len(owner.json("rescue", "list", trout)["rescues"])
    assert before >= 4
    owner.run("rescue", "prune", trout, "--older-than", "0", code=2)
    owner.run("rescue", "prune", trout, "--older-than", "0", "--yes")
    assert len(owner.json("rescue", "list", trout)["rescues"]) == 1
