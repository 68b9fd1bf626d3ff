"""Public SSH keys as people tell them apart."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A public key that goes into new clones. ``source`` is "fleet", "config", "home" or "authorised"."""

    fingerprint: str
    type: str
    comment: str
    source: str


def known_key(line: str, source: str) -> KnownKey:
    """Read a line "type base64 comment" that was checked before."""
    kind, _, *comment = line.split(None, 2)
    return KnownKey(fingerprint(line), kind, "".join(comment).strip(), source)


def fingerprint(line: str) -> str:
    """Return what ``ssh-keygen -l`` shows: SHA256 and its base64 without padding."""
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode('ascii').rstrip('=')}"
