"""To be run by name. Rescue from a guest that has no git, no tmux and busybox's tar; and from one that is off."""

from __future__ import annotations

from .conftest import User


def test_files_come_without_git_or_gnu_tar(alice: User, crab: str) -> None:
    alice.shell(crab, "mkdir -p ~/work/artifacts/report && echo done >~/work/artifacts/report/result && sync")
    (result,) = alice.json("molt", crab, "--rescue", "--yes")["results"]
    # Whether there are repositories among them nobody can tell there, so the layer stays as well.
    assert (result["outcome"], result["kept"][:10], result["rescue"]["outcome"]) == ("molted", "unrescued-", "partly")
    path = f"{result['rescue']['directory']}/artifacts-1/report/result"
    assert alice.lab.run("cat", path, user=alice.name).stdout == "done\n"
    assert alice.shell(crab, "ls ~/work 2>/dev/null | wc -l") == "0"
    (result,) = alice.json("molt", crab, "--rescue", "--yes")["results"]
    assert result["rescue"] == {"outcome": "nothing", "directory": None}


def test_repositories_that_nobody_can_look_into_keep_the_layer(alice: User, crab: str) -> None:
    alice.shell(crab, "mkdir -p ~/work/repos/app && echo work >~/work/repos/app/main.c && sync")
    (result,) = alice.json("molt", crab, "--rescue", "--yes")["results"]
    assert (result["rescue"]["outcome"], result["kept"][:10]) == ("partly", "unrescued-")
    alice.run("kept", "restore", crab, result["kept"])
    assert alice.shell(crab, "cat ~/work/repos/app/main.c") == "work"


def test_a_clone_that_is_off_keeps_its_layer(alice: User, crab: str) -> None:
    alice.shell(crab, "echo work >~/notes && sync")
    alice.run("stop", crab, "--now")
    (result,) = alice.json("molt", crab, "--rescue", "--yes")["results"]
    assert (result["rescue"]["outcome"], result["kept"][:10]) == ("unreachable", "unrescued-")
    assert alice.run("kept", "list", crab).stdout.count("unrescued-") == 1
