"""`moltfleet ssh-config`: plain ssh, scp, rsync, VS Code and Ansible know every clone by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from moltfleet.cli.command import FleetCommand
from moltfleet.cli.invocation import Invocation, pass_invocation

if TYPE_CHECKING:
    from moltfleet.cli.wiring_access import SshConfig
    from moltfleet.model.domain import Endpoint


class _SshConfigCommand(FleetCommand):
    """It has written the file itself."""

    changes_clones = False


@click.command(
    "ssh-config",
    cls=_SshConfigCommand,
    changes=True,
    example="moltfleet ssh-config --install\nmoltfleet ssh-config --remove",
)
@click.option("--install", is_flag=True, help="Include it in ~/.ssh/config: one line, on top.")
@click.option("--remove", is_flag=True, help="Take the line and the file away again.")
@pass_invocation
def ssh_config_command(invocation: Invocation, /, *, install: bool, remove: bool) -> None:
    """Write a file by which plain `ssh NAME` logs in to every clone.

    It names each clone's address, user, key and pinned host keys, and the jump through the host of a qemu+ssh URI.
    Once it is there, every command that changes clones keeps it current. scp, rsync, VS Code and Ansible read it, too.
    """
    from moltfleet.cli.wiring_access import build_ssh_config

    if install and remove:
        raise click.UsageError("--install and --remove exclude each other")
    ssh_config = build_ssh_config(invocation.config)
    if remove:
        return _remove(invocation, ssh_config)
    return _write(invocation, ssh_config, install=install)


def _remove(invocation: Invocation, ssh_config: SshConfig) -> None:
    if invocation.dry_run:
        included = ssh_config.is_included()
        lines = (f"take {ssh_config.include!r} out of {ssh_config.user_file}",) if included else ()
        return invocation.show_plan((*lines, f"delete {ssh_config.state / 'ssh_config.*'}"))
    if not ssh_config.remove():
        invocation.progress.say("There is nothing to take away.")
    return invocation.show(ssh_config_document(ssh_config, ()), "")


def _write(invocation: Invocation, ssh_config: SshConfig, *, install: bool) -> None:
    from moltfleet.operations.logins import logins

    fleet = invocation.fleet
    if invocation.dry_run:
        add = install and not ssh_config.is_included()
        lines = (f"add {ssh_config.include!r} to {ssh_config.user_file}",) if add else ()
        return invocation.show_plan((f"write {ssh_config.file}", *lines))
    # The key is made on first use; ssh would not find one.
    fleet.keys.fleet_public_key()
    found: list[Endpoint] = []

    def find() -> list[Endpoint]:
        found.extend(logins(fleet))
        return found

    ssh_config.write(find)
    if install:
        ssh_config.install()
    elif not ssh_config.is_included():
        invocation.progress.say(
            f"To use it: moltfleet ssh-config --install, or this line on top of ~/.ssh/config: {ssh_config.include}"
        )
    return invocation.show(ssh_config_document(ssh_config, found), str(ssh_config.file))


def ssh_config_document(ssh_config: SshConfig, found: Sequence[Endpoint]) -> dict[str, object]:
    """``moltfleet.ssh-config/1``; ``found`` are all clones."""
    known = ssh_config.names(found)
    return {
        "schema": "moltfleet.ssh-config/1",
        "file": str(ssh_config.file),
        "include": ssh_config.include,
        "included": ssh_config.is_included(),
        "clones": list(known),
        "left_out": [endpoint.name for endpoint in found if endpoint.name not in known],
    }
