"""`moltfleet rescue`: work pulled out of clones; what was pulled out is listed, shown, verified and thrown away."""

from __future__ import annotations

import click

from moltfleet.cli.command import CommandGroup, FleetCommand, choose_targets, targets
from moltfleet.cli.completing import complete_clones
from moltfleet.cli.finish import finish
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.cli.rescue_document import list_document, prune_document, rescues_document, show_document
from moltfleet.cli.rescue_text import rescues_table, saved_table, saved_text

_TAKE = "take"


class RescueGroup(CommandGroup):
    """A group whose command may be left out: `moltfleet rescue NAME` is `moltfleet rescue take NAME`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command in front unless there is one."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = [_TAKE, *args]
        return super().parse_args(ctx, args)


@click.group("rescue", cls=RescueGroup)
def rescue_command() -> None:
    """Pull work out of clones before it is thrown away, and look after what was pulled out.

    `moltfleet rescue NAME` is short for `moltfleet rescue take NAME`. docs/rescue.md says how to go on with it.
    """


@rescue_command.command(
    _TAKE, cls=FleetCommand, changes=True, example="moltfleet rescue take base-1\nmoltfleet rescue take --all"
)
@targets("Rescue the work of")
@pass_invocation
def take_command(invocation: Invocation, /, *, names: tuple[str, ...], everyone: bool) -> None:
    """Store on this host what a clone has that is nowhere else; the clone stays as it is.

    Uncommitted and unpushed work of git repositories, stashes, artifacts, tmux screens and crash logs. NAME may be a
    shell pattern such as 'base-*'.
    """
    from moltfleet.operations.rescue import plan_rescue, rescue_all

    chosen = choose_targets(names, everyone=everyone)
    if invocation.dry_run:
        return invocation.show_plan(plan_rescue(invocation.fleet, chosen))
    results = rescue_all(invocation.fleet, chosen, reason="asked for")
    invocation.show(rescues_document(results), rescues_table(results))
    return finish(invocation, [result.error for result in results if result.error], targets=len(results))


@rescue_command.command("list", cls=FleetCommand, example="moltfleet rescue list\nmoltfleet rescue list 'base-*'")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_clones)
@pass_invocation
def list_command(invocation: Invocation, /, *, names: tuple[str, ...]) -> None:
    """List what was rescued, the oldest first; also of clones that are no more."""
    from moltfleet.operations.rescued import list_rescues

    saved = list_rescues(invocation.fleet, names)
    if not saved:
        invocation.progress.say("Nothing was rescued; moltfleet rescue NAME does.")
    invocation.show(list_document(saved), saved_table(saved))


@rescue_command.command(
    "show", cls=FleetCommand, example="moltfleet rescue show base-1\nmoltfleet rescue show base-1 20261121T031500Z"
)
@click.argument("name", shell_complete=complete_clones)
@click.argument("date", required=False)
@pass_invocation
def show_command(invocation: Invocation, /, *, name: str, date: str | None) -> None:
    """Show a rescue, the newest of a clone when no date is given, and verify its checksums."""
    from moltfleet.operations.rescued import get_rescue, verify

    saved = get_rescue(invocation.fleet, name, date)
    with invocation.progress.step("Verifying the checksums"):
        error, flaws = verify(invocation.fleet, saved)
    invocation.show(show_document(saved, flaws), saved_text(saved, flaws))
    finish(invocation, [error] if error else [], targets=1)


@rescue_command.command(
    "prune", cls=FleetCommand, destroys=True, example="moltfleet rescue prune\nmoltfleet rescue prune --older-than 7"
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_clones)
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(0, 36500),
    default=30.0,
    show_default=True,
    metavar="DAYS",
    help="Delete what is older.",
)
@click.option("--keep", type=click.IntRange(0, 1000), default=1, show_default=True, metavar="N",
              help="Keep the N newest of each clone, however old.")  # fmt: skip
@pass_invocation
def prune_command(invocation: Invocation, /, *, names: tuple[str, ...], days: float, keep: int) -> None:
    """Delete old rescues for good, and what interrupted ones have left."""
    from moltfleet.operations.rescued import choose_old, plan_prune, prune

    old = choose_old(invocation.fleet, names, days=days, keep=keep)
    if invocation.dry_run:
        return invocation.show_plan(plan_prune(old))
    if not old:
        invocation.progress.say("No rescue is old enough.")
    else:
        invocation.confirm("Delete?", lambda: plan_prune(old))
    prune(invocation.fleet, old)
    return invocation.show(prune_document(old), saved_table(old))
