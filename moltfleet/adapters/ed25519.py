"""Ed25519 keys in OpenSSH's form. Imported where a key is used, as most commands use none and it takes long to load."""

from __future__ import annotations

import binascii

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)


def generate() -> Ed25519PrivateKey:
    """Make a new key."""
    return Ed25519PrivateKey.generate()


def parse(content: bytes) -> Ed25519PrivateKey | None:
    """Read a private key; None when it is of another kind, or has a passphrase."""
    try:
        key = load_ssh_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error):
        return None
    return key if isinstance(key, Ed25519PrivateKey) else None


def private_text(key: Ed25519PrivateKey) -> bytes:
    """What stands in its file."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def public_line(key: Ed25519PrivateKey) -> str:
    """Its public half, as a line without a comment."""
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
