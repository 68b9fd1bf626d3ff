"""The one configuration file of a guest, read as data: a line that cannot be used is named, and its default stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

PATH = "etc/moltfleet/guest.conf"
# Nobody writes more by hand; a larger file is something else.
LARGEST = 64 << 10
# Names of agents that the watchdog looks for outside agents.slice too.
AGENTS = ("claude", "codex", "gemini")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a person may set; None is "derived from the guest's memory". All figures are MiB.

    ``base_mib`` is what the idle guest uses without any agent, as measured when its golden was built.
    """

    warn_mib: int | None = None
    kill_mib: int | None = None
    scope_mib: int | None = None
    base_mib: int = 0
    shm_mib: int | None = None
    tmp_mib: int | None = None
    agents: tuple[str, ...] = AGENTS
    agent_paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the file: the field that it sets, and what makes a value of its text (ValueError when it is none)."""

    field: str
    parse: Callable[[str], object]
    meaning: str


def mib(text: str) -> int:
    """Return a whole number of MiB, from 16 MiB to 16 TiB. Raises: ValueError."""
    if not (text.isascii() and text.isdigit()) or not 16 <= int(text[:12]) <= 16 << 20:
        raise ValueError(f"{shown(text)} is not a number of MiB from 16 to {16 << 20}")
    return int(text)


def names(text: str) -> tuple[str, ...]:
    """Return the names of executables, separated by blanks or commas. Raises: ValueError."""
    found = tuple(dict.fromkeys(text.replace(",", " ").split()))
    if any("/" in name or not name.isprintable() or len(name) > 64 for name in found) or len(found) > 64:
        raise ValueError(f"{shown(text)} is not a list of names of executables")
    return found


def paths(text: str) -> tuple[str, ...]:
    """Return absolute paths of executables, separated by blanks; ``*`` stands for any text. Raises: ValueError."""
    found = tuple(dict.fromkeys(text.split()))
    if any(not path.startswith("/") or not path.isprintable() for path in found) or len(found) > 64:
        raise ValueError(f"{shown(text)} is not a list of absolute paths")
    return found


KEYS = {
    "WATCHDOG_WARN_MB": Key("warn_mib", mib, "an agent using more is warned about"),
    "WATCHDOG_KILL_MB": Key("kill_mib", mib, "an agent using more is ended"),
    "SCOPE_MAX_MB": Key("scope_mib", mib, "the most that an agent's scope may use"),
    "BASE_MB": Key("base_mib", mib, "what the guest uses without any agent"),
    "SHM_MB": Key("shm_mib", mib, "the size of /dev/shm"),
    "TMP_MB": Key("tmp_mib", mib, "the size of /tmp where it is in memory"),
    "AGENTS": Key("agents", names, "names of agents' executables"),
    "AGENT_PATHS": Key("agent_paths", paths, "further executables that are agents"),
}


def parse(text: str, path: str = f"/{PATH}") -> tuple[Settings, tuple[str, ...]]:
    """Return the settings of a file's text, and one line for each thing in it that could not be used."""
    settings, problems = Settings(), []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith(("#", ";")):
            continue
        name, equals, value = (part.strip() for part in stripped.partition("="))
        key = KEYS.get(name)
        if not equals or key is None:
            problems.append(f"{path}:{number}: {shown(name)} is not a known KEY=VALUE; the line is left out")
            continue
        if name in seen:
            problems.append(f"{path}:{number}: {name} stands in line {seen[name]} already; this line counts")
        seen[name] = number
        try:
            settings = replace(settings, **{key.field: key.parse(unquoted(value))})  # type: ignore[arg-type]
        except ValueError as error:
            problems.append(f"{path}:{number}: {name}: {error}; the default stays")
    return settings, tuple(problems)


def read(root: str = "/") -> tuple[Settings, tuple[str, ...]]:
    """Return the guest's settings and their problems; no file is no problem, an unreadable one is one."""
    return read_file(root.rstrip("/") + "/" + PATH)


def read_file(path: str) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings of one file, as :func:`read` does."""
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        return Settings(), ()
    except OSError as error:
        return Settings(), (f"{path}: {error.strerror}; the defaults stay",)
    if len(data) > LARGEST:
        return Settings(), (f"{path}: larger than {LARGEST >> 10} KiB; the defaults stay",)
    try:
        return parse(data.decode("utf-8"), path)
    except UnicodeDecodeError:
        return Settings(), (f"{path}: not text in UTF-8; the defaults stay",)


def unquoted(text: str) -> str:
    """Return a value without the quotes around it, as a shell would read it."""
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def shown(text: str) -> str:
    """Return text for a message: quoted, escaped, cut short."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
