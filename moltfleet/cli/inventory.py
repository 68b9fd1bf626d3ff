"""`moltfleet inventory`: the clones as Ansible's dynamic inventory."""

from __future__ import annotations

import json
from pathlib import Path

import click

from moltfleet.cli.command import FILE, FleetCommand
from moltfleet.cli.completing import complete_clones
from moltfleet.cli.documents import inventory_script_document
from moltfleet.cli.invocation import Invocation, pass_invocation


class _InventoryCommand(FleetCommand):
    """It may write a file, but changes no clone."""

    changes_clones = False


@click.command(
    "inventory",
    cls=_InventoryCommand,
    changes=True,
    example="moltfleet inventory --script hosts && ansible -i ./hosts moltfleet -m ping\n"
    "moltfleet inventory --host base-1",
)
@click.option("--list", "everything", is_flag=True, help="All groups and clones; so does no option at all.")
@click.option("--host", "name", metavar="NAME", shell_complete=complete_clones, help="The variables of one clone.")
@click.option("--script", type=FILE, metavar="FILE", help="Write the program that `ansible -i FILE` runs.")
@pass_invocation
def inventory_command(invocation: Invocation, /, *, everything: bool, name: str | None, script: Path | None) -> None:
    """Tell the clones in the form of Ansible's dynamic inventory.

    Groups: moltfleet (all), golden_NAME, state_running, state_shut_off and so on. Ansible logs in with the same
    checks as `moltfleet ssh`. The form is Ansible's, with and without --json.
    """
    if sum((everything, name is not None, script is not None)) > 1:
        raise click.UsageError("--list, --host and --script exclude each other")
    if script is not None:
        return _write(invocation, script)
    from moltfleet.cli.wiring_access import tell_inventory

    document = tell_inventory(invocation.config, invocation.fleet, name)
    return click.echo(json.dumps(document, indent=2))


def _write(invocation: Invocation, script: Path) -> None:
    from moltfleet.cli.wiring_access import write_inventory_script

    if invocation.dry_run:
        return invocation.show_plan((f"write {script}",))
    write_inventory_script(script, invocation.own_options)
    return invocation.show(inventory_script_document(script), str(script))
