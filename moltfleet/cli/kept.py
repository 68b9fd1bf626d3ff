"""`moltfleet kept`: layers that `molt --keep` kept under a name are listed, gone back to, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from moltfleet.cli.admitting import admission_options
from moltfleet.cli.command import CommandGroup, FleetCommand
from moltfleet.cli.completing import complete_clones, complete_labels
from moltfleet.cli.documents import kept_deleted_document, kept_document
from moltfleet.cli.finish import finish_molts
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.cli.tables import kept_table

if TYPE_CHECKING:
    from moltfleet.model.requests import AdmissionRequest


@click.group("kept", cls=CommandGroup)
def kept_command() -> None:
    """List, restore and delete what molts kept under a name."""


@kept_command.command(
    "list", cls=FleetCommand, example="moltfleet kept list\nmoltfleet kept list 'base-*' --json | jq -r '.kept[].label'"
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_clones)
@pass_invocation
def list_command(invocation: Invocation, /, *, names: tuple[str, ...]) -> None:
    """List what molts kept, one state per line; of all clones when none is named.

    NAME may be a shell pattern such as 'base-*'. DISK is what a kept state takes in the pool.
    """
    from moltfleet.operations.kept import list_kept

    views = list_kept(invocation.fleet, names)
    if not views:
        invocation.progress.say("Nothing was kept; moltfleet molt NAME --keep=LABEL does.")
    invocation.show(kept_document(views), kept_table(views))


@kept_command.command("restore", cls=FleetCommand, changes=True, example="moltfleet kept restore base-1 before-upgrade")
@click.argument("name", shell_complete=complete_clones)
@click.argument("label", shell_complete=complete_labels)
@admission_options
@pass_invocation
def restore_command(invocation: Invocation, /, *, name: str, label: str, admission: AdmissionRequest) -> None:
    """Go back to a kept state of a clone.

    The disk is as it was; the clone boots. What it is now stays for `moltfleet undo`, in place of what was there for
    it before. The kept state becomes the clone's own and is no longer in the list.
    """
    from moltfleet.operations.kept import plan_restore, restore

    if invocation.dry_run:
        return invocation.show_plan(plan_restore(invocation.fleet, name, label))
    return finish_molts(invocation, "moltfleet.kept-restore/1", (restore(invocation.fleet, name, label, admission),))


@kept_command.command("delete", cls=FleetCommand, destroys=True, example="moltfleet kept delete base-1 before-upgrade")
@click.argument("name", shell_complete=complete_clones)
@click.argument("label", shell_complete=complete_labels)
@pass_invocation
def delete_command(invocation: Invocation, /, *, name: str, label: str) -> None:
    """Delete a kept state of a clone for good; the clone goes on as it is."""
    from moltfleet.operations.kept import delete, plan_delete

    if invocation.dry_run:
        return invocation.show_plan(plan_delete(invocation.fleet, name, label))
    invocation.confirm("Delete?", lambda: plan_delete(invocation.fleet, name, label))
    delete(invocation.fleet, name, label)
    return invocation.show(kept_deleted_document(name, label), f"Deleted {label}, kept of {name}.")
