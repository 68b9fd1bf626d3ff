"""What a golden is built from: profile, user data, packages, scripts; and what must be there when it is done."""

from __future__ import annotations

from dataclasses import dataclass


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


@dataclass(frozen=True, slots=True)
class Script:
    """A program that the golden build runs in the guest as root."""

    name: str
    content: bytes
