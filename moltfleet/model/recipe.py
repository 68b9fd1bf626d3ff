"""What a golden is built from: profile, user data, packages, scripts; and what must be there when it is done."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """One cloud-config document (YAML text) and where it came from, for messages."""

    origin: str
    text: str


@dataclass(frozen=True, slots=True)
class Profile:
    """A readable bundle from ``cloud-init/``: fragments merged in order, and what is verified afterwards."""

    name: str
    fragments: tuple[CloudConfig, ...]
    required_commands: tuple[str, ...]
    required_services: tuple[str, ...]
    desktop: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Script:
    """A program that the golden build runs in the guest as root."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a golden's next generation is to have newer: the distribution's packages, the agents' CLIs."""

    packages: bool = True
    clis: bool = True


@dataclass(frozen=True, slots=True)
class HostKeyPair:
    """A guest's SSH host key: the OpenSSH private key text, and the public line "type base64"."""

    private: str = field(repr=False)
    public: str


@dataclass(frozen=True, slots=True)
class GuestIdentity:
    """Who a guest is, and who may log in to it: the one user, and the public key lines that open it."""

    hostname: str
    user: str
    authorized_keys: tuple[str, ...]
    host_key: HostKeyPair
