"""The joint of operations and adapters: every port is there, and nothing is touched before it is needed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from moltfleet.cli.wiring import build_fleet, ssh_arguments
from moltfleet.config import Config
from moltfleet.model.domain import Endpoint
from moltfleet.operations.fleet import Fleet
from moltfleet.progress import RecordingProgress


@pytest.fixture(autouse=True)
def _away_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))


@pytest.mark.parametrize("uri", ["qemu:///system", "qemu:///session", "qemu+ssh://host/system"])
def test_building_a_fleet_touches_neither_libvirt_nor_the_disk(tmp_path: Path, uri: str) -> None:
    fleet = build_fleet(Config(uri=uri), uri, RecordingProgress())
    assert [f.name for f in dataclasses.fields(Fleet) if getattr(fleet, f.name) is None] == []
    assert list(tmp_path.iterdir()) == []


def test_ssh_offers_the_fleet_key_to_the_pinned_host_only() -> None:
    where = Endpoint("base-1", "192.168.150.2", 22, "agent", ("ssh-ed25519 AAAA",))
    arguments = ssh_arguments(Config(), where, ("tmux", "attach"))
    assert arguments[0] == "ssh"
    assert "StrictHostKeyChecking=yes" in arguments
    assert "ForwardAgent=no" in arguments
    assert any(word.startswith("IdentityFile=") and "moltfleet" in word for word in arguments)
