"""`moltfleet delete` and `moltfleet cleanup`: clones go, with everything that is theirs and nothing else."""

from __future__ import annotations

import click

from moltfleet.cli.command import FleetCommand, choose_targets, targets
from moltfleet.cli.completing import complete_goldens
from moltfleet.cli.finish import finish_acts
from moltfleet.cli.invocation import Invocation, pass_invocation


def _delete(invocation: Invocation, names: tuple[str, ...], *, schema: str) -> None:
    from moltfleet.operations.delete import delete, plan_delete

    if invocation.dry_run:
        return invocation.show_plan(plan_delete(invocation.fleet, names))
    invocation.confirm("Delete?", lambda: plan_delete(invocation.fleet, names))
    return finish_acts(invocation, schema, delete(invocation.fleet, names))


@click.command(
    "delete", cls=FleetCommand, destroys=True, example="moltfleet delete base-3\nmoltfleet delete 'try-*' --yes"
)
@targets("Delete")
@pass_invocation
def delete_command(invocation: Invocation, /, *, names: tuple[str, ...], everyone: bool) -> None:
    """Delete clones with their disks, kept states and saved RAM.

    NAME may be a shell pattern such as 'base-*'. Goldens and other people's domains are never touched.
    """
    _delete(invocation, choose_targets(names, everyone=everyone), schema="moltfleet.delete/1")


@click.command("cleanup", cls=FleetCommand, destroys=True, example="moltfleet cleanup base --dry-run")
@click.argument("golden", shell_complete=complete_goldens)
@pass_invocation
def cleanup_command(invocation: Invocation, /, *, golden: str) -> None:
    """Delete all clones of a golden; the golden stays."""
    from moltfleet.operations.listing import view_golden

    names = view_golden(invocation.fleet, golden).clones
    if names:
        return _delete(invocation, names, schema="moltfleet.cleanup/1")
    # No names at all would mean every clone.
    invocation.progress.say(f"Golden '{golden}' has no clones.")
    return finish_acts(invocation, "moltfleet.cleanup/1", ())
