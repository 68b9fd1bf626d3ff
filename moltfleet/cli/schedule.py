"""`moltfleet schedule`: nights and surveys that run by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moltfleet.cli.command import FILE, CommandGroup, FleetCommand
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.cli.schedule_text import removed_document, schedule_document, schedule_text
from moltfleet.model.errors import InvalidInput
from moltfleet.model.schedule import At, Every, Kind


def _parse_at(_: click.Context, __: click.Parameter, value: str) -> At:
    try:
        return At.parse(value)
    except InvalidInput as error:
        raise click.BadParameter(f"{error.brief}. {error.hint}") from error


def _parse_every(_: click.Context, __: click.Parameter, value: str) -> Every:
    try:
        return Every.parse(value)
    except InvalidInput as error:
        raise click.BadParameter(f"{error.brief}. {error.hint}") from error


@click.group("schedule", cls=CommandGroup)
def schedule_command() -> None:
    """Let nights and surveys run by themselves."""


@schedule_command.command(
    "install",
    cls=FleetCommand,
    changes=True,
    example="moltfleet schedule install --at 02:30\n"
    "moltfleet schedule install --system --run-as ann --textfile /var/lib/node-exporter/moltfleet.prom",
)
@click.option(
    "--at", default="03:30", show_default=True, callback=_parse_at, metavar="HH:MM", help="When a night begins."
)
@click.option(
    "--survey-every",
    default="10m",
    show_default=True,
    callback=_parse_every,
    metavar="TIME",
    help="How often the clones are looked at: 10m, 1h, or never.",
)
@click.option("--user", "kind", flag_value="user", help="By your own systemd. [default, unless you are root]")
@click.option("--system", "kind", flag_value="system", help="By the system's systemd; needs root.")
@click.option("--cron", "kind", flag_value="cron", help="By your crontab. [default where there is no systemd]")
@click.option("--run-as", metavar="USER", help="With --system: who it runs as. [default: who called sudo]")
@click.option("--linger", is_flag=True, help="With --user: let your systemd run when you are logged out.")
@click.option("--textfile", type=FILE, help="Write metrics there after each survey.")
@pass_invocation
def install_command(invocation: Invocation, /, *, kind: str | None, textfile: Path | None, **options: Any) -> None:
    """Run a night once a day, and a survey every few minutes.

    Repeating it changes the times. Nothing of others is touched: not a line of a crontab, not a unit of systemd.
    Times are this machine's. A night that was missed because the machine was off is made up for after its boot, by
    systemd only.
    """
    from moltfleet.operations.schedule import install, is_lingering_wanted, plan_install
    from moltfleet.operations.scheduling import ScheduleRequest

    scheduling = invocation.scheduling
    where = str(textfile.absolute()) if textfile else None
    request = ScheduleRequest(kind=Kind(kind) if kind else None, textfile=where, **options)
    if invocation.dry_run:
        return invocation.show_plan(plan_install(scheduling, request))
    if invocation.is_interactive and is_lingering_wanted(scheduling, request):
        question = "Your timers stop when you log out. Let your systemd run on (loginctl enable-linger)?"
        linger = click.confirm(question, default=True, err=True)
        request = ScheduleRequest(request.at, request.survey_every, request.kind, where, request.run_as, linger)
    done = install(scheduling, request)
    for note in done.notes:
        invocation.progress.warn(note)
    return invocation.show(schedule_document("install", done), schedule_text(done.jobs))


@schedule_command.command("show", cls=FleetCommand, example="moltfleet schedule show")
@pass_invocation
def show_command(invocation: Invocation, /) -> None:
    """Show what runs by itself, when next, and how it ended last."""
    from moltfleet.operations.schedule import show

    found = show(invocation.scheduling)
    if not found.jobs:
        invocation.progress.say("Nothing is scheduled.")
    for note in found.notes:
        invocation.progress.warn(note)
    invocation.show(schedule_document("show", found), schedule_text(found.jobs))


@schedule_command.command("remove", cls=FleetCommand, changes=True, example="moltfleet schedule remove")
@pass_invocation
def remove_command(invocation: Invocation, /) -> None:
    """Let nothing run by itself any more.

    A run that is under way goes on. Lingering stays as it is.
    """
    from moltfleet.operations.schedule import plan_remove, remove

    scheduling = invocation.scheduling
    if invocation.dry_run:
        return invocation.show_plan(plan_remove(scheduling))
    gone = remove(scheduling)
    if not gone:
        invocation.progress.say("Nothing is scheduled.")
    text = "\n".join(f"{job.name} ({job.kind}) removed" for job in gone)
    return invocation.show(removed_document(gone), text)
