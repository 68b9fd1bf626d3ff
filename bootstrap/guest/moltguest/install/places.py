"""What of the tree goes where in the guest; the one list that installing, showing and removing go by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from moltguest.install.tree import CURRENT, HOME, digest, mode_of

WRAPPER = "contained-agent"
GENERATOR = "moltfleet-limits-generator"
UNITS = "usr/local/lib/systemd/system"
USER_UNITS = "usr/local/lib/systemd/user"
_ENABLED = "etc/systemd/system"
# Ahead of the agents' own places for root, sudo, services, and, by /etc/environment and /etc/profile.d, for everybody;
# the second is for cron, which knows no other place that is not below /bin (crontab(5)).
WRAPPED = ("usr/local/sbin", "usr/bin")


@dataclass(frozen=True, slots=True)
class Place:
    """One file or link of ours, its path without the leading slash.

    A ``shy`` one is left out where somebody else's file of that name is.
    """

    path: str
    content: bytes = b""
    target: str = ""
    shy: bool = False

    @property
    def mode(self) -> int:
        """How a file is to be."""
        return mode_of(self.content)

    @property
    def digest(self) -> str:
        """What a record says of it."""
        return f"-> {self.target}" if self.target else digest(self.content)


def places(files: dict[str, bytes], version: str, agents: Iterable[str]) -> tuple[Place, ...]:
    """Return every place outside the tree that installing it fills."""
    found = [Place(f"{HOME}/version", f"{version}\n".encode())]
    for path, content in files.items():
        folder, _, rest = path.partition("/")
        if folder == "units":
            where = USER_UNITS if rest.startswith("user/") else UNITS
            found.append(Place(f"{where}/{rest.removeprefix('user/')}", content))
        elif folder == "files":
            found.append(Place(rest, content))
        elif folder == "bin":
            found += _programs(rest, agents)
    found += [Place(f"{_ENABLED}/{path}", target=f"/{UNITS}/{unit}") for path, unit in _enabled(files)]
    return tuple(found)


def _programs(name: str, agents: Iterable[str]) -> list[Place]:
    target = f"/{CURRENT}/bin/{name}"
    if name == WRAPPER:
        return [Place(f"{folder}/{agent}", target=target, shy=True) for agent in agents for folder in WRAPPED]
    if name == GENERATOR:
        return [Place("usr/local/lib/systemd/system-generators/moltfleet-limits", target=target)]
    own = [Place(f"usr/local/bin/{name}", target=target)]
    # Where its unit looks for it.
    return [*own, Place(f"usr/local/sbin/{name}", target=target)] if name == "moltfleet-watchdog" else own


def _enabled(files: dict[str, bytes]) -> list[tuple[str, str]]:
    """Return what "systemctl enable" would link, from each unit's [Install]."""
    links = []
    for path, content in files.items():
        folder, _, unit = path.partition("/")
        if folder != "units" or "/" in unit:
            continue
        for line in content.decode("utf-8", "replace").splitlines():
            key, _, value = line.partition("=")
            if key == "WantedBy":
                links += [(f"{target}.wants/{unit}", unit) for target in value.split()]
            elif key == "Alias":
                links += [(alias, unit) for alias in value.split()]
    return links
