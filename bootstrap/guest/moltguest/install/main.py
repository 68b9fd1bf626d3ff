"""install.py: its command line, and how each of its acts ends."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass

from moltguest.install.perform import Failed, install, remove
from moltguest.install.record import read_record
from moltguest.install.status import document, text

USAGE = """\
usage: install.py install --version VERSION [--root DIR]
       install.py status [--json] [--root DIR]
       install.py remove [--root DIR]

Puts the tools that lie beside it into this guest, shows whether they are as they were put there, takes them away.
Exit status: 0 done, 1 failed and what was there before still works, 2 bad command line, 3 nothing is installed.
"""
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,79}")
_RESERVED = ("current", "saved", "version")


@dataclass(slots=True)
class _Request:
    act: str = ""
    version: str = ""
    root: str = "/"
    json: bool = False


def main(arguments: list[str]) -> int:
    """Run the program."""
    if arguments and arguments[0] in ("--help", "-h"):
        sys.stdout.write(USAGE)
        return 0
    try:
        request = _parse(arguments)
    except ValueError as error:
        sys.stderr.write(f"install.py: {error}\n{USAGE}")
        return 2
    try:
        return _ACTS[request.act](request)
    except (Failed, OSError, ValueError) as error:
        sys.stderr.write(f"install.py: {error}\n")
        return 1


def _parse(arguments: list[str]) -> _Request:
    request, rest = _Request(), list(arguments)
    request.act = rest.pop(0) if rest else ""
    if request.act not in _ACTS:
        raise ValueError("what is to be done?" if not request.act else f"{request.act!r} is no act")
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if word == "--json" and not equals:
            request.json = True
            continue
        if word not in ("--version", "--root"):
            raise ValueError(f"{word!r} is not an option")
        if not equals and not rest:
            raise ValueError(f"{word} has no value")
        setattr(request, word[2:], value if equals else rest.pop(0))
    if request.act == "install" and (not _VERSION.fullmatch(request.version) or request.version in _RESERVED):
        raise ValueError("--version is to be a word like 1.2.3")
    return request


def _install(request: _Request) -> int:
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    problems = install(source, request.version, request.root)
    sys.stderr.write("".join(f"install.py: {problem}\n" for problem in problems))
    sys.stdout.write(f"Installed {request.version}\n")
    return 0


def _status(request: _Request) -> int:
    record = read_record(request.root)
    shown = document(request.root, record)
    sys.stdout.write(json.dumps(shown) + "\n" if request.json else text(shown))
    return 0 if shown["version"] else 3


def _remove(request: _Request) -> int:
    if read_record(request.root) is None:
        sys.stderr.write("install.py: nothing is installed\n")
        return 3
    problems = remove(request.root)
    sys.stderr.write("".join(f"install.py: {problem}\n" for problem in problems))
    sys.stdout.write("Removed\n")
    return 0


_ACTS = {"install": _install, "status": _status, "remove": _remove}
