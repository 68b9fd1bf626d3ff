"""`moltfleet hold`: clones that are not to be molted by themselves for a while."""

from __future__ import annotations

import contextlib
import getpass
import os

import click

from moltfleet.cli.command import FleetCommand
from moltfleet.cli.completing import complete_clones
from moltfleet.cli.finish import finish_acts
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.cli.tables import figures_table


@click.command(
    "hold",
    cls=FleetCommand,
    changes=True,
    example="moltfleet hold base-1 --until 18:00 --why 'a demo'\nmoltfleet hold 'base-*' --release\nmoltfleet hold",
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_clones)
@click.option("--until", metavar="TIME", help="Such as 90m, 8h, 2d, 18:00, or 2026-11-23T18:00 (local time).")
@click.option("--why", default="", metavar="TEXT", help="What for; is shown to whoever would have molted it.")
@click.option("--release", is_flag=True, help="End the hold.")
@pass_invocation
def hold_command(
    invocation: Invocation, /, *, names: tuple[str, ...], until: str | None, why: str, release: bool
) -> None:
    """Keep clones from being molted by themselves until TIME.

    Neither `molt --leaking` nor a nightly run molts a clone that is held, unless its memory is about to be used up.
    Whoever molts it by name is not stopped. Without --until and --release the holds are listed.
    """
    from moltfleet.model.holding import parse_until
    from moltfleet.operations import hold

    if until is not None and release:
        raise click.UsageError("--until and --release exclude each other")
    if until is None and not release:
        return _list(invocation, names)
    if not names:
        raise click.UsageError("No clone is named")
    fleet = invocation.fleet
    moment = None if until is None else parse_until(until, fleet.clock.now())
    if invocation.dry_run:
        from moltfleet.operations.clones import clone_names

        what = "would be released" if moment is None else f"would be held until {until}"
        return invocation.show_plan(tuple(f"{name}: {what}" for name in clone_names(fleet, names)))
    if moment is None:
        return finish_acts(invocation, "moltfleet.hold/1", hold.release(fleet, names))
    results = hold.hold(fleet, names, until=moment, by=_me(), why=why)
    return finish_acts(invocation, "moltfleet.hold/1", results)


def _me() -> str:
    """Return who holds: a user's name, or the number of one who has none."""
    with contextlib.suppress(KeyError, OSError):
        return getpass.getuser()
    return str(os.getuid())


def _list(invocation: Invocation, names: tuple[str, ...]) -> None:
    from moltfleet.cli.survey_document import holds_document
    from moltfleet.operations.hold import list_holds

    held = list_holds(invocation.fleet, names)
    if not held:
        invocation.progress.say("No clone is held.")
    document = holds_document((one.clone, one.hold) for one in held)
    rows = [(one.clone, one.hold.until, one.hold.by, one.hold.why) for one in held]
    invocation.show(document, figures_table(("CLONE", "UNTIL", "BY", "WHY"), rows))
