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

    GOLDEN names the generation that a clone molts to, and after < the newest one of a clone that is behind. DISK is
    what a clone has written itself. MOLT tells how it would molt: warm (RAM and disk are restored), cold
    (it boots), stale (warm until something changed; cold now) or none (it has no clean point yet).
    """
    from moltfleet.operations.listing import list_clones
    from moltfleet.operations.nights import last_night

    views = list_clones(invocation.fleet)
    if not views:
        invocation.progress.say("There are no clones.")
    night = last_night(invocation.fleet)
    # Of a thousand clones each takes its time, so only what is shown is made.
    if invocation.json:
        from moltfleet.cli.nightly_document import last_night_document

        invocation.show(clones_document(views, last_night_document(night)), "")
        return
    invocation.show({}, clones_table(views))
    if night is not None:
        from moltfleet.cli.nightly_document import last_night_text

        invocation.progress.say(last_night_text(night))


@click.command("status", cls=FleetCommand, example="moltfleet status\nmoltfleet status --watch")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_clones)
@click.option("--short", is_flag=True, help="How they are, in one line for a prompt; no guest is asked.")
@click.option("--watch", is_flag=True, help="How they are, the most urgent first, again and again until Ctrl-C.")
@click.option(
    "--every", type=click.FloatRange(1, 86400), default=10, show_default=True, metavar="SECONDS", help="With --watch."
)
@pass_invocation
def status_command(
    invocation: Invocation, /, *, names: tuple[str, ...], short: bool, watch: bool, every: float
) -> None:
    """Describe clones in a paragraph each; all of them when none is named.

    NAME may be a shell pattern such as 'base-*'. Of a clone whose saved RAM is stale it is told what changed.
    --short and --watch show what `moltfleet survey` finds, and record nothing.
    """
    if short and watch:
        raise click.UsageError("--short and --watch exclude each other")
    if short or watch:
        from moltfleet.cli.watching import show_short, show_watch

        return show_short(invocation, names) if short else show_watch(invocation, names, every_s=every)
    from moltfleet.operations.listing import list_clones

    views = {view.name: view for view in list_clones(invocation.fleet)}
    chosen = [views[name] for name in match_names(names, views, what="clone")] if names else list(views.values())
    if not chosen:
        invocation.progress.say("There are no clones.")
    return invocation.show(status_document(chosen), "\n".join(clone_text(view) for view in chosen))
