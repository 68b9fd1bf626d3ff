"""SSH keys: the fleet key on this machine, the user's public keys, new host keys for guests. No passwords (D8)."""

from __future__ import annotations

import logging
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from moltfleet.adapters.localfile import read_small, write_atomically
from moltfleet.adapters.publickeys import (
    EXAMPLE,
    LARGEST_FILE,
    RememberedKeys,
    check_public_key,
    each_once,
    key_lines,
    looks_like_key,
    make_directory,
)
from moltfleet.model.errors import InvalidInput, ToolFailed
from moltfleet.model.names import printable
from moltfleet.model.publickeys import KnownKey, fingerprint, known_key
from moltfleet.model.recipe import HostKeyPair

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_LOG = logging.getLogger(__name__)
_COMMENT = "moltfleet"


class LocalKeys:
    """The ``Keys`` port. ``entries`` are the configured public keys: paths, or whole key lines."""

    def __init__(self, entries: Sequence[str] = (), *, directory: Path | None = None, home: Path | None = None) -> None:
        self._entries = tuple(entries)
        self._directory = directory or platformdirs.user_data_path("moltfleet")
        self._home = home or Path.home()
        self._remembered = RememberedKeys(self._directory / "authorized_keys")

    @property
    def fleet_key_path(self) -> Path:
        """Where the fleet key is or will be."""
        return self._directory / "id_ed25519"

    def fleet_private_key(self) -> Path:
        """Return the file of the fleet key, made on first use.

        Raises: ToolFailed when it cannot be made or read, or others may read it.
        """
        self._load_or_make()
        return self.fleet_key_path

    def fleet_public_key(self) -> str:
        """See the port."""
        from moltfleet.adapters import ed25519

        return f"{ed25519.public_line(self._load_or_make())} {_COMMENT}"

    def user_public_keys(self) -> tuple[str, ...]:
        """See the port. Raises: InvalidInput, which names the configured entry that is no public key."""
        return each_once((*self._chosen(), *self._remembered.lines()))

    def known(self) -> tuple[KnownKey, ...]:
        """See the port. Raises: InvalidInput as :meth:`user_public_keys`."""
        source = "config" if self._entries else "home"
        keys = (
            known_key(self.fleet_public_key(), "fleet"),
            *(known_key(line, source) for line in self._chosen()),
            *(known_key(line, "authorised") for line in self._remembered.lines()),
        )
        found: dict[str, KnownKey] = {}
        for key in keys:
            found.setdefault(key.fingerprint, key)
        return tuple(found.values())

    def check(self, lines: Iterable[str]) -> tuple[str, ...]:
        """See the port."""
        return each_once(check_public_key(line, source="A line of the key file") for line in lines)

    def remember(self, lines: Iterable[str]) -> tuple[KnownKey, ...]:
        """See the port."""
        there = {key.fingerprint for key in self.known()}
        return self._remembered.add([line for line in self.check(lines) if fingerprint(line) not in there])

    def find_remembered(self, prints: Sequence[str]) -> tuple[KnownKey, ...]:
        """See the port."""
        return self._remembered.find(prints)

    def forget(self, prints: Sequence[str]) -> tuple[KnownKey, ...]:
        """See the port."""
        return self._remembered.remove(prints)

    def _chosen(self) -> list[str]:
        """The keys of the configuration, or those that lie in ~/.ssh."""
        if not self._entries:
            return list(_default_keys(self._home / ".ssh"))
        return [line for entry in self._entries for line in self._lines_of(entry)]

    def new_host_key(self) -> HostKeyPair:
        """See the port."""
        from moltfleet.adapters import ed25519

        key = ed25519.generate()
        return HostKeyPair(private=ed25519.private_text(key).decode("ascii"), public=ed25519.public_line(key))

    def _load_or_make(self) -> Ed25519PrivateKey:
        from moltfleet.adapters import ed25519

        path = self.fleet_key_path
        try:
            if not path.exists():
                _make_key(path)
            _check_mode(path)
            key = _parse_private(path.read_bytes(), path)
            public = f"{ed25519.public_line(key)} {_COMMENT}\n".encode("ascii")
            if read_small(path.with_suffix(".pub"), limit=LARGEST_FILE) != public:
                write_atomically(path.with_suffix(".pub"), public)
        except OSError as error:
            raise ToolFailed(f"Fleet key {path} cannot be used: {error.strerror}") from error
        return key

    def _lines_of(self, entry: str) -> list[str]:
        if looks_like_key(entry):
            return [check_public_key(entry, source="authorized_keys in the configuration")]
        path = self._home / entry[2:] if entry.startswith("~/") else Path(entry)
        try:
            content = read_small(path, limit=LARGEST_FILE)
        except OSError as error:
            raise InvalidInput(f"Public key file {printable(entry)!r} cannot be read: {error.strerror}") from error
        if content is None:
            raise InvalidInput(f"Public key file {printable(entry)!r} does not exist", hint=EXAMPLE)
        lines = list(key_lines(content))
        if not lines:
            raise InvalidInput(f"Public key file {printable(entry)!r} is empty", hint=EXAMPLE)
        return [check_public_key(line, source=printable(entry)) for line in lines]


def _default_keys(directory: Path) -> Iterator[str]:
    """Yield what ssh-keygen left in ~/.ssh; a file there that is no key is not this program's business."""
    for path in sorted(directory.glob("id_*.pub")):
        try:
            for line in key_lines(path.read_bytes()[:LARGEST_FILE]):
                yield check_public_key(line, source=str(path))
        except (OSError, InvalidInput) as error:
            _LOG.info("Passed over %s: %s", path, error)


def _make_key(path: Path) -> None:
    """Write a new key; when somebody else was faster, theirs stays. Raises: OSError."""
    from moltfleet.adapters import ed25519

    make_directory(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    write_atomically(temporary, ed25519.private_text(ed25519.generate()), mode=0o600)
    try:
        # Unlike a rename, a link never replaces: of two first uses at once, one key survives.
        path.hardlink_to(temporary)
        _LOG.info("Made the fleet key %s", path)
    except FileExistsError:
        _LOG.info("Another process made the fleet key %s", path)
    finally:
        temporary.unlink()


def _check_mode(path: Path) -> None:
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    # root reads every file anyway; a key of somebody else would be theirs to change.
    if status.st_uid not in (os.getuid(), 0):
        raise ToolFailed(f"Fleet key {path} belongs to another user")
    if mode & 0o077:
        raise ToolFailed(
            f"Fleet key {path} is open to other users (mode {mode:04o})",
            hint=f"chmod 600 {path}; when others may have read it, move it away, and the next command makes a new one.",
        )


def _parse_private(content: bytes, path: Path) -> Ed25519PrivateKey:
    from moltfleet.adapters import ed25519

    key = ed25519.parse(content)
    if key is None:
        raise _not_ours(path)
    return key


def _not_ours(path: Path) -> ToolFailed:
    return ToolFailed(
        f"Fleet key {path} is not an Ed25519 key without a passphrase",
        hint="Move it away, and the next command makes a new one; `moltfleet ssh` lets it into existing clones.",
    )
