"""Give each lab a subtree of its own in every cgroup hierarchy, so that equal domain names do not meet."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from labhost.place import Place

REMOVE_TIMEOUT_S = 5.0
# All guests of a lab together would otherwise weigh as much as one single process outside. v1 and v2 of the same thing.
WEIGHTS = {"cpu.shares": "8192", "cpu.weight": "800"}


def list_hierarchies() -> tuple[Path, ...]:
    """Return the mount points of all cgroup hierarchies, v1 and v2."""
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return tuple(dict.fromkeys(Path(fields[1]) for fields in mounts if fields[2] in ("cgroup", "cgroup2")))


def make_subtrees(place: Place) -> tuple[tuple[Path, Path], ...]:
    """Make the lab's directory in every hierarchy; return (directory, mount point) pairs."""
    pairs = []
    for hierarchy in list_hierarchies():
        folder = hierarchy / place.cgroup_name
        with suppress(OSError):  # a hierarchy that cannot be used is left as it is
            folder.mkdir(exist_ok=True)
            _settle(hierarchy, folder)
            pairs.append((folder, hierarchy))
    return tuple(pairs)


def _settle(parent: Path, child: Path) -> None:
    for setting in ("cpuset.mems", "cpuset.cpus"):  # v1: empty in a new group, which then takes no process
        if (parent / setting).exists() and (child / setting).exists():
            with suppress(OSError):
                (child / setting).write_text((parent / setting).read_text())
    for setting, weight in WEIGHTS.items():
        if (child / setting).exists():
            with suppress(OSError):
                (child / setting).write_text(weight)
    controllers = child / "cgroup.controllers"
    for controller in controllers.read_text().split() if controllers.exists() else ():
        with suppress(OSError):
            (child / "cgroup.subtree_control").write_text(f"+{controller}")


def remove_subtrees(place: Place) -> None:
    """Remove what a lab left in the hierarchies; its processes must have been killed."""
    deadline = time.monotonic() + REMOVE_TIMEOUT_S
    for hierarchy in list_hierarchies():
        folder = hierarchy / place.cgroup_name
        while folder.exists() and time.monotonic() < deadline:
            for path, _folders, _files in os.walk(folder, topdown=False):
                with suppress(OSError):
                    Path(path).rmdir()
            if folder.exists():
                time.sleep(0.05)
