"""Arguments for the OpenSSH client, which gets the terminal itself, and the known_hosts cache that it checks against.

Nothing of the user's or the system's ssh configuration is read: it could weaken the checks.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from moltfleet.adapters.localfile import read_small, write_atomically
from moltfleet.model.errors import ToolFailed

if TYPE_CHECKING:
    from moltfleet.model.domain import Endpoint

_KEY_LINE = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}")
_LARGEST_CACHE = 16 * 2**20


@dataclass(frozen=True, slots=True)
class SshClient:
    """How ``ssh`` is called: with which key, against which known_hosts."""

    key: Path
    known_hosts: Path
    connect_timeout_s: int = 15
    # A setting that leads there, as sshjump.proxy_command makes it.
    proxy: str | None = None

    def argv(self, endpoint: Endpoint, words: Sequence[str] = (), *, terminal: bool | None = None) -> list[str]:
        """Return the arguments for a shell in the guest, or for the command ``words``.

        ``terminal`` True asks for one (``-t``), False refuses one (``-T``), None leaves it to ssh: a shell gets one.
        """
        flags = [] if terminal is None else ["-t" if terminal else "-T"]
        settings = (*self.options(endpoint.name), *((self.proxy,) if self.proxy else ()))
        options = [word for option in settings for word in ("-o", option)]
        # After "--" ssh takes neither the host nor the command's words for options.
        where = ["-p", str(endpoint.port), "-l", endpoint.user, "--", endpoint.host]
        return ["ssh", "-F", "none", *flags, *options, *where, *remote_command(words)]

    def options(self, name: str) -> tuple[str, ...]:
        """Return the settings of ssh_config(5), also for ``moltfleet ssh-config``."""
        return (
            f"IdentityFile={quoted(self.key)}",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "PreferredAuthentications=publickey",
            "PasswordAuthentication=no",
            "KbdInteractiveAuthentication=no",
            f"HostKeyAlias={host_alias(name)}",
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={quoted(self.known_hosts)}",
            "GlobalKnownHostsFile=none",
            "UpdateHostKeys=no",
            "CheckHostIP=no",
            "VerifyHostKeyDNS=no",
            "ForwardAgent=no",
            "ForwardX11=no",
            "PermitLocalCommand=no",
            "ControlMaster=no",
            "ControlPath=none",
            f"ConnectTimeout={self.connect_timeout_s}",
            "ServerAliveInterval=15",
        )


def host_alias(name: str) -> str:
    """Return the name that a clone's keys stand under in known_hosts; the prefix keeps it apart from every host."""
    return f"moltfleet-{name}"


def remote_command(words: Sequence[str]) -> list[str]:
    """Return what ssh is to send: one word is a shell command line, several are an argument list.

    ssh joins its words with spaces and the guest's shell splits them anew, so that ``ls "a b"`` would list two files.
    Several words are therefore quoted; one word alone (``"make && make test"``) is left to the shell, as with ssh.
    """
    if len(words) <= 1:
        return list(words)
    return [shlex.join(words)]


def known_hosts_path(uri: str, directory: Path | None = None) -> Path:
    """Return the cache file for the clones of one libvirt; the same name may exist on another."""
    state = directory or platformdirs.user_state_path("moltfleet")
    return state / f"known_hosts.{hashlib.sha256(uri.encode()).hexdigest()[:12]}"


def write_known_hosts(path: Path, endpoints: Iterable[Endpoint]) -> None:
    """Make the cache hold exactly the keys of these clones. Raises: ToolFailed."""
    content = known_hosts_text(endpoints).encode("ascii")
    try:
        if read_small(path, limit=_LARGEST_CACHE) != content:
            write_atomically(path, content, mode=0o600)
    except OSError as error:
        raise ToolFailed(f"{path} cannot be written: {error.strerror}") from error


def known_hosts_text(endpoints: Iterable[Endpoint]) -> str:
    """Return the lines, sorted. A key that is not "type base64" is left out: strict checking then refuses the host."""
    lines = {
        f"{host_alias(endpoint.name)} {key}\n"
        for endpoint in endpoints
        for key in endpoint.host_keys
        if _KEY_LINE.fullmatch(key)
    }
    return "".join(sorted(lines))


def quoted(path: Path, *, percent: bool = True) -> str:
    """Quote a path for ssh_config(5), where a space ends it and, where ``percent``, "%" begins an expansion."""
    text = str(path).replace("%", "%%") if percent else str(path)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
