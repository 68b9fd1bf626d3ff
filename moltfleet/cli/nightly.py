"""`moltfleet nightly`: the nightly run, and its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from moltfleet.cli.command import FleetCommand
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.model.errors import ExitCode, NotFound

if TYPE_CHECKING:
    from moltfleet.model.nightly import Night


@click.command(
    "nightly",
    cls=FleetCommand,
    destroys=True,
    example="moltfleet nightly --dry-run\nmoltfleet nightly --yes\nmoltfleet nightly --report",
)
@click.option("--leaking", "scope", flag_value="leaking", help="Molt what leaks.  [default, unless the config differs]")
@click.option("--all", "scope", flag_value="all", help="Molt every clone that nobody works in.")
@click.option("--none", "scope", flag_value="none", help="Molt none.")
@click.option("--most", type=click.IntRange(0), metavar="N", help="Molt at most N clones.  [default: the config's]")
@click.option(
    "--hours",
    type=click.FloatRange(0, 5, min_open=True),
    metavar="HOURS",
    help="Begin nothing more after so many hours.  [default: the config's]",
)
@click.option("--warm/--no-warm", default=None, help="Make RAM that became useless anew.  [default: the config's]")
@click.option("--report", is_flag=True, help="Only show the report of the last night, or how far this one is.")
@pass_invocation
def nightly_command(
    invocation: Invocation,
    /,
    *,
    scope: str | None,
    most: int | None,
    hours: float | None,
    warm: bool | None,
    report: bool,
) -> None:
    """Survey the clones, rescue and molt them, and report.

    One clone after the other: its work is rescued, then it is molted; who works in a clone, or holds it, is left alone
    unless its memory is about to be used up. RAM of clean points that became stale is made anew. What an interrupted
    night left is finished first. docs/nightly.md says what is decided and why.
    """
    if report:
        return _report(invocation)
    from moltfleet.cli.wiring import post_to
    from moltfleet.model.nightly import Scope
    from moltfleet.operations.nightly import NightRequest, plan_night, run_night

    settings, fleet = invocation.config.nightly, invocation.fleet
    request = NightRequest(
        scope=Scope(scope or settings.molt),
        hours=settings.hours if hours is None else hours,
        most=settings.most if most is None else most,
        warms=settings.warm if warm is None else warm,
    )
    if invocation.dry_run:
        lines = plan_night(fleet, request)
        if not lines:
            invocation.progress.say("There are no clones.")
        return invocation.show_plan(lines)
    invocation.confirm("Begin this night?", lambda: plan_night(fleet, request))
    post = post_to(settings.webhook) if settings.webhook else None
    return _finish(invocation, run_night(fleet, request, post=post))


def _finish(invocation: Invocation, night: Night) -> None:
    from moltfleet.model.nightly import Outcome

    _show(invocation, night)
    codes = {Outcome.OK: ExitCode.OK, Outcome.LATE: ExitCode.TIMEOUT}
    click.get_current_context().exit(int(codes.get(night.outcome, ExitCode.FAILED)))


def _report(invocation: Invocation) -> None:
    """Show the last night, or the one that is under way. Raises: NotFound."""
    from moltfleet.operations.nights import latest_night

    night = latest_night(invocation.fleet)
    if night is None:
        raise NotFound("There was no night yet", hint="moltfleet nightly, or for every day: moltfleet schedule install")
    _show(invocation, night)


def _show(invocation: Invocation, night: Night) -> None:
    from moltfleet.cli.nightly_document import night_document
    from moltfleet.model.nightreport import markdown

    where = invocation.fleet.nights.report_path(night)
    invocation.show(night_document(night, where), markdown(night).rstrip())
    if where is not None and not invocation.json:
        invocation.progress.say(f"Report: {where}")
