"""Which program a name means: an agent's own, never the wrapper of the same name that asks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

# Where agents are put that are not on the PATH of cron or of sudo; the first below a home, as their own installers do.
_IN_HOME = (".local/bin", ".claude/local", ".npm-global/bin", "bin")
_FOR_ALL = ("/usr/local/bin", "/usr/bin", "/bin", "/opt/bin")
_WRAPPER = "/moltfleet/"
# The agents' own programs that were tried on the way here, so that a script of an agent's name which starts that agent
# comes to the next one, and not to itself.
TRIED = "MOLTFLEET_TRIED"


def candidates(name: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield every program of this name that is not ours, as the PATH has them, then those that it does not lead to."""
    folders = environment.get("PATH", os.defpath).split(os.pathsep)
    home = environment.get("HOME", "")
    folders += [os.path.join(home, folder) for folder in _IN_HOME if home.startswith("/")]
    seen = set()
    for folder in [*folders, *_FOR_ALL]:
        path = os.path.join(folder or ".", name)
        real = os.path.realpath(path)
        if real not in seen and os.path.isfile(real) and os.access(real, os.X_OK) and not is_ours(real):
            seen.add(real)
            yield path


def is_ours(real: str) -> bool:
    """Whether a file is a program of ours, whose links stand where agents are looked for."""
    return real.endswith("/bin/contained-agent") and _WRAPPER in real


def find(name: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Return an agent's own program and the new value of ``MOLTFLEET_TRIED``; None when there is no such program."""
    found = list(candidates(name, environment))
    if not found:
        return None
    tried = [path for path in environment.get(TRIED, "").split(os.pathsep) if path]
    fresh = [path for path in found if os.path.realpath(path) not in tried]
    # An agent that starts itself again finds all of them tried.
    chosen = (fresh or found)[0]
    kept = tried if fresh else []
    return chosen, os.pathsep.join([*kept, os.path.realpath(chosen)])


def which(command: str, environment: Mapping[str, str]) -> str | None:
    """Return the file that a command runs, None when there is none."""
    if "/" in command:
        return command if os.access(command, os.X_OK) and not os.path.isdir(command) else None
    for folder in environment.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder or ".", command)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def is_native(path: str) -> bool:
    """Whether a program is machine code, which no setting of Node.js reaches."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF" and os.path.basename(os.path.realpath(path)) not in ("node", "nodejs")
    except OSError:
        return False
