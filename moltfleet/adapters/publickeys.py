"""Public keys: lines that are checked before they go anywhere, and a file of those that later clones are to get."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import filelock

from moltfleet.adapters.localfile import read_small, write_atomically
from moltfleet.model.errors import InvalidInput, NotFound, ToolFailed
from moltfleet.model.names import printable
from moltfleet.model.publickeys import KnownKey, fingerprint, known_key

# Another process writes a small file meanwhile.
_LOCK_S = 10.0
_HASH = "SHA256:"
_LEAST_PRINT = 4
LARGEST_FILE = 64 * 1024
# Keys in hardware; cryptography does not read them, OpenSSH in the guest does.
_HARDWARE = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")
EXAMPLE = "Example: '~/.ssh/id_ed25519.pub', or the line 'ssh-ed25519 AAAA… me@home'."


class RememberedKeys:
    """A file with a key on each line; what is not there, is empty."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> tuple[str, ...]:
        """The keys. Raises: ToolFailed, InvalidInput when somebody wrote something else into it."""
        try:
            content = read_small(self._path, limit=LARGEST_FILE) or b""
        except OSError as error:
            raise ToolFailed(f"{self._path} cannot be read: {error.strerror}") from error
        return tuple(check_public_key(line, source=f"A line of {self._path}") for line in key_lines(content))

    def add(self, lines: Sequence[str]) -> tuple[KnownKey, ...]:
        """Add checked lines; returns those that were not there. Raises: ToolFailed, InvalidInput."""
        with self._changing():
            before = self.lines()
            there = {fingerprint(line) for line in before}
            new = [line for line in lines if fingerprint(line) not in there]
            if new:
                self._write((*before, *new))
        return tuple(known_key(line, "authorised") for line in new)

    def find(self, prints: Sequence[str]) -> tuple[KnownKey, ...]:
        """Return the keys whose fingerprints begin like that. Raises: NotFound, InvalidInput for several at once."""
        keys = [known_key(line, "authorised") for line in self.lines()]
        found: dict[str, KnownKey] = {}
        for text in prints:
            hits = [key for key in keys if _is_print(key.fingerprint, text)]
            if len(hits) != 1:
                raise _not_one(text, hits)
            found[hits[0].fingerprint] = hits[0]
        return tuple(found.values())

    def remove(self, prints: Sequence[str]) -> tuple[KnownKey, ...]:
        """Take them out; returns them. Raises: as :meth:`find`, ToolFailed."""
        with self._changing():
            gone = self.find(prints)
            fingerprints = {key.fingerprint for key in gone}
            self._write(line for line in self.lines() if fingerprint(line) not in fingerprints)
        return gone

    def _write(self, lines: Iterable[str]) -> None:
        content = "".join(f"{line}\n" for line in lines).encode()
        if len(content) >= LARGEST_FILE:
            raise InvalidInput(f"{self._path} would be longer than 64 KiB", hint="moltfleet key forget makes room.")
        write_atomically(self._path, content, mode=0o600)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Keep others from changing it at the same time. Raises: ToolFailed."""
        try:
            make_directory(self._path.parent)
            with filelock.FileLock(self._path.with_name(f".{self._path.name}.lock"), timeout=_LOCK_S):
                yield
        except filelock.Timeout as error:
            raise ToolFailed(f"{self._path} is being written by another command") from error
        except OSError as error:
            raise ToolFailed(f"{self._path} cannot be written: {error.strerror}") from error


def make_directory(path: Path) -> None:
    """Make a directory of this user alone. Raises: OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)


def check_public_key(line: str, *, source: str) -> str:
    """Return ``line``, trimmed, when it is one OpenSSH public key without options.

    Raises: InvalidInput, which names ``source`` and never quotes what may be a private key.
    """
    trimmed = line.strip()
    if "PRIVATE KEY" in trimmed:
        raise InvalidInput(f"{source} is a private key", hint="The public one lies beside it and ends in .pub.")
    try:
        if not trimmed.isprintable() or not _is_key(trimmed):
            raise ValueError
    except ValueError as error:
        raise InvalidInput(f"{source} is not an OpenSSH public key", hint=EXAMPLE) from error
    return trimmed


def _is_key(line: str) -> bool:
    words = line.split()
    if len(words) < 2:
        return False
    if words[0] in _HARDWARE:
        blob = base64.b64decode(words[1], validate=True)
        name = words[0].encode("ascii")
        return blob.startswith(len(name).to_bytes(4, "big") + name)
    return _cryptography_reads(f"{words[0]} {words[1]}".encode())


def _cryptography_reads(line: bytes) -> bool:
    """Raises: ValueError."""
    # Most commands check no key, and it takes long to load.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    try:
        load_ssh_public_key(line)
    except UnsupportedAlgorithm:
        return False
    return True


def looks_like_key(entry: str) -> bool:
    """Whether it is meant as a key rather than as the path of one."""
    return entry.lstrip().startswith(("ssh-", "ecdsa-", "sk-", "-----BEGIN")) and " " in entry.strip()


def key_lines(content: bytes) -> Iterator[str]:
    """Yield the lines of a file that are neither empty nor a comment; a private key as a whole."""
    text = content.decode("utf-8", "replace")
    if "PRIVATE KEY" in text:
        yield text
        return
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line


def each_once(lines: Iterable[str]) -> tuple[str, ...]:
    """Return checked lines without those that repeat a key."""
    return tuple({line.split()[1]: line for line in lines}.values())


def _is_print(whole: str, text: str) -> bool:
    """Whether ``text`` is a fingerprint or its first characters, with or without "SHA256:"."""
    begin = text.removeprefix(_HASH)
    return len(begin) >= _LEAST_PRINT and whole.removeprefix(_HASH).startswith(begin)


def _not_one(text: str, hits: Sequence[KnownKey]) -> NotFound | InvalidInput:
    if hits:
        return InvalidInput(f"Fingerprint {printable(text)!r} is that of several keys", hint="Write more of it.")
    return NotFound(f"No remembered key has fingerprint {printable(text)!r}", hint="moltfleet key list shows them.")
