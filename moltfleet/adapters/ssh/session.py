"""An open SSH login: commands and file copies. Output is bounded; a guest's files land only where they are sent."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from moltfleet.adapters.ssh import command as commands
from moltfleet.adapters.ssh import copy_in, copy_out
from moltfleet.adapters.ssh.sftp import Sftp, open_sftp, remote_path

if TYPE_CHECKING:
    from moltfleet.adapters.ssh.transport import GuestTransport
    from moltfleet.model.domain import CommandResult
    from moltfleet.model.ports import OnBytes, OnSkip


class SshSession:
    """The ``GuestSession`` port over one connection; may be used by several threads, copies then take turns."""

    def __init__(self, transport: GuestTransport, name: str) -> None:
        self._transport = transport
        self._name = name
        self._sftp: Sftp | None = None
        self._copying = threading.Lock()

    def run(self, command: str, *, input: bytes = b"", timeout_s: float = 60.0, limit: int = 1 << 20) -> CommandResult:
        """See the port. A command that outlives its deadline is left to the guest; the session stays usable."""
        return commands.run(self._transport, self._name, command, input=input, timeout_s=timeout_s, limit=limit)

    def stream(
        self,
        command: str,
        *,
        on_stdout: Callable[[bytes], None],
        on_stderr: Callable[[bytes], None],
        timeout_s: float | None = None,
    ) -> int:
        """See the port. A command that outlives its deadline is left to the guest."""
        return commands.stream(self._transport, self._name, command, on_stdout, on_stderr, timeout_s=timeout_s)

    def put(self, local: Path, remote: str, *, on_bytes: OnBytes | None = None, on_skip: OnSkip | None = None) -> None:
        """See the port."""
        with self._files() as sftp:
            copy_in.put(sftp, local, remote, on_bytes=on_bytes, on_skip=on_skip)

    def get(
        self,
        remote: str,
        local: Path,
        *,
        on_bytes: OnBytes | None = None,
        on_skip: OnSkip | None = None,
        limit: int | None = None,
    ) -> None:
        """See the port."""
        with self._files() as sftp:
            copy_out.get(sftp, remote, local, on_bytes=on_bytes, on_skip=on_skip, limit=limit)

    def write(self, remote: str, content: bytes, *, mode: int = 0o644) -> None:
        """See the port. The file appears whole or not at all."""
        with self._files() as sftp:
            sftp.write_file(remote_path(remote), [content], mode=mode)

    def close(self) -> None:
        """See the port."""
        self._transport.abandon()

    @contextlib.contextmanager
    def _files(self) -> Iterator[Sftp]:
        with self._copying:
            if self._sftp is None:
                self._sftp = open_sftp(self._transport, self._name)
            try:
                yield self._sftp
            except BaseException:
                # An answer may still be on its way; the next copy must not take it for its own.
                self._sftp.close()
                self._sftp = None
                raise
