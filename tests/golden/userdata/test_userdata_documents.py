"""What guests are told, byte for byte; ``MOLTFLEET_WRITE_GOLDEN=1`` writes the files anew, for a person to review."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moltfleet.adapters.seed import meta_data, network_config
from moltfleet.adapters.userdata import clone_user_data, golden_user_data
from moltfleet.model.ports import SeedSpec
from moltfleet.model.recipe import CloudConfig, GuestIdentity, HostKeyPair

HERE = Path(__file__).parent
IDENTITY = GuestIdentity(
    "crab-1",
    "agent",
    (
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleFleet moltfleet",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleOwn me",
    ),
    HostKeyPair(
        "-----BEGIN OPENSSH PRIVATE KEY-----\nZXhhbXBsZQ==\nbm8ga2V5\n-----END OPENSSH PRIVATE KEY-----\n",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleHost",
    ),
)
SPEC = SeedSpec("moltfleet-3f0c", "crab-1", "52:54:00:12:34:56", IDENTITY)
DOCUMENTS = (
    CloudConfig("profiles/agent.yaml", "#cloud-config\npackages: [git, tmux]\npackage_update: true\n"),
    CloudConfig("mine/größe.yaml", "#cloud-config\n# für mich\npackages: [vim]\npackage_update: false\n"),
    CloudConfig(
        "mine/motd.yaml", "## template: jinja\n#cloud-config\nfinal_message: hello from {{ v1.local_hostname }}\n"
    ),
    CloudConfig("mine/setup.sh", "#!/bin/sh\necho set up\n"),
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("golden.yaml", golden_user_data(IDENTITY)),
        ("clone.yaml", clone_user_data(IDENTITY)),
        ("golden-with-documents.mime", golden_user_data(IDENTITY, DOCUMENTS)),
        ("meta-data.yaml", meta_data(SPEC)),
        ("network-config.yaml", network_config(SPEC)),
    ],
)
def test_a_guest_is_told_exactly_this(name: str, content: bytes) -> None:
    path = HERE / name
    if os.environ.get("MOLTFLEET_WRITE_GOLDEN"):
        path.write_bytes(content)
    assert content.decode() == path.read_text()
