"""What a guest answers to logins.sh: its home is the files that its layers hold, under "home/"."""

from __future__ import annotations

import base64
import shlex
from typing import TYPE_CHECKING

from moltfleet.model.domain import CommandResult

if TYPE_CHECKING:
    from fakes.guests import FakeGuest

HOME = "home/"


def answer(guest: FakeGuest, command: str, input: bytes) -> CommandResult:
    """Do what the script does."""
    act, *words = shlex.split(command, comments=False)[4:]
    return {"look": _look, "put": _put, "remove": _remove}[act](guest, words, input)


def _look(guest: FakeGuest, words: list[str], _: bytes) -> CommandResult:
    lines = []
    for number, path in enumerate(words[1:], start=1):
        when, _, text = guest.read(HOME + path).partition("\n")
        if text:
            lines.append(f"{number} {when} {base64.b64encode(text.encode()).decode()}\n")
    return CommandResult(0, "".join(lines).encode(), b"")


def _put(guest: FakeGuest, words: list[str], input: bytes) -> CommandResult:
    for path, line in zip(words, input.splitlines(), strict=True):
        when, content = line.split(b" ")
        guest.write(HOME + path, f"{when.decode()}\n{base64.b64decode(content).decode()}")
    return CommandResult(0, b"", b"")


def _remove(guest: FakeGuest, words: list[str], _: bytes) -> CommandResult:
    for path in words:
        guest.write(HOME + path, "")
    return CommandResult(0, b"", b"")
