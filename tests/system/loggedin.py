"""A stand-in for a tool: each use is worth one token and makes the next; the test plays its server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import TINY_CONFIG, User

LOGINS = """
[logins]
allow = ["codex", "mytool"]
[logins.more.mytool]
files = ["~/.mytool/a token"]
rotates = true
"""
MARK = "rt-q7Zk31xv"
FILE = ".codex/auth.json"
MOLTS = 50
# $1 is what the server takes; the next one is made of it, as the real tools do.
USE = f"""
grep -q '"{MARK}-'"$1"'"' ~/{FILE} || {{ echo logged out; exit; }}
next=$(($1 + 1))
printf '{{"last_refresh": %s, "tokens": {{"refresh_token": "{MARK}-%s"}}}}' "$(date +%s)" "$next" >~/{FILE}.new
mv ~/{FILE}.new ~/{FILE} && sync && echo logged in
"""


def document(number: int) -> str:
    return json.dumps({"last_refresh": 1_700_000_000 + number, "tokens": {"refresh_token": f"{MARK}-{number}"}})


class Tool:
    """The stand-in and its server: ``number`` is the one token that is good."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.number = 0
        user.write(FILE, document(0))
        user.write(".mytool/a token", f"{MARK}-plain")

    def use(self, clone: str) -> str:
        """Use it in a clone."""
        said = self.user.shell(clone, f"set -- {self.number}\n{USE}")
        self.number += said == "logged in"
        return said

    def on_host(self) -> int:
        """Which token this machine has."""
        text = self.user.lab.run("sh", "-c", f"cat ~/{FILE}", user=self.user.name).stdout
        return int(json.loads(text)["tokens"]["refresh_token"].rpartition("-")[2])


@pytest.fixture
def tool(alice: User) -> Iterator[Tool]:
    alice.configure(TINY_CONFIG + LOGINS)
    yield Tool(alice)
    alice.configure(TINY_CONFIG)
    alice.lab.run("sh", "-c", "rm -rf ~/.codex ~/.mytool ~/.local/share/moltfleet/logins", user=alice.name)


def synced(tool: Tool, clone: str) -> None:
    (result,) = tool.user.json("sync-auth", clone)["results"]
    assert (result["outcome"], result["logins"]["pushed"]) == ("synced", ["codex", "mytool"]), result


def molted(tool: Tool, clone: str, *options: str) -> dict[str, Any]:
    done = tool.user.run("--json", "-vv", "molt", clone, "--yes", *options)
    assert MARK not in done.stdout + done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert result["outcome"] == "molted", result
    assert isinstance(result, dict)
    return result
