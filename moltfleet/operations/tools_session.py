"""What is said to one guest about its tools over an open login: look, put in, take out.

The guest is hostile: what it answers is bounded, checked, and made printable before a word of it is used.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

from moltfleet.model.errors import GuestFailed
from moltfleet.model.guesttools import SCHEMA, Found, Lack, ToolsArchive, ToolsReport
from moltfleet.model.names import printable, printable_lines

if TYPE_CHECKING:
    from moltfleet.model.domain import CommandResult
    from moltfleet.model.ports import GuestSession

_LARGEST_REPORT = 1 << 20
_LARGEST_OUTPUT = 64 * 1024
# More names of files than anybody reads; how many there are more is not told.
_MOST_FILES = 100
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,79}")
_EXCERPT_LINES = 20

_HOME = "/usr/local/lib/moltfleet"
# Beside it, on the same file system; only root can make anything there.
_INCOMING = f"{_HOME}.incoming"
# The installer's exit status when it has put nothing there.
_NOTHING = 3
_LACKS = {"no-systemd": Lack.SYSTEMD, "no-python": Lack.PYTHON, "damaged": Lack.DAMAGED}

_LOOK = f"""\
installer={_HOME}/current/install.py
[ -d /run/systemd/system ] || {{ echo no-systemd; exit 0; }}
command -v python3 >/dev/null || {{ echo no-python; exit 0; }}
export PYTHONDONTWRITEBYTECODE=1
if [ -f "$installer" ]; then exec python3 "$installer" status --json; fi
if [ -e {_HOME}/installed.json ]; then echo damaged; exit 0; fi
python3 -IS -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {{ echo no-python; exit 0; }}
echo none
"""
# $1 is the version, $2 the checksum, $3 how long to wait for another installation. Nothing counts before the archive
# is there whole; what an interrupted one has left goes first. The installer holds the lock, too: it may outlive this.
_INSTALL = f"""\
set -eu
umask 022
export PYTHONDONTWRITEBYTECODE=1
exec 9>/run/moltfleet-tools.lock
flock -w "$3" 9 || {{ echo 'another installation of the tools is under way' >&2; exit 1; }}
rm -rf {_INCOMING}
mkdir -m 0700 {_INCOMING}
trap 'rm -rf {_INCOMING}' EXIT
trap 'exit 1' HUP INT TERM
cat >{_INCOMING}/tools.tar
printf '%s  %s\\n' "$2" {_INCOMING}/tools.tar | sha256sum --check --status - ||
    {{ echo 'the tools did not arrive whole' >&2; exit 1; }}
mkdir {_INCOMING}/tree
tar --extract --no-same-owner --file={_INCOMING}/tools.tar --directory={_INCOMING}/tree
python3 {_INCOMING}/tree/install.py install --version "$1"
"""
_REMOVE = f"""\
set -eu
export PYTHONDONTWRITEBYTECODE=1
exec 9>/run/moltfleet-tools.lock
flock -w "$1" 9 || {{ echo 'another installation of the tools is under way' >&2; exit 1; }}
python3 {_HOME}/current/install.py remove
rm -rf {_INCOMING}
"""


def look(session: GuestSession, name: str, *, timeout_s: float) -> Found:
    """Find out what tools a guest has; changes nothing there. Raises: GuestFailed, GuestUnreachable, DeadlinePassed."""
    answer = session.run(f"sudo -n sh -c {shlex.quote(_LOOK)}", timeout_s=timeout_s, limit=_LARGEST_REPORT)
    word = answer.text.strip()
    if answer.exit_code == 0 and word in _LACKS:
        return Found(lack=_LACKS[word])
    if (answer.exit_code == 0 and word == "none") or answer.exit_code == _NOTHING:
        return Found()
    return Found(read_report(name, answer))


def put_in(session: GuestSession, name: str, archive: ToolsArchive, *, timeout_s: float) -> None:
    """Send the tools and install them; an interrupted installation leaves the old ones working. Raises: as `look`."""
    words = ("sh", archive.version, archive.sha256, f"{timeout_s / 2:.0f}")
    answer = session.run(_as_root(_INSTALL, *words), input=archive.content, timeout_s=timeout_s, limit=_LARGEST_OUTPUT)
    _require(answer, f"Guest tools could not be installed in {name!r}")


def take_out(session: GuestSession, name: str, *, timeout_s: float) -> None:
    """Let the guest's installer take everything away that it put there. Raises: as :func:`look`."""
    command = _as_root(_REMOVE, "sh", f"{timeout_s / 2:.0f}")
    answer = session.run(command, timeout_s=timeout_s, limit=_LARGEST_OUTPUT)
    _require(answer, f"Guest tools could not be removed from {name!r}")


def read_report(name: str, answer: CommandResult) -> ToolsReport:
    """Read what a guest's installer says. Raises: GuestFailed."""
    try:
        document = json.loads(answer.text)
    except (ValueError, RecursionError):
        document = None
    if answer.exit_code != 0 or not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise GuestFailed(
            f"Guest {name!r} does not tell which tools it has",
            details=_said(answer),
            hint=f"Put them in anew: moltfleet tools install {name}",
        )
    version = document.get("version")
    known = version if isinstance(version, str) and _VERSION.fullmatch(version) else "unknown"
    return ToolsReport(known, _names(document.get("changed")), _names(document.get("missing")))


def _names(value: object) -> tuple[str, ...]:
    """Names of files; a guest that tells something else has at least something to hide."""
    if not isinstance(value, list):
        return () if value is None else ("?",)
    return tuple(printable(item, limit=200) if isinstance(item, str) else "?" for item in value[:_MOST_FILES])


def _as_root(script: str, *words: str) -> str:
    return f"sudo -n sh -c {shlex.quote(script)} {shlex.join(words)}"


def _require(answer: CommandResult, brief: str) -> None:
    if answer.exit_code != 0:
        raise GuestFailed(
            f"{brief}: exit status {answer.exit_code}",
            excerpt=_said(answer),
            hint="What was there before is still there. The end of what the guest said is above.",
        )


def _said(answer: CommandResult) -> str:
    text = (answer.stdout + b"\n" + answer.stderr).decode("utf-8", "replace")
    return printable_lines("\n".join(text.strip().splitlines()[-_EXCERPT_LINES:]))
