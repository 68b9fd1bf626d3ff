"""Who an agent is in a guest: its programs with their logins, GitHub, git; read from bounded records of the guest's."""

from __future__ import annotations

from dataclasses import dataclass

from moltfleet.model.errors import GuestFailed
from moltfleet.model.names import printable

_LONGEST = 200
_MOST_RECORDS = 20
_WIDTHS = {"cli": 4, "gh": 3, "git": 3}
_LOGINS = ("yes", "no", "absent")
_SIGNING = ("ssh", "openpgp", "x509", "off", "no-key")


@dataclass(frozen=True, slots=True)
class AgentProgram:
    """An agent's program. ``version`` is "" when it does not tell; ``logged_in`` says that a login lies there."""

    name: str
    version: str
    installed: bool
    logged_in: bool


@dataclass(frozen=True, slots=True)
class AgentLine:
    """What the line on connecting says. ``signing`` is "ssh", "openpgp", "x509", "off", "no-key" or "unknown"."""

    programs: tuple[AgentProgram, ...]
    github: AgentProgram | None
    github_user: str
    identity: str
    signing: str


def read_line(answer: bytes) -> AgentLine:
    """Read what ``agent.sh facts`` prints; what it cannot have said is left out. Raises: GuestFailed without any."""
    programs: list[AgentProgram] = []
    github, user, identity, signing = None, "", "", "unknown"
    for record in answer.decode("utf-8", "replace").splitlines()[:_MOST_RECORDS]:
        kind, *fields = (_told(field) for field in record.split("\t"))
        if len(fields) + 1 != _WIDTHS.get(kind):
            continue
        if kind == "cli" and fields[2] in _LOGINS:
            programs.append(_program(fields[0], fields[1], fields[2]))
        elif kind == "gh" and fields[0] in _LOGINS:
            github, user = _program("gh", "", fields[0]), fields[1]
        elif kind == "git" and fields[1] in _SIGNING:
            identity, signing = fields
    if not programs and github is None and not identity:
        raise GuestFailed("Guest does not tell who works in it", details=_told(answer.decode("utf-8", "replace")))
    return AgentLine(tuple(programs), github, user, identity, signing)


def _program(name: str, version: str, login: str) -> AgentProgram:
    return AgentProgram(name, "" if version == "?" else version, installed=login != "absent", logged_in=login == "yes")


def _told(field: str) -> str:
    return "" if field == "-" else printable(field, limit=_LONGEST)
