"""`moltfleet list` and `moltfleet status`: what there is; both change nothing."""

from __future__ import annotations

import click

from moltfleet.cli.command import FleetCommand
from moltfleet.cli.completing import complete_clones
from moltfleet.cli.documents import clones_document, status_document
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.cli.tables import clone_text, clones_table
from moltfleet.model.names import match_names


@click.command("list", cls=FleetCommand, example="moltfleet list\nmoltfleet list --json | jq -r '.clones[].name'")
@pass_invocation
def list_command(invocation: Invocation) -> None:
    """List the clones, one per line.

    DISK is what a clone has written itself. MOLT tells how it would molt: warm (RAM and disk are restored), cold
    (it boots), stale (warm until something changed; cold now) or none (it has no clean point yet).
    """
    from moltfleet.operations.listing import list_clones

    views = list_clones(invocation.fleet)
    if not views:
        invocation.progress.say("There are no clones.")
    invocation.show(clones_document(views), clones_table(views))


@click.command("status", cls=FleetCommand, example="moltfleet status\nmoltfleet status 'base-*'")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_clones)
@pass_invocation
def status_command(invocation: Invocation, /, *, names: tuple[str, ...]) -> None:
    """Describe clones in a paragraph each; all of them when none is named.

    NAME may be a shell pattern such as 'base-*'. Of a clone whose saved RAM is stale it is told what changed.
    """
    from moltfleet.operations.listing import list_clones

    views = {view.name: view for view in list_clones(invocation.fleet)}
    chosen = [views[name] for name in match_names(names, views, what="clone")] if names else list(views.values())
    if not chosen:
        invocation.progress.say("There are no clones.")
    invocation.show(status_document(chosen), "\n".join(clone_text(view) for view in chosen))
