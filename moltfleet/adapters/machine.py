"""The machine that containment looks at and changes: its files, its systemd, its processes. Refuses symbolic links."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from moltfleet.adapters import hostinfo
from moltfleet.adapters.localfile import write_atomically
from moltfleet.adapters.run import run
from moltfleet.model.domain import CommandResult
from moltfleet.model.errors import Busy, HostUnavailable, ToolFailed, WrongState
from moltfleet.model.machine import Entry, Process

if TYPE_CHECKING:
    from moltfleet.model.size import Size

_LOCK = "/run/moltfleet-host.lock"
_LARGEST = 1 << 20
# Root's programs are not in everybody's PATH.
_PROGRAMS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin")
_TEMPORARY = "?" * 8


class LocalMachine:
    """The port ``Machine``. ``root`` is another file tree for tests; programs are run on this machine all the same."""

    def __init__(
        self, *, root: Path = Path("/"), free_page_reporting: Callable[[], Mapping[str, bool]] | None = None
    ) -> None:
        self._root = root
        self._free_page_reporting = free_page_reporting

    def is_root(self) -> bool:
        """See the port."""
        return os.geteuid() == 0

    def memory(self) -> Size:
        """See the port."""
        return hostinfo.memory().total

    # Files

    def exists(self, path: str) -> bool:
        """See the port."""
        return self._at(path).exists()

    def read(self, path: str) -> bytes | None:
        """See the port."""
        try:
            with self._at(path).open("rb") as file:
                return file.read(_LARGEST)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise HostUnavailable(f"File {path} cannot be read: {error.strerror}", hint="root can.") from error

    def mode(self, path: str) -> int:
        """See the port."""
        return stat.S_IMODE(self._at(path).stat().st_mode)

    def entry(self, path: str) -> Entry | None:
        """See the port."""
        try:
            found = self._at(path).stat()
        except OSError:
            return None
        return Entry(found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))

    def write(self, path: str, content: bytes, *, mode: int) -> None:
        """See the port. What an interrupted write left beside it is removed."""
        target = self._at(path)
        if target.is_symlink():
            raise WrongState(f"File {path} is a symbolic link", hint="Replace it with the file it points to.")
        try:
            self._remove_unfinished(target)
            write_atomically(target, content, mode=mode)
        except OSError as error:
            raise ToolFailed(f"File {path} cannot be written: {error.strerror}") from error

    def remove(self, path: str) -> None:
        """See the port."""
        try:
            self._remove_unfinished(self._at(path))
            self._at(path).unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise ToolFailed(f"File {path} cannot be removed: {error.strerror}") from error

    def missing_directories(self, path: str) -> tuple[str, ...]:
        """See the port."""
        parents = [str(parent) for parent in Path(path).parents]
        return tuple(parent for parent in reversed(parents) if not self._at(parent).exists())

    def remove_directory(self, path: str) -> bool:
        """See the port."""
        try:
            self._at(path).rmdir()
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise ToolFailed(f"Directory {path} cannot be removed: {error.strerror}") from error
        return True

    def _at(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    @staticmethod
    def _remove_unfinished(target: Path) -> None:
        # As adapters/localfile.py names them; only a killed process leaves one.
        for leftover in target.parent.glob(f".{target.name[:60]}.{_TEMPORARY}"):
            leftover.unlink(missing_ok=True)

    # Programs

    def find_program(self, name: str) -> str | None:
        """See the port."""
        found = (f"{directory}/{name}" for directory in _PROGRAMS)
        return next((path for path in found if os.access(self._at(path), os.X_OK)), None)

    def run(
        self, argv: Sequence[str], *, input: bytes = b"", check: bool = True, timeout_s: float = 60.0
    ) -> CommandResult:
        """See the port."""
        path = ":".join((os.environ.get("PATH", ""), *_PROGRAMS))
        done = run(argv, input=input, check=check, timeout_s=timeout_s, env={"PATH": path})
        return CommandResult(done.exit_code, done.stdout, done.stderr)

    def units(self, names: Sequence[str], properties: Sequence[str]) -> tuple[Mapping[str, str], ...]:
        """See the port."""
        # sd_booted(3)
        if not self.exists("/run/systemd/system"):
            raise HostUnavailable("This host is not run by systemd")
        wanted = ",".join(("Id", *properties))
        done = self.run(["systemctl", "show", f"--property={wanted}", "--", *names])
        blocks = done.text.strip().split("\n\n")
        return tuple(
            dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks if block
        )

    def processes(self, *prefixes: str) -> tuple[Process, ...]:
        """See the port; what ends meanwhile is left out."""
        numbers = sorted(int(entry.name) for entry in self._at("/proc").iterdir() if entry.name.isdigit())
        found = (self._process(number, prefixes) for number in numbers)
        return tuple(process for process in found if process)

    def _process(self, pid: int, prefixes: tuple[str, ...]) -> Process | None:
        directory = self._at(f"/proc/{pid}")
        with contextlib.suppress(OSError, ValueError):
            name = (directory / "comm").read_text("utf-8", "replace").rstrip("\n")
            if name.startswith(prefixes):
                lines = (directory / "cgroup").read_text("utf-8", "replace").splitlines()
                # cgroups(7): the unified hierarchy has the number 0.
                group = next((line[3:] for line in lines if line.startswith("0::")), "/")
                return Process(pid, name, group, int((directory / "oom_score_adj").read_text()))
        return None

    def free_page_reporting(self) -> Mapping[str, bool]:
        """See the port."""
        if self._free_page_reporting is None:
            raise HostUnavailable("libvirt was not asked")
        return self._free_page_reporting()

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """See the port."""
        try:
            descriptor = os.open(self._at(_LOCK), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ToolFailed(f"Lock file {_LOCK} cannot be opened: {error.strerror}") from error
        try:
            _lock(descriptor)
            yield
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Busy("Another run is changing this host's containment", hint="Wait for its end.") from error
