"""Where the files that other programs log in by meet operations; apart from the wiring, as none needs libvirt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moltfleet.adapters import ansible
from moltfleet.adapters.keys import LocalKeys
from moltfleet.adapters.sshconfig import SshConfig as SshConfig
from moltfleet.cli.wiring_schedule import own_program
from moltfleet.model.names import not_found
from moltfleet.operations.logins import inventory, logins

if TYPE_CHECKING:
    from moltfleet.config import Config
    from moltfleet.operations.fleet import Fleet


def build_ssh_config(config: Config) -> SshConfig:
    """What writes and includes the file for OpenSSH's client; touches nothing yet."""
    return SshConfig.of(config.uri, LocalKeys(config.authorized_keys).fleet_key_path)


def keep_ssh_config(config: Config, fleet: Fleet) -> None:
    """Bring the file up to date, if there is one. Raises: MoltfleetError."""
    ssh_config = build_ssh_config(config)
    if ssh_config.is_kept():
        ssh_config.write(lambda: logins(fleet))


def tell_inventory(config: Config, fleet: Fleet, name: str | None) -> dict[str, Any]:
    """Ansible's inventory, or the variables of one clone. Raises: NotFound, also for one without an address."""
    client = build_ssh_config(config).client
    # The key is made on first use, and known_hosts holds what Ansible's ssh is to check against.
    fleet.keys.fleet_public_key()
    hosts = inventory(fleet)
    ansible.pin(client, hosts)
    document = ansible.inventory_document(client, hosts, uri=config.uri)
    if name is None:
        return document
    variables: dict[str, dict[str, Any]] = document["_meta"]["hostvars"]
    if name not in variables:
        raise not_found("clone with an address", name, variables)
    return variables[name]


def write_inventory_script(path: Path, options: Sequence[str]) -> None:
    """Write the program for ``ansible -i``; ``options`` go before the command's name. Raises: MoltfleetError."""
    ansible.write_script(path, (*own_program(), *options))
