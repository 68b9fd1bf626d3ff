"""Where the files that other programs log in by meet operations; apart from the wiring, as none needs libvirt."""

from __future__ import annotations

from moltfleet.adapters.keys import LocalKeys
from moltfleet.adapters.sshconfig import SshConfig as SshConfig
from moltfleet.config import Config
from moltfleet.operations.fleet import Fleet
from moltfleet.operations.logins import logins


def build_ssh_config(config: Config) -> SshConfig:
    """What writes and includes the file for OpenSSH's client; touches nothing yet."""
    return SshConfig.of(config.uri, LocalKeys(config.authorized_keys).fleet_key_path)


def keep_ssh_config(config: Config, fleet: Fleet) -> None:
    """Bring the file up to date, if there is one. Raises: MoltfleetError."""
    ssh_config = build_ssh_config(config)
    if ssh_config.is_kept():
        ssh_config.write(lambda: logins(fleet))
