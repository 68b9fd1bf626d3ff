"""A file for OpenSSH's own client that knows every clone, and the one line of ~/.ssh/config that includes it.

Of ~/.ssh/config nothing but that line is ever changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import platformdirs

from moltfleet.adapters.localfile import read_small, write_atomically
from moltfleet.adapters.openssh import SshClient, known_hosts_path, quoted, write_known_hosts
from moltfleet.adapters.sshjump import proxy_command, way_to_host
from moltfleet.model.errors import ToolFailed

if TYPE_CHECKING:
    from moltfleet.model.domain import Endpoint

_LARGEST = 16 * 2**20
# Another process lists the clones and writes a small file meanwhile.
_LOCK_S = 10.0
# The record of a clone can be edited; what does not look like ours is not told to ssh.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_USER = re.compile(r"[a-z_][a-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class SshConfig:
    """The generated file of one libvirt. ``state`` and ``home`` are directories of this user."""

    uri: str
    client: SshClient
    state: Path
    home: Path

    @classmethod
    def of(cls, uri: str, key: Path, *, home: Path | None = None) -> SshConfig:
        """Return that of this user."""
        state = platformdirs.user_state_path("moltfleet")
        return cls(uri, SshClient(key, known_hosts_path(uri)), state, home or Path.home())

    @property
    def file(self) -> Path:
        """The generated file; each libvirt has its own, as the same name may exist on another."""
        return self.state / f"ssh_config.{hashlib.sha256(self.uri.encode()).hexdigest()[:12]}"

    @property
    def user_file(self) -> Path:
        """The user's own file, behind symbolic links."""
        return (self.home / ".ssh/config").resolve()

    @property
    def include(self) -> str:
        """The line that includes the files of every libvirt."""
        return f"Include {quoted(self.state / 'ssh_config.*', percent=False)}"

    def names(self, endpoints: Iterable[Endpoint]) -> tuple[str, ...]:
        """Which of these clones it makes known, by name."""
        return tuple(sorted(endpoint.name for endpoint in endpoints if is_safe(endpoint)))

    def is_kept(self) -> bool:
        """Whether there is a file to be kept current."""
        return self.file.is_file()

    def write(self, find: Callable[[], Iterable[Endpoint]]) -> bool:
        """Make the file, and known_hosts, hold exactly these clones; whether that changed the file.

        Only one process at a time asks ``find`` and writes, so that an older listing never replaces a newer one.
        Raises: ToolFailed, InvalidInput for a URI that ssh could not jump to.
        """
        with self._lock():
            endpoints = tuple(find())
            content = config_text(self.client, endpoints, uri=self.uri).encode("utf-8", "surrogateescape")
            write_known_hosts(self.client.known_hosts, endpoints)
            with _told(self.file):
                if read_small(self.file, limit=_LARGEST) == content and _mode(self.file) == 0o600:
                    return False
                write_atomically(self.file, content, mode=0o600)
        return True

    def is_included(self) -> bool:
        """Whether the user's file includes it for every host. Raises: ToolFailed."""
        return self._line in _before_hosts(self._read())

    def install(self) -> bool:
        """Put the line on top of the user's file, once; whether that changed it. Raises: ToolFailed."""
        before = self._read()
        if self._line in _before_hosts(before):
            return False
        self._replace(self._line + b"\n" + b"".join(self._others(before)))
        return True

    def remove(self) -> bool:
        """Take the line and the generated files away again; whether there was any. Raises: ToolFailed."""
        before = self._read()
        kept = b"".join(self._others(before))
        if kept != before:
            self._replace(kept)
        files = sorted(self.state.glob("ssh_config.*"))
        for file in files:
            with _told(file), contextlib.suppress(FileNotFoundError):
                file.unlink()
        return bool(files) or kept != before

    @property
    def _line(self) -> bytes:
        return self.include.encode("utf-8", "surrogateescape")

    def _others(self, content: bytes) -> list[bytes]:
        return [line for line in content.splitlines(keepends=True) if line.strip() != self._line]

    def _read(self) -> bytes:
        with _told(self.user_file):
            content = read_small(self.user_file, limit=_LARGEST + 1) or b""
        if len(content) > _LARGEST:
            raise ToolFailed(f"{self.user_file} is longer than 16 MiB")
        return content

    def _replace(self, content: bytes) -> None:
        path = self.user_file
        with _told(path):
            if not path.parent.exists():
                path.parent.mkdir(mode=0o700, parents=True)
            write_atomically(path, content, mode=_mode(path) or 0o600)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with _told(self.file):
            self.state.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.state / ".ssh_config.lock", timeout=_LOCK_S)
            try:
                lock.acquire()
            except filelock.Timeout as error:
                raise ToolFailed(
                    f"{self.file} is being written by another command", hint="moltfleet ssh-config writes it again."
                ) from error
        try:
            yield
        finally:
            lock.release()


def config_text(client: SshClient, endpoints: Iterable[Endpoint], *, uri: str) -> str:
    """Return what ssh_config(5) reads: a block for each clone that has an address, by name.

    A block sets everything, as whatever it left out could come from the user's own ``Host *``.
    """
    shared = options_beside(uri)
    blocks = [
        _block(client, endpoint, shared)
        for endpoint in sorted(endpoints, key=lambda one: one.name)
        if is_safe(endpoint)
    ]
    return f"# Written by moltfleet, which writes it anew whenever clones change.\n{''.join(blocks)}"


def _block(client: SshClient, where: Endpoint, shared: Iterable[str]) -> str:
    own = (f"HostName={where.host}", f"Port={where.port}", f"User={where.user}")
    lines = (option.replace("=", " ", 1) for option in (*own, *client.options(where.name), *shared))
    return f"\nHost {where.name}\n" + "".join(f"  {line}\n" for line in lines)


def options_beside(uri: str) -> tuple[str, ...]:
    """Return the settings that only a call which reads the user's configuration needs. Raises: InvalidInput."""
    jump = jump_option(uri)
    return ("KnownHostsCommand=none", *((jump,) if jump else ()))


def is_safe(where: Endpoint) -> bool:
    """Whether it has an address, and nothing in it means more to ssh than it says."""
    try:
        ipaddress.ip_address(where.host)
    except ValueError:
        return False
    # Nobody expects a clone behind "ssh localhost".
    is_name = _NAME.fullmatch(where.name) is not None and where.name != "localhost"
    return is_name and _USER.fullmatch(where.user) is not None and 0 < where.port < 65536


def jump_option(uri: str) -> str | None:
    """Return how ssh gets to the host of ``uri``: through it, directly, or None when that is not told by the URI.

    Through it ssh goes as libvirt does, by the user's own configuration. Raises: InvalidInput.
    """
    way = way_to_host(uri)
    if way is None:
        return None
    if not way:
        return "ProxyCommand=none"
    return f"ProxyJump={way[-1].removeprefix('ssh://')}" if len(way) == 1 else proxy_command(way)


def _before_hosts(content: bytes) -> list[bytes]:
    """Return the lines that hold for every host: those above the first Host or Match."""
    lines: list[bytes] = []
    for line in content.splitlines():
        words = re.split(rb"[\s=]+", line.strip(), maxsplit=1)
        if words[0].lower() in (b"host", b"match"):
            break
        lines.append(line.strip())
    return lines


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ToolFailed(f"{path} cannot be used: {error.strerror}") from error
