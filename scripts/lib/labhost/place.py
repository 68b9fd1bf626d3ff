"""Know where a lab keeps its files and which process it is; start and stop nothing."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from labhost.errors import LabError

ROOT = Path(os.environ.get("MOLTFLEET_LAB_ROOT", "/var/lib/moltfleet-lab"))
CGROUPS = Path("/sys/fs/cgroup")
WWW_PORT = 8099
KEPT_BY_KEEP_POOL = ("etc-libvirt", "var-lib-libvirt", "home", "www")


@dataclass(frozen=True, slots=True)
class Init:
    """A lab's PID 1 as the real host sees it; start time and boot make the number unambiguous."""

    pid: int
    start_time: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one lab, all on the real disk under one directory."""

    name: str

    @property
    def base(self) -> Path:
        return ROOT / self.name

    @property
    def state(self) -> Path:
        return self.base / "state.json"

    @property
    def www(self) -> Path:
        return self.base / "www"

    @property
    def log(self) -> Path:
        return self.base / "log"

    @property
    def cgroup_name(self) -> str:
        return f"moltfleet-lab.{self.name}"


def get_place(name: str) -> Place:
    """Return the place of a lab; raise when the name cannot be a directory name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
        raise LabError(f"Lab name {name!r} is not made of a-z, 0-9 and '-'", hint="At most 31 characters.", code=2)
    return Place(name)


def read_boot_id() -> str:
    """Return the id of this boot of the real machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def find_start_time(pid: int) -> int | None:
    """Return a live process's start time in clock ticks since boot; None for a dead one or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])  # fields 3 and 22 of proc(5)


def record_init(place: Place, pid: int) -> None:
    """Write down who the lab's PID 1 is, atomically."""
    start_time = find_start_time(pid)
    if start_time is None:
        raise LabError(f"Lab {place.name!r} did not stay up", hint=f"See {place.log}/init.log", code=7)
    temporary = place.state.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(Init(pid, start_time, read_boot_id()))))
    temporary.replace(place.state)


def find_init(place: Place) -> Init | None:
    """Return the lab's recorded PID 1 if that very process still lives."""
    try:
        init = Init(**json.loads(place.state.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    is_alive = init.boot_id == read_boot_id() and find_start_time(init.pid) == init.start_time
    return init if is_alive else None


def get_init(place: Place) -> Init:
    """Return the lab's PID 1; raise when the lab is not up."""
    init = find_init(place)
    if init is None:
        raise LabError(f"Lab {place.name!r} is not up", hint=f"scripts/lab up --name {place.name}", code=4)
    return init


def list_places() -> tuple[Place, ...]:
    """Return every lab that has files here."""
    if not ROOT.is_dir():
        return ()
    return tuple(Place(path.name) for path in sorted(ROOT.iterdir()) if path.is_dir())


@contextmanager
def locked_root() -> Iterator[None]:
    """Hold the lock under which labs come and go, and remove the root if it ends up empty."""
    while True:
        ROOT.mkdir(parents=True, exist_ok=True)
        handle = os.open(ROOT, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if ROOT.stat().st_ino == os.fstat(handle).st_ino:
                break
        os.close(handle)  # another process removed the directory while we waited
    try:
        yield
    finally:
        with suppress(OSError):
            ROOT.rmdir()
        os.close(handle)
