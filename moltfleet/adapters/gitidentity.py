"""Who commits, as this machine's git knows it, and the key to sign with, as small files for the git of clones."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

from moltfleet.adapters.run import run
from moltfleet.model.errors import InvalidInput
from moltfleet.model.logins import GIT_IDENTITY, GIT_SIGNING, LARGEST_FILE, SIGNING_KEY, LoginFile

_TIMEOUT_S = 10.0
_MAGIC = b"openssh-key-v1\0"
_SIGNING = f"[gpg]\n\tformat = ssh\n[user]\n\tsigningKey = ~/{SIGNING_KEY}\n[commit]\n\tgpgSign = true\n"
_HINT = "Make one for clones: ssh-keygen -t ed25519 -N '' -f FILE; and name it: signing_key in [logins]."


def identity(home: Path) -> tuple[LoginFile, ...]:
    """The user's name and address; empty when git knows neither. Raises: ToolFailed without git."""
    known = {key: _ask(home, f"user.{key}") for key in ("name", "email")}
    lines = [f"\t{key} = {_quoted(value)}\n" for key, value in known.items() if value]
    if not lines:
        return ()
    return (LoginFile(GIT_IDENTITY, f"[user]\n{''.join(lines)}".encode(), 0.0),)


def signing(key: Path | None) -> tuple[LoginFile, ...]:
    """The key that was named for it, and the settings that make git use it. Raises: InvalidInput."""
    if key is None:
        raise InvalidInput("No key to sign with is named", hint=_HINT)
    try:
        with key.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InvalidInput(f"Signing key {key} cannot be read: {error.strerror}", hint=_HINT) from error
    if b"PRIVATE KEY-----" not in content or len(content) > LARGEST_FILE:
        raise InvalidInput(f"{key} is no private key", hint=_HINT)
    if _has_passphrase(content):
        raise InvalidInput(f"Signing key {key} has a passphrase, which no clone knows", hint=_HINT)
    return (LoginFile(SIGNING_KEY, content, 0.0), LoginFile(GIT_SIGNING, _SIGNING.encode(), 0.0))


def _ask(home: Path, key: str) -> str:
    more = {"XDG_CONFIG_HOME": value} if (value := os.environ.get("XDG_CONFIG_HOME")) else {}
    argv = ("git", "config", "--global", "--includes", "--get", key)
    answer = run(argv, timeout_s=_TIMEOUT_S, env={"HOME": str(home), **more}, check=False)
    return answer.text.strip("\n") if answer.exit_code == 0 else ""


def _quoted(value: str) -> str:
    """A value as git-config(1) wants it. Raises: InvalidInput for what has control characters."""
    if not value.isprintable():
        raise InvalidInput("git's user.name or user.email has characters that cannot be printed")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _has_passphrase(content: bytes) -> bool:
    """As PROTOCOL.key of OpenSSH has it: the cipher's name comes first; other forms say it in words."""
    if b"ENCRYPTED" in content:
        return True
    if b"BEGIN OPENSSH" not in content:
        return False
    lines = [line for line in content.splitlines() if line and not line.startswith(b"-----")]
    try:
        blob = base64.b64decode(b"".join(lines))
    except (ValueError, binascii.Error):
        return False
    return blob.startswith(_MAGIC) and blob[len(_MAGIC) + 4 :][:4] != b"none"
